"""What a suite is, how one is run, and the rows it gives; knows no flag and prints nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.measure import Ratio, Task, Timing, interleave
from experiments.benchmarks.memory import peak_of_child_mb

# Imported when asked for: TensorFlow takes many seconds, and a wrong name should not.
SUITES = {
    "augment": "experiments.benchmarks.augment",
    "influence": "experiments.benchmarks.influence",
    "madam": "experiments.benchmarks.madam",
    "text": "experiments.benchmarks.text",
}
# Of processes that take turns (`peer_rows.Contest`), peers among them.
CONTESTS = {"train_step": "experiments.benchmarks.train_step"}
# Of parts that measure processes as a whole (`scale.PARTS`).
MEASURES = {"scale": "experiments.benchmarks.scale"}
# Options of a suite that differ from the defaults of `Options`: a quarter of upstream's batch.
SMALLER = {key: {"labeled_batch": 16, "unlabeled_batch": 112} for key in ("train_step", "scale")}


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes and lengths of all suites; the defaults are the shapes to quote.

    Attributes:
        repetitions: interleaved rounds.
        least_seconds: least length of one timing, in seconds.
        memory: whether each row's peak memory is measured (a fresh process each).
        sizes: |U| of the rows of suite madam.
        labeled_batch, unlabeled_batch, validation_batch: B, U, V of a step.
        depth, width, image_size, num_classes: of the Wide-ResNet of suite influence.
        text_length, text_layers: tokens and layers of the BERT of suite text.
        rows: patterns of row names, separated by commas; ratios need both of their rows. Suite
            scale: patterns of its parts' names.
        scratch: folder for the files of suite scale; empty: a temporary one.
        smoke: whether the parts of suite scale only show that they run, at the least sizes.
    """

    repetitions: int = 10
    least_seconds: float = 0.2
    memory: bool = True
    sizes: tuple[int, ...] = (10**4, 10**5, 10**6, 10**7)
    labeled_batch: int = 64
    unlabeled_batch: int = 256
    validation_batch: int = 320
    depth: int = 28
    width: int = 2
    image_size: int = 32
    num_classes: int = 10
    text_length: int = 128
    text_layers: int = 6
    rows: str = "*"
    scratch: str = ""
    smoke: bool = False

    def __post_init__(self):
        """Check ranges.

        Raises:
            ValueError: a count below 1, or a |U| below the batch.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"--{field.name} must be at least 1. Received: {value}")
        if not self.sizes or min(self.sizes) < self.unlabeled_batch:
            raise ValueError(
                "--sizes must be one or more |U|, none below --unlabeled_batch. "
                f"Received: sizes={self.sizes}, unlabeled_batch={self.unlabeled_batch}"
            )


class Case(NamedTuple):
    """One row of a suite."""

    sizes: dict[str, int]  # what the row says about its shapes
    make: Callable[[bool], Task]  # tiny -> the call to measure; tiny: same code, least shapes


class Result(NamedTuple):
    """What a suite found."""

    rows: list[dict]  # one JSON object a row
    ratios: dict[str, Ratio]
    missing: dict[str, str]  # row -> why it has no figures


def check_name(name: str) -> None:
    """Refuse a suite that is in none of the tables above.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    known = SUITES | CONTESTS | MEASURES
    if name not in known:
        raise ValueError(f"--suite must be one of {', '.join(known)}. Received: {name!r}")


def load(name: str):
    """Return the module of a suite: `cases(options)` and `ratios(timings, peaks, options)`.

    That of `MEASURES` has `PARTS` instead, name -> module with `measure(options, say) -> Result`.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    check_name(name)
    return importlib.import_module((SUITES | MEASURES)[name])


def run(name: str, options: Options, say: Callable[[str], object] = lambda text: None) -> Result:
    """Measure every row of a suite: memory first, in processes of their own, then speed.

    Args:
        name: a key of `SUITES` or `MEASURES`.
        options: `Options`.
        say: told about progress.
    """
    suite = load(name)
    if name in MEASURES:
        return _measured(chosen(suite.PARTS, options.rows), options, say)
    cases = chosen(suite.cases(options), options.rows)
    peaks = dict.fromkeys(cases)
    for row in cases if options.memory else ():
        say(f"memory of {row}")
        arguments = {"suite": name, "row": row, "options": dataclasses.asdict(options)}
        peaks[row] = peak_of_child_mb(f"{__name__}:memory_case", arguments)
    say(f"building and compiling {len(cases)} rows, then {options.repetitions} rounds")
    timings = interleave(
        {row: case.make(False) for row, case in cases.items()},
        options.repetitions,
        options.least_seconds,
        lambda done: say(f"round {done} of {options.repetitions}"),
    )
    rows = [as_row(name, row, cases[row].sizes, timings[row], peaks[row]) for row in cases]
    return Result(rows, suite.ratios(timings, peaks, options), {})


def _measured(parts, options, say):
    """Measure the parts one after the other and return all that they found."""
    rows, ratios, missing = [], {}, {}
    for name, module in parts.items():
        say(name)
        with _scratch(options.scratch) as folder:
            given = dataclasses.replace(options, scratch=folder)
            found = importlib.import_module(module).measure(given, say)
        rows += found.rows
        ratios |= found.ratios
        missing |= found.missing
    return Result(rows, ratios, missing)


@contextlib.contextmanager
def _scratch(folder):
    """Make a folder of that name and leave it, or a temporary one that is removed after."""
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield temporary


def chosen(cases: dict, rows: str, option: str = "rows") -> dict:
    """Return the cases, by name, whose names match one of the patterns; blanks around do not count.

    Args:
        rows: patterns, separated by commas, as the program's `option` gives them.

    Raises:
        ValueError: a pattern matches none; lists the names.
    """
    patterns = [pattern.strip() for pattern in rows.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in cases):
            raise ValueError(
                f"--{option} must match some of {', '.join(cases)}. Received: {pattern!r}, which "
                "matches none"
            )
    return {n: c for n, c in cases.items() if any(fnmatchcase(n, p) for p in patterns)}


def memory_case(suite: str, row: str, options: dict) -> tuple[Task, Task]:
    """Build one row in the process that measures its memory; return (warm_up, work)."""
    run_as_programs_do()
    make = load(suite).cases(Options(**options | {"sizes": tuple(options["sizes"])}))[row].make
    return make(True), make(False)


def run_as_programs_do() -> None:
    """Fix seeds and ask for deterministic kernels: the training programs' default."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()


def as_row(suite: str, name: str, sizes: dict, timing: Timing, peak_mb: float | None) -> dict:
    """Return one row as its JSON object; seconds of one call, MB of 10^6 bytes."""
    return {
        "suite": suite,
        "name": name,
        "seconds_median": float(np.median(timing.wall)),
        "seconds_min": float(timing.wall.min()),
        "cpu_seconds_median": float(np.median(timing.cpu)),
        "first_call_seconds": timing.first_seconds,
        "peak_mb": peak_mb,
        "repetitions": len(timing.wall),
        "calls_per_repetition": timing.calls,
        "sizes": sizes,
    }
