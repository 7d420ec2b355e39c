"""ablation_curves.csv: error on V over training, one line a run, for the figures that need it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.runs.record import RunRecord
from experiments.runs.run_files import RunError
from experiments.study.rows import Key
from ssl_weighting.data.csv_cells import csv_of

FILE = "ablation_curves.csv"
_COLUMNS = ("family", "method", "seed", "options", "steps", "errors")


@dataclass(frozen=True)
class Curve:
    """Error on V of one run over its evaluations."""

    options: str  # hash of the run's options, as in runs.csv
    steps: tuple[int, ...]  # increasing
    errors: tuple[float, ...]  # percent


Curves = Mapping[Key, Curve]


def curve_of(run: RunRecord, options: str) -> Curve | None:
    """Return the curve of a finished run; None where it was never measured on V."""
    found = [line for line in run.evals if line.get("validation_error") is not None]
    steps = tuple(int(line["step"]) for line in found)
    errors = tuple(round(float(line["validation_error"]), 4) for line in found)
    return Curve(options, steps, errors) if found else None


def curves_text(curves: Curves) -> str:
    """Return the curves as CSV, in order of family, method and seed."""
    lines = [
        (*key, curve.options, json.dumps(curve.steps), json.dumps(curve.errors))
        for key, curve in sorted(curves.items())
    ]
    return csv_of([_COLUMNS, *lines])


def read_curves(path: Path | str) -> dict[Key, Curve]:
    """Read the record of curves; {} if there is none yet.

    Raises:
        RunError: a line cannot be read, or a run stands there twice.
    """
    if not Path(path).exists():
        return {}
    found: dict[Key, Curve] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, values in enumerate(csv.DictReader(file), start=2):
            where = f"{Path(path).name} line {number}"
            key, curve = _parsed(values, where)
            if key in found:
                raise RunError(f"{where}: {'/'.join(map(str, key))} stands there twice")
            found[key] = curve
    return found


def _parsed(values, where):
    try:
        key = values["family"], values["method"], int(values["seed"])
        steps, errors = (tuple(json.loads(values[name])) for name in ("steps", "errors"))
        whole = all(type(step) is int for step in steps) and steps == tuple(sorted(set(steps)))
        numbers = all(type(error) in (int, float) for error in errors)
        known = whole and numbers and 0 < len(steps) == len(errors)
        curve = Curve(values["options"], steps, errors)
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise RunError(
            f"{where}: `steps` must be increasing whole numbers, and `errors` as many numbers. "
            f"Received: {dict(values)}. Delete the line and make the run again."
        )
    return key, curve
