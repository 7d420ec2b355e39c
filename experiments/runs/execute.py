"""Take one configuration from nothing, or from its last checkpoint, to a finished run folder."""

from __future__ import annotations

import functools
from pathlib import Path

import tensorflow as tf

from experiments.assemble.build import build, load_splits
from experiments.assemble.hardware import divide_the_cpu, limit_threads
from experiments.options.config import Config
from experiments.pages.statistics import LAST_EVALUATIONS
from experiments.runs import results
from experiments.runs.again import Kept
from experiments.runs.beginning import refuse_foreign
from experiments.runs.clock import Clock
from experiments.runs.evaluation import evaluate, log_lambda
from experiments.runs.header import announce, first_input, warn
from experiments.runs.lambda_history import history_of
from experiments.runs.lock import held
from experiments.runs.log import NOTHING, RunLog
from experiments.runs.state import capture, checkpoints_of, restore
from experiments.runs.stop import Stop
from experiments.runs.warnings import evaluations
from ssl_weighting.data.numbers import rows_not_finite
from ssl_weighting.data.reading import named_errors
from ssl_weighting.training.solved import SOLVE

_kept = Kept()


def execute(
    config: Config,
    program: str,
    *,
    cache_dir: str | None = None,
    on_step=lambda run: None,
    snapshot_steps=(),
    again: bool = False,
) -> dict | None:
    """Run `config` to its end and return its summary; None if a signal stopped it (state saved).

    Args:
        config: validated options; `config.out` is the run folder.
        program: name of the absl program, for config.json.
        cache_dir: where downloaded data lies.
        on_step: called with the run at each of `snapshot_steps` (pictures of the toy sets).
        snapshot_steps: theta-steps at which to stop for it.
        again: whether compiled functions of the last such run are used again, and kept for the next
            one: the same bits sooner, for the memory of a run.

    Raises:
        ValueError: an option does not fit the data, or the folder holds another run, finished or
            going on, or somebody's own files of the names that a run writes.
        OSError: the data is not there, or the disk is full.
        NonFiniteError: training is not finite any more; names the step.
        MemoryError: the machine or the device has not enough.
    """
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    with held(Path(config.out)):
        refuse_foreign(config)
        limit_threads(config)
        divide_the_cpu(config)
        try:
            return _execute(config, program, cache_dir, again, on_step, sorted(snapshot_steps))
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(
                f"{error.message.splitlines()[0]}. Lower --labeled_batch, --unlabeled_ratio, "
                "--val_batch or the size of the model"
            ) from error


def _execute(config, program, cache_dir, again, on_step, snapshot_steps):
    out = Path(config.out)
    splits = load_splits(config, cache_dir)
    _refuse_not_finite(splits)
    run = build(config, splits)
    run = _kept.in_place_of(run) if again else run
    if run.trainer.store.learns:
        run.trainer.parameters.check(first_input(run))
    checkpoints = checkpoints_of(config, run)
    written = _resume(run, checkpoints)
    until = (config.learning_steps or config.total_steps) if run.trainer.store.learns else 0
    log = RunLog(out, config.total_steps, written, run.trainer.step, config.model_steps, until)
    stated = results.write_config(run, program)  # first: by this file the run knows its folder
    if run.trainer.step < config.total_steps:  # the run is not complete until it says so
        (out / "summary.json").unlink(missing_ok=True)
    announce(run, stated)
    with Stop() as stop, log:
        finished = _loop(run, log, checkpoints, stop, on_step, snapshot_steps)
    for member in run.trainer.members:  # they hold memory and threads
        member.theta.forget()
    if not finished:
        return None
    summary = results.write_results(run, log.elapsed(), log.lambda_share())
    print(
        f"finished {config.out}: {summary['method']}, {_error(config, summary)}, Λ took "
        f"{summary['lambda_share']:.1%} of the time",
        flush=True,
    )
    warn(summary["warnings"])
    return summary


def _error(config, summary):
    """Return the error that is compared, in words; as `RunRecord.test_error`."""
    if config.inner == SOLVE:
        return f"test error {summary['test_error_last']:.2f} %"
    count = min(evaluations(config), LAST_EVALUATIONS)
    error = f"test error {summary['test_error_median20']:.2f} %"
    return f"{error} (median of the last {count} evaluations)"


def _refuse_not_finite(splits):
    """A NaN may come out of a ReLU as 0: no loss would tell."""
    for name in ("labeled", "unlabeled", "validation", "test"):
        inputs = getattr(splits, name).inputs
        if len(bad := rows_not_finite(inputs)):
            raise ValueError(
                f"The inputs of the {name} examples must be finite. Received: NaN or infinity in "
                f"{len(bad)} of {len(inputs)}, first in number {bad[0]}. Mend or remove them."
            )


def _resume(run, checkpoints):
    if not run.config.resume:
        if checkpoints.paths():
            raise ValueError(
                f"{run.config.out} already holds checkpoints and --resume=false. "
                "Give another --out, or delete that folder."
            )
        return NOTHING
    found = checkpoints.restore()
    if found is None:
        return NOTHING
    step, state, complaints = found
    for complaint in complaints:
        print(f"{complaint} Falling back to the checkpoint before it.", flush=True)
    print(f"resuming at step {step}", flush=True)
    return restore(run, step, state)


@named_errors()
def _loop(run, log, checkpoints, stop, on_step, snapshot_steps):
    trainer, config = run.trainer, run.config
    clock = Clock(log, trainer.step, config.learning_steps)
    history = history_of(config, len(run.splits.unlabeled), trainer.step)
    if trainer.step in snapshot_steps:
        on_step(run)
    stops = functools.partial(_next_stop, config=config, snapshot_steps=snapshot_steps)
    events = trainer.steps(config.total_steps, stops, lambda: clock.most)
    for event, seconds in clock.timed(events):
        clock.count(event, seconds, trainer.step)
        if event.kind == "lambda":
            log_lambda(run, log, event)
            continue
        whole = event.kind == "train"
        if whole:
            log.write("train", event.step, **event.report)
            log.timing(event.step)
        if whole and _due(event.step, config.eval_every, config):
            evaluate(run, log, history)
        stopping = stop.asked()  # once: the answer may change on any line
        if stopping or (whole and _due(event.step, config.checkpoint_every, config)):
            checkpoints.save(event.step, capture(run, log.written))
        log.progress(event.step, "/".join(Path(config.out).parts[-2:]))
        if stopping and event.step < config.total_steps:
            return False
        if whole and event.step in snapshot_steps:
            on_step(run)
    return True


def _due(step, every, config):
    taken = (step - 1) % config.steps + 1  # of the refit, or of what learns before it
    return taken % every == 0 or taken == config.steps


def _next_stop(step, config, snapshot_steps):
    start = step // config.steps * config.steps
    periods = (config.log_every, config.eval_every, config.checkpoint_every)
    stops = [start + ((step - start) // period + 1) * period for period in periods]
    return min(stops + [s for s in snapshot_steps if s > step])
