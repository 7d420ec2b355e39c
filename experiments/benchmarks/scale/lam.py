"""Suite scale, part lam: what a Lambda of 1e8 examples costs beside one of 1e5.

A Lambda-step here is all of it but the forward passes and Eq. 6: the update, the statistics and the
line of the log. An evaluation is all of it but the test set.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from experiments.benchmarks.madam import label
from experiments.benchmarks.measure import Timing, cpu_ratio, interleave, timed
from experiments.benchmarks.scale import child
from experiments.benchmarks.suite import Options, Result, run_as_programs_do

SMALL, LARGE = 10**5, 10**8
SMOKE = 2_000, 5_000
BATCH = 448  # ids of a Lambda-step
NUM_BATCHES = 1024  # different ones, spread over the whole table
STEPS = 1000  # Lambda-steps between two checkpoints
WAITING = 100  # batches of theta-steps whose scores wait, in the row with scores of every step
DIRECTION = 18  # numbers of the last layer's v
HERE = __name__


def measure(options: Options, say: Callable[[str], object]) -> Result:
    """Return the rows and the ratios of large over small |U|."""
    with tempfile.TemporaryDirectory(dir=options.scratch or None) as folder:
        return _measured(options, folder, say)


def _measured(options, folder, say):
    small, large = SMOKE if options.smoke else (SMALL, LARGE)
    arguments = {"small": small, "large": large, "folder": folder}
    rounds = {"repetitions": options.repetitions, "least_seconds": options.least_seconds}
    rows, ratios = [], {}
    for what in ("lambda_step", "lambda_step_with_scores", "evaluation"):
        say(f"{what}, |U| = {large:,}")
        found = child.run(f"{HERE}:{what}", arguments | rounds)
        pair = {size: Timing(**timing) for size, timing in found.answer.items()}
        pair = {k: t._replace(wall=np.array(t.wall), cpu=np.array(t.cpu)) for k, t in pair.items()}
        ratio = cpu_ratio(pair["large"], pair["small"])
        ratios[f"{what}_{label(large)}_over_{label(small)}"] = ratio
        rows += [
            {
                "name": f"{what}_{label(arguments[size])}",
                "num_unlabeled": arguments[size],
                "cpu_seconds_median": float(np.median(timing.cpu)),
                "wall_seconds_median": float(np.median(timing.wall)),
                "repetitions": len(timing.cpu),
                "peak_mb_of_both": found.peak_mb,
            }
            for size, timing in pair.items()
        ]
    say(f"checkpoints and the end, |U| = {large:,}")
    found = child.run(f"{HERE}:checkpoints", {"size": large, "folder": folder})
    rows += [{**row, "peak_mb": found.peak_mb} for row in found.answer]
    return Result([{"suite": "scale", **row} for row in rows], ratios, {})


def lambda_step(small, large, folder, repetitions, least_seconds) -> dict:
    """Time Lambda-steps in turns; return the `Timing` of each size as JSON can carry it."""
    return _in_turns(_make_lambda_step, small, large, folder, repetitions, least_seconds)


def lambda_step_with_scores(small, large, folder, repetitions, least_seconds) -> dict:
    """Time Lambda-steps that find scores of the theta-steps before them."""

    def make(size, log):
        return _make_lambda_step(size, log, _Scores(size))

    return _in_turns(make, small, large, folder, repetitions, least_seconds)


def evaluation(small, large, folder, repetitions, least_seconds) -> dict:
    """Time evaluations, each after a Lambda-step's update, whose time is not theirs alone."""
    return _in_turns(_make_evaluation, small, large, folder, repetitions, least_seconds)


def checkpoints(size: int, folder: str) -> list[dict]:
    """Write two checkpoints, read the second one back and summarise; return a row of each."""
    from experiments.runs import state
    from experiments.runs.example_blocks import weight_statistics
    from ssl_weighting.checkpointing import TABLES, Checkpoints

    run_as_programs_do()
    state.LARGE = min(state.LARGE, size - 1)
    store, move = _moving(size)
    run = SimpleNamespace(trainer=SimpleNamespace(store=store, members=()))
    saves, there, rows = Checkpoints(Path(folder) / "checkpoints", {}, keep=2), {}, []

    def write(step):
        saves.save(step, {TABLES: state.tables_of(run)})

    def restore():
        _, found, _ = saves.restore()
        state.restore_tables(found[TABLES], state.variables_of((), store))

    for name, work in (
        ("checkpoint_first", lambda: write(1)),
        ("checkpoint_later", lambda: write(2)),
        ("restore", restore),
        ("exact_statistics", lambda: weight_statistics(store, exact=True)),
    ):
        if name.startswith("checkpoint"):
            for _ in range(STEPS):
                move()
        wall, cpu = timed(work)
        now = {path: path.stat().st_size for path in saves.folder.rglob("*.npz")}
        new = sum(length for path, length in now.items() if path not in there)
        row = {"name": name, "num_unlabeled": size, "lambda_steps_before": STEPS}
        row |= {"cpu_seconds": cpu, "wall_seconds": wall, "bytes_written": new}
        rows.append(row)
        there = now
    return rows


def _in_turns(make, small, large, folder, repetitions, least_seconds):
    from experiments.runs.log import RunLog

    run_as_programs_do()
    tasks, folders = {}, {name: Path(folder) / make.__name__ / name for name in ("large", "small")}
    for path in folders.values():
        path.mkdir(parents=True)
    with RunLog(folders["large"], 1) as one, RunLog(folders["small"], 1) as other:
        for name, size, log in (("large", large, one), ("small", small, other)):
            tasks[name] = make(size, log)
        found = interleave(tasks, repetitions, least_seconds)
    return {
        name: t._replace(wall=t.wall.tolist(), cpu=t.cpu.tolist())._asdict()
        for name, t in found.items()
    }


class _Batches:
    """Random ids and gradients, the same few again and again."""

    def __init__(self, size):
        rng = np.random.default_rng(0)
        count = min(BATCH, size // 2)
        self.ids = [np.unique(rng.integers(0, size, count)) for _ in range(NUM_BATCHES)]
        self.gradients = [rng.normal(size=len(ids)).astype(np.float32) for ids in self.ids]
        self.turns = itertools.cycle(zip(self.ids, self.gradients, strict=True))


def _moving(size, scores=None):
    """Return a store and what moves it once, as a Lambda-step does."""
    import tensorflow as tf

    from ssl_weighting.lambda_step import LambdaStep, Measured
    from ssl_weighting.madam import MAdam
    from ssl_weighting.models.mlp import mlp
    from ssl_weighting.weight_store import WeightStore

    store, batches = WeightStore(size, "per_example", MAdam()), _Batches(size)
    step = LambdaStep(mlp(2, 2, width=8), None, store)
    direction = tf.zeros([DIRECTION])

    def move():
        ids, gradient = next(batches.turns)
        report = {"finite": True, "skipped": False}
        measured = Measured(tf.constant(ids), tf.constant(gradient), report, direction)
        if scores:
            step.apply(measured, scores.held, scores.wait(batches))
        else:
            step.apply(measured)
        return report

    return store, move


class _Scores:
    """Scores of theta-steps that wait for a Lambda-step."""

    def __init__(self, size):
        import tensorflow as tf

        from ssl_weighting.stale_scores import StaleScores

        self.held, self.count = StaleScores(size, DIRECTION), max(1, min(WAITING, size // BATCH))
        self.held.ready.assign(1)
        self.slices = tf.IndexedSlices

    def wait(self, batches):
        """Put scores where theta-steps leave them; return the ids, rising, each once."""
        met = []
        for _ in range(self.count):
            ids, gradient = next(batches.turns)
            self.held.total.value.scatter_add(self.slices(gradient, ids))
            self.held.count.value.scatter_update(self.slices(np.ones_like(gradient), ids))
            met.append(ids)
        return np.unique(np.concatenate(met))


def _make_lambda_step(size, log, scores=None):
    from experiments.runs.evaluation import log_lambda
    from ssl_weighting.structs import Event

    store, move = _moving(size, scores)
    run = SimpleNamespace(trainer=SimpleNamespace(store=store))
    return lambda: log_lambda(run, log, Event("lambda", 1, move()))


def _make_evaluation(size, log):
    from experiments.runs.evaluation import evaluate
    from experiments.runs.lambda_history import LambdaHistory

    store, move = _moving(size)
    history, steps = LambdaHistory(log.folder, size, 1), itertools.count(1)
    run = SimpleNamespace(
        trainer=SimpleNamespace(store=store, step=0),
        splits=SimpleNamespace(test=None), members=(), learning=None,
        evaluator=SimpleNamespace(error_and_loss=lambda examples: (0.0, 0.0)),
        validate=lambda: (0.0, 0.0), config=SimpleNamespace(steps=2**62),
    )  # fmt: skip
    run.now = run

    def task():
        move()
        run.trainer.step = next(steps)
        evaluate(run, log, history)

    return task
