"""ablation_curves.csv: error on V over training, one line a run, for the figures that need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.runs.record import RunRecord
from experiments.runs.run_files import RunError
from experiments.study.rows import Key, read_rows

FILE = "ablation_curves.csv"


@dataclass(frozen=True)
class Curve:
    """Error on V of one run over its evaluations."""

    family: str
    method: str
    seed: int
    options: str  # hash of the run's options, as in runs.csv
    steps: list  # of int, increasing
    errors: list  # of float, percent; as many

    @property
    def key(self) -> Key:
        """Whose curve it is."""
        return self.family, self.method, self.seed


Curves = Mapping[Key, Curve]


def curve_of(run: RunRecord, key: Key, options: str) -> Curve | None:
    """Return the curve of a finished run; None where it was never measured on V.

    Args:
        run: read and checked.
        key: its place in the study.
        options: hash of its options.
    """
    found = [line for line in run.evals if line.get("validation_error") is not None]
    steps = [int(line["step"]) for line in found]
    errors = [round(float(line["validation_error"]), 4) for line in found]
    return Curve(*key, options, steps, errors) if found else None


def read_curves(path: Path | str) -> dict[Key, Curve]:
    """Read the record of curves; {} if there is none yet.

    Raises:
        RunError: a line cannot be read, or a run stands there twice.
    """
    found = read_rows(path, Curve)
    for key, curve in found.items():
        whole = all(type(step) is int for step in curve.steps)
        numbers = all(type(error) in (int, float) for error in curve.errors)
        increasing = whole and curve.steps == sorted(set(curve.steps))
        if not (increasing and numbers and 0 < len(curve.steps) == len(curve.errors)):
            raise RunError(
                f"{Path(path).name}: {'/'.join(map(str, key))}: `steps` must be increasing whole "
                f"numbers, and `errors` as many numbers. Received: {curve.steps}, {curve.errors}. "
                "Delete the line and make the run again."
            )
    return found
