"""Traces in files: recorded on a CPU, shipped, and what has to be true of one that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from experiments.device_check.cases import FLOAT32, Case
from experiments.device_check.compare import TOLERANCES, certain, compare
from experiments.device_check.trace import Trace
from experiments.runs.machine import this_machine
from ssl_weighting.data.files import write_atomically

FOLDER = Path(__file__).parent / "traces"
DIGITS = 9  # of a number: one more than float32 has
SHAKE = 3e-6  # more than a device rounds, less than anything that is wrong
FEWEST_CERTAIN = 0.5


def read(name: str, folder: Path = FOLDER) -> Trace:
    """Return the recorded trace of a case.

    Raises:
        ValueError: there is none, or its file is damaged.
    """
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        trace = Trace(**{key: content[key] for key in Trace._fields})
        if compare(trace, trace, TOLERANCES[FLOAT32.tolerance]).share:  # reads every number
            raise ValueError("a number is not finite")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be a trace of case {name}. Received: {type(error).__name__}: {error}. "
            "Take the repository's file, or record it on a CPU with --record"
        ) from error
    return trace


def record(case: Case, folder: Path = FOLDER, say: Callable[[str], object] = print) -> Trace:
    """Play a case here and write its trace.

    It is played twice, the second time from parameters that are a little others: where that decides
    a mask or a pseudo-label, another device's rounding would too.

    Raises:
        ValueError: the trace hangs on roundings; it is not written.
    """
    from experiments.device_check.play import play  # TensorFlow, which reading has no need of

    tolerance = TOLERANCES[FLOAT32.tolerance]
    trace = _rounded(play(case).trace)
    moved = compare(play(case, shake=SHAKE).trace, trace, tolerance)
    sure = certain(trace, tolerance)
    if moved.share > 1 or sure < FEWEST_CERTAIN:
        raise ValueError(
            f"Case {case.name} must not hang on a rounding. Received: parameters moved by "
            f"{SHAKE:g} of themselves move {moved.where} by {moved.share:.3g} of what is allowed, "
            f"and the directions of {sure:.0%} of the weights are certain. Give it another seed"
        )
    write(case.name, trace, folder)
    say(f"{case.name}: moved by {moved.share:.2g} of what is allowed, {sure:.0%} weights certain")
    return trace


def write(name: str, trace: Trace, folder: Path = FOLDER) -> None:
    """Write the trace of a case, with the machine that it was made on."""
    content = {"case": name, "machine": this_machine()} | trace._asdict()
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    write_atomically(folder / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")


def _rounded(value):
    """Return a trace with `DIGITS` digits a number."""
    if isinstance(value, Trace):
        return Trace(*map(_rounded, value))
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
