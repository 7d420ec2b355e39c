"""Rows of the peers beside our own: per-example gradients and dot products by other libraries.

Every row lives in a process of its own, on the CPU with all cores, and takes its turn in each
round. All work on one problem (`exchange`); a row whose answer is not that of a loop of one is
named and left out, as is a peer that is missing or fails.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks import exchange
from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio, wall_ratio
from experiments.benchmarks.suite import Options, Result, as_row, chosen
from experiments.benchmarks.workers import TOP, Worker, WorkerError, cores

LOCK = Path(__file__).parent / "peers" / "requirements.lock"
SIZES = ("unlabeled_batch", "depth", "width", "image_size", "num_classes")
CLOCKS = ("wall", "cpu")
# Fields that rows of peers have beside those of every suite.
ADDED = ("versions", "relative_error", "worst_relative_error")
LAYOUTS = ("", "_channels_last", "_compiled", "_channels_last_compiled")


def _torch(*ways, layouts=LAYOUTS):
    rows = [f"{way}{layout}" for way in ways for layout in layouts]
    return {f"torch_{row}": ("torch_func", row) for row in rows}


def _ours(*works):
    rows = [f"{work}_{way}" for work in works for way in ("graph", "xla")]
    return {f"ours_{row}": ("ours", row) for row in rows}


# row -> (module of `peers`, what it calls the row)
PEERS = {
    **_torch("jvp", "vmap_grad"),
    "opacus_grad_sample": ("opacus_grad_sample", "grad_sample"),
    "backpack_batch_grad": ("backpack_batch_grad", "batch_grad"),
    "jax_jvp": ("jax_wrn", "jvp"),
    "jax_vmap_grad": ("jax_wrn", "vmap_grad"),
}
OURS = _ours("forward", "ghost")
# One gradient of the whole batch: what a step of training costs, in no ratio.
YARDSTICKS = {
    **_torch("batch_gradient", layouts=("", "_compiled")),
    "jax_batch_gradient": ("jax_wrn", "batch_gradient"),
    **_ours("batch_gradient"),
}
ROWS = PEERS | OURS | YARDSTICKS


class Contest(NamedTuple):
    """What is compared: rows, the problem that they are given, and what the right answer is."""

    suite: str
    rows: dict[str, tuple[str, str]]  # row -> (module of `peers`, what it calls the row)
    sizes: tuple[str, ...]  # options that a row's JSON object quotes
    prepare: Callable[[Path, Options], dict]  # writes the problem, returns its answers
    disagreement: Callable[[dict, dict], dict[str, exchange.Error]]  # answer, expected ->
    agrees: Callable[[dict[str, exchange.Error]], bool]
    ratios: Callable[[dict[str, Timing]], dict[str, Ratio]]


def compare(
    options: Options,
    environment: Path,
    say: Callable[[str], object],
    contest: Contest | None = None,
) -> Result:
    """Build, check and time every row in turns, --unlabeled_batch examples at a time.

    Args:
        options: `Options`; of it the contest's sizes, repetitions, memory and rows.
        environment: folder of the peers' environment; made where it is missing.
        say: told about progress.
        contest: what is compared; None: the dot products of suite influence.

    Returns:
        `Result`; its rows also hold versions and the disagreement with a loop of one: relative
        errors of the median example and of the worst.
        peak_mb is that of a warm call above the level of its process before any call.

    Raises:
        ValueError: no row matches `options.rows`.
    """
    contest = contest or influence_contest()
    rows = chosen(contest.rows, options.rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        field = _Field(contest, contest.prepare(path, options))
        try:
            commands = _commands(rows, path, environment, field.missing, say)
            built = field.each(commands, lambda row: field.enter(row, commands[row], say))
            rounds = []
            for done in range(1, options.repetitions + 1):
                rounds.append(field.each(built, lambda row: field.workers[row].ask("run")))
                say(f"round {done} of {options.repetitions}")
            peaks = field.each(
                built if options.memory else (), lambda row: field.workers[row].ask("peak")
            )
        finally:
            field.close()
    timings = {}
    for row in [row for row in built if row not in field.missing]:
        wall, cpu = (np.array([found[row][clock] for found in rounds]) for clock in CLOCKS)
        timings[row] = Timing(wall, cpu, 1, built[row]["first_seconds"])
    sizes = {name: getattr(options, name) for name in contest.sizes}
    return Result(
        [
            as_row(contest.suite, row, sizes, timing, peaks.get(row, {}).get("peak_mb"))
            | {key: built[row][key] for key in ADDED}
            for row, timing in timings.items()
        ],
        contest.ratios(timings),
        field.missing,
    )


def influence_contest() -> Contest:
    """Return the comparison of suite influence: --unlabeled_batch dot products."""

    def prepare(path, options):
        return exchange.reference(exchange.write(path, options, options.unlabeled_batch))

    checks = exchange.disagreement, exchange.agrees
    return Contest("influence", ROWS, SIZES, prepare, *checks, ratios)


def ratios(timings: dict[str, Timing]) -> dict[str, Ratio]:
    """Return the fastest row of any peer over our fastest, by CPU time and by wall clock.

    Above 1 ours is faster. Peers that build gradients are not charged for contracting them with
    the vector.
    """
    return fastest_ratios(timings, PEERS, OURS, "best_peer_over_ours")


def fastest_ratios(
    timings: dict[str, Timing], peers: Iterable[str], ours: Iterable[str], called: str
) -> dict[str, Ratio]:
    """Return the fastest of `peers` over the fastest of `ours`, by CPU time and by wall clock."""

    def fastest(rows, clock):
        have = [row for row in rows if row in timings]
        best = min(have, key=lambda row: np.median(getattr(timings[row], clock)), default=None)
        return timings.get(best)

    found = {}
    for name, clock, ratio in (("", "cpu", cpu_ratio), ("_wall", "wall", wall_ratio)):
        peer, own = fastest(peers, clock), fastest(ours, clock)
        if peer and own:
            found[f"{called}{name}"] = ratio(peer, own)
    return found


def make_environment(folder: Path, say: Callable[[str], object]) -> Path:
    """Return the Python of the peers' environment, made from `LOCK` where there is none.

    Raises:
        WorkerError: venv or pip failed; with the end of what it wrote.
    """
    python = folder / "bin" / "python"
    if python.exists():
        return python
    say(f"installing the peers into {folder}: 1.6 GB with torch's CPU build, else several GB")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "-r", str(LOCK)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            with contextlib.suppress(OSError):
                python.unlink()  # an unfinished environment is made anew next time
            words = " ".join((done.stdout + done.stderr).split())[-300:]
            raise WorkerError(f"{' '.join(command[1:4])} for the peers failed: {words}")
    return python


class _Field:
    """The rows in the running, by their workers, and why others are not."""

    def __init__(self, contest, expected):
        self.contest, self.expected = contest, expected
        self.workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}

    def each(self, rows: Iterable[str], work: Callable[[str], dict]) -> dict[str, dict]:
        """Return row -> work(row) of the rows that do it; those that fail leave the field."""
        found = {}
        for row in rows:
            if row in self.missing:
                continue
            try:
                found[row] = work(row)
            except WorkerError as error:
                self.missing[row] = str(error)
                if worker := self.workers.pop(row, None):
                    worker.close()
        return found

    def enter(self, row, command, say) -> dict:
        """Start a row, call it once and check it; return what is known of it."""
        say(f"building {row}")
        worker = self.workers[row] = Worker(*command, cores())
        versions = worker.ask("build")["versions"]
        first_seconds = worker.ask("run")["wall"]
        errors = self.contest.disagreement(worker.ask("check"), self.expected)
        if not self.contest.agrees(errors):
            listed = ", ".join(f"{k} {e.typical:.1e} to {e.worst:.1e}" for k, e in errors.items())
            raise WorkerError(f"disagrees with the reference, relative errors: {listed}")
        return {
            "versions": versions,
            "first_seconds": first_seconds,
            "relative_error": max(error.typical for error in errors.values()),
            "worst_relative_error": max(error.worst for error in errors.values()),
        }

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def _commands(rows, path, environment, missing, say):
    """Return row -> (command, folder to start it in); without an environment its rows are missing.

    The peers cannot import `experiments`, which needs TensorFlow: they start one folder below.
    """
    python = None
    peers = [row for row, (module, _) in rows.items() if not module.startswith("ours")]
    try:
        python = make_environment(environment, say) if peers else None
    except (WorkerError, OSError) as error:
        missing |= dict.fromkeys(peers, str(error))
    commands = {}
    for row, (module, name) in rows.items():
        arguments = [module, name, str(path)]
        if module.startswith("ours"):
            worker = "experiments.benchmarks.peers.worker"
            commands[row] = [sys.executable, "-m", worker, *arguments], TOP
        elif python:
            worker = "benchmarks.peers.worker"
            commands[row] = [str(python), "-m", worker, *arguments], TOP / "experiments"
    return commands
