"""Figures of speed and memory, one suite at a time.

    python -m experiments.benchmark --suite=madam
    python -m experiments.benchmark --suite=augment --nomemory
    python -m experiments.benchmark --suite=influence --out=results/influence.jsonl
    python -m experiments.benchmark --suite=influence --rows='engine_*' --unlabeled_batch=64
    python -m experiments.benchmark --suite=influence --peers --unlabeled_batch=64
    python -m experiments.benchmark --suite=train_step --labeled_batch=64 --unlabeled_batch=448
    python -m experiments.benchmark --suite=text --text_length=64
    python -m experiments.benchmark --suite=scale --scratch=DIR --rows=lam

Prints a Markdown table, one JSON line a row, and as the last line the ratios that the suite is
about, each with the 95 % interval (NAME_low, NAME_high) of CPU-time medians; those named _wall are
of the wall clock. With --out the JSON lines also go to a file, which is replaced as a whole.
docs/benchmarks.md holds figures and method.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from absl import app, flags

from experiments.benchmarks import suite as suites
from experiments.benchmarks.suite import Options, Result
from experiments.options.smoke import BATCHES, MARK
from experiments.runs.errors import friendly
from ssl_weighting.data.files import write_atomically

SMOKE_ROWS = "theta_step_graph,lambda_step_exact,lambda_step_identity,engine_dot_*_graph"
HEADINGS = ("row", "wall median", "wall min", "CPU median", "first call", "peak MB", "calls")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    d = Options()
    known = ", ".join(suites.SUITES | suites.CONTESTS | suites.MEASURES)
    flags.DEFINE_string("suite", "", f"What to measure: {known}.", values)
    flags.DEFINE_string("out", "", "File for the JSON lines; empty: stdout only.", values)
    flags.DEFINE_bool("memory", d.memory, "Measure peak memory too, a process a row.", values)
    sizes = ",".join(map(str, d.sizes))
    flags.DEFINE_string("rows", d.rows, "Patterns of row names, separated by commas.", values)
    flags.DEFINE_string("sizes", sizes, "Suite madam: values of |U|, separated by commas.", values)
    text = "Suite influence: time other libraries beside our dot products; nothing else is run."
    flags.DEFINE_bool("peers", False, text, values)
    text = "Suite scale: folder for its files, up to 20 GB; empty: a temporary one, removed after."
    flags.DEFINE_string("scratch", d.scratch, text, values)
    text = "Only check that it runs: batches of a sixteenth, a small net, one round of few rows."
    flags.DEFINE_bool("smoke", False, text, values)
    text = "Folder of the peers' environment; made on first use (1.6 GB or more)."
    flags.DEFINE_string("peers_env", ".venv-peers", text, values)
    text = "Least seconds of one timing: a short call is repeated until then."
    flags.DEFINE_float("least_seconds", d.least_seconds, text, flag_values=values)
    for name, text in (
        ("repetitions", "Interleaved rounds; take ten or more for a figure that you quote."),
        ("labeled_batch", "Labeled examples of a step."),
        ("unlabeled_batch", "Unlabeled examples of a step."),
        ("validation_batch", "Validation examples of a Lambda-step."),
        ("depth", "Suite influence: depth of the Wide-ResNet."),
        ("width", "Suite influence: its widening factor."),
        ("image_size", "Suite influence: side of the images."),
        ("num_classes", "Suite influence: classes."),
        ("text_length", "Suite text: tokens of an input."),
        ("text_layers", "Suite text: layers of its BERT."),
    ):
        flags.DEFINE_integer(name, getattr(d, name), text, flag_values=values)


def options_from(values: flags.FlagValues) -> Options:
    """Return the options of a command line.

    Raises:
        ValueError: a value that `Options` refuses, or --sizes is not a list of integers.
    """
    given = {name: values[name].value for name in vars(Options()) if name != "sizes"}
    smaller = suites.SMALLER.get(values["suite"].value, {})
    given |= {name: size for name, size in smaller.items() if not values[name].present}
    try:
        sizes = tuple(int(size) for size in values["sizes"].value.split(","))
    except ValueError as error:
        raise ValueError(
            f"--sizes must be integers separated by commas. Received: {values['sizes'].value!r}"
        ) from error
    options = Options(**given, sizes=sizes)
    if not options.smoke:
        return options
    few = options.rows == "*" and values["suite"].value not in suites.MEASURES
    return _smoke(dataclasses.replace(options, rows=SMOKE_ROWS) if few else options)


def _smoke(options):
    names = ("labeled_batch", "unlabeled_batch", "validation_batch")
    small = {name: max(1, getattr(options, name) // BATCHES) for name in names}
    small |= {"depth": 10, "width": 1, "repetitions": 1, "least_seconds": 0.0, "memory": False}
    return dataclasses.replace(options, **small)


def table(rows: list[dict]) -> str:
    """Return the rows as Markdown: those of timings in one table, others with those of their keys.

    A row that is not of timings (suite scale) has a heading for each of its keys.
    """
    groups = itertools.groupby(
        rows, lambda row: None if "first_call_seconds" in row else tuple(row)
    )
    return "\n\n".join(
        _markdown(HEADINGS, map(_cells, group))
        if keys is None
        else _markdown(keys[1:], (map(_cell, list(row.values())[1:]) for row in group))
        for keys, group in groups
    )


def _markdown(headings, lines):
    lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def json_lines(name: str, result: Result) -> list[str]:
    """Return one JSON object a row and, last, the suite's ratios."""
    ratios = {}
    for ratio, found in result.ratios.items():
        entry = {ratio: found.value, f"{ratio}_low": found.low, f"{ratio}_high": found.high}
        ratios |= {key: value for key, value in entry.items() if value is not None}
    last = {"suite": name, "ratios": ratios}
    if result.missing:
        last["missing"] = result.missing
    return [json.dumps(row) for row in [*result.rows, last]]


def seconds(value: float) -> str:
    """Return a duration with its unit and three digits."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def machine() -> str:
    """Return what the figures were made with, in words."""
    import tensorflow as tf

    devices = f"{len(tf.config.list_physical_devices('GPU'))} GPUs"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("keras", "numpy"))
    python = f"Python {platform.python_version()}, TensorFlow {tf.__version__}, {libraries}"
    return f"{os.cpu_count()} cores, {devices}; {python}"


def versions(result: Result) -> str:
    """Return what the rows say about the libraries of their own processes, or an empty text."""
    found = {}
    for row in result.rows:
        found |= row.get("versions", {})
    listed = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"in the processes of the rows: {listed}" if found else ""


def run(
    name: str, options: Options, out: str = "", peers_env: Path | None = None, smoke: bool = False
) -> Result:
    """Measure a suite, or with an environment its peers, and write what it found."""
    started = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - started:.0f} s] {text}", file=sys.stderr, flush=True)

    if peers_env:
        from experiments.benchmarks import peer_rows

        path = suites.CONTESTS.get(name)
        contest = importlib.import_module(path).contest() if path else None
        result = peer_rows.compare(options, peers_env.resolve(), say, contest)
    else:
        result = suites.run(name, options, say)
    lines = [json.dumps({"suite": name, "smoke": True})] * smoke + json_lines(name, result)
    made_with = (machine(), versions(result), f"{options.repetitions} interleaved rounds")
    print("; ".join(filter(None, made_with)) + f"\n\n{table(result.rows)}\n")
    for row, reason in result.missing.items():
        print(f"MISSING {row}: {reason}\n")
    print("\n".join(lines), flush=True)
    if out:
        write_atomically(Path(out), "".join(f"{line}\n" for line in lines).encode())
    return result


def run_command(words: list[str]) -> int:
    """Measure what a command line of this program asks for; return the exit code.

    Raises:
        ValueError: an unknown flag or a refused value.
    """
    values = flags.FlagValues()
    define_flags(values)
    try:
        values(["benchmark", *words])
    except flags.Error as error:
        raise ValueError(str(error)) from error
    measure(values, checked(values))
    return 0


def checked(values: flags.FlagValues) -> Options:
    """Return the options of a command line that names a suite.

    Raises:
        ValueError: a value that is refused.
    """
    options = options_from(values)
    suites.check_name(values["suite"].value)
    if values["peers"].value and values["suite"].value != "influence":
        raise ValueError(
            f"--peers must come with --suite=influence. Received: --suite={values['suite'].value}"
        )
    return options


def measure(values: flags.FlagValues, options: Options) -> Result:
    """Run the suite of a command line, as the training programs run."""
    suites.run_as_programs_do()
    if values["smoke"].value:
        print(f"{MARK}: the figures have no meaning")
    name = values["suite"].value
    peers = values["peers"].value or name in suites.CONTESTS
    peers_env = Path(values["peers_env"].value) if peers else None
    return run(name, options, values["out"].value, peers_env, values["smoke"].value)


def main(argv):
    """Run the suite of the command line."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    try:
        options = checked(flags.FLAGS)
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    with friendly():
        measure(flags.FLAGS, options)


def _cells(row):
    times = [row[key] for key in ("seconds_median", "seconds_min", "cpu_seconds_median")]
    times.append(row["first_call_seconds"])
    peak = "not measured" if row["peak_mb"] is None else f"{row['peak_mb']:.1f}"
    calls = f"{row['repetitions']} × {row['calls_per_repetition']}"
    return (row["name"], *map(seconds, times), peak, calls)


if __name__ == "__main__":
    define_flags()
    sys.exit(app.run(main))
