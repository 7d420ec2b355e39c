"""Finds the runs below a folder and sorts them into finished, not finished and unreadable.

Nothing found on disk stops the report: a broken run, or a broken optional file of a good run, is
named together with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.pages.statistics import best_on_validation, median_of_last
from experiments.report import validation
from experiments.report.run_files import (
    read_example_weights,
    read_extreme_examples,
    read_metrics,
    read_snapshots,
)
from experiments.report.validation import RunError

RUN_FILES = ("summary.json", "config.json", "metrics.jsonl")
TOLERANCE = 0.01  # percentage points by which summary.json may differ from metrics.jsonl
Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")


@dataclass(frozen=True)
class RunSummary:
    """The fields of summary.json that the report uses; errors in percent, shares in [0, 1]."""

    dataset: str
    source: str
    algorithm: str
    weighting: str
    method: str
    seed: int
    num_labeled: int
    val_size: int
    num_unlabeled: int
    validation_as_labels: bool
    steps: int
    test_error_median20: float
    test_error_best_on_validation: float | None  # None where no V was left to select on
    best_on_validation_is_optimistic: bool
    test_error_last: float
    raw_test_error_last: float | None
    lambda_share: float | None
    coverage: float | None
    deviations: list[str] | None


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One finished run, read and checked."""

    name: str  # folder relative to the one that was searched
    summary: RunSummary
    config: Mapping[str, Any]  # config.json
    evals: tuple[Mapping[str, Any], ...]  # in order of "step"
    lambdas: tuple[Mapping[str, Any], ...]
    weights: Arrays | None = None  # columns of example_weights.parquet, each [|U|]
    extremes: Arrays | None = None  # extreme_examples.npz
    snapshots: Arrays | None = None  # snapshots.npz
    remarks: tuple[str, ...] = ()  # optional files that could not be read, with the reason

    @property
    def seed(self) -> int:
        """The seed that makes runs of different methods a pair."""
        return self.summary.seed

    @property
    def num_labeled(self) -> int:
        """Labels that were asked for: where V became labels, it is not counted among them."""
        asked = self.config["config"].get("num_labeled")
        return asked if isinstance(asked, int) else self.summary.num_labeled

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, empty when the run did not record them."""
        return tuple(self.config.get("class_names") or ())

    def class_name(self, label: int) -> str:
        """The class's name, its number where there is no name, "unknown" for -1."""
        if label < 0:
            return "unknown"
        return self.class_names[label] if label < len(self.class_names) else str(label)


@dataclass(frozen=True)
class Collection:
    """Every run folder found, in order of name."""

    finished: tuple[RunRecord, ...]
    unfinished: tuple[tuple[str, str], ...]  # (name, how far it came)
    corrupt: tuple[tuple[str, str], ...]  # (name, reason)


def collect_runs(folder: Path | str) -> Collection:
    """Reads every run at or below `folder`.

    A run is a folder with summary.json, config.json or metrics.jsonl; folders inside a run are
    not searched, and links are not followed.

    Raises:
      ValueError: `folder` is not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"`runs` must be a folder that holds run folders. Received: runs={folder}. "
            "Train something first, or name the folder that --out of the training programs named."
        )
    finished, unfinished, corrupt = [], [], []
    for path in sorted(_run_folders(root)):
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            record = read_run(path, name)
            if record is None:
                unfinished.append((name, _progress(path)))
            else:
                finished.append(record)
        except RunError as error:
            corrupt.append((name, str(error)))
    return Collection(tuple(finished), tuple(unfinished), tuple(corrupt))


def _run_folders(root: Path) -> list[Path]:
    found = []
    for current, folders, files in os.walk(root):
        if any(name in files for name in RUN_FILES):
            found.append(Path(current))
            folders.clear()  # checkpoints and events of a run are no runs of their own
    return found


def read_run(folder: Path, name: str) -> RunRecord | None:
    """Reads one run folder.

    Returns:
      The record, or None if the run is not finished (no summary.json, or not "complete").

    Raises:
      RunError: a required file is missing, broken, or contradicts another.
    """
    if not (folder / "summary.json").exists():
        return None
    stated = _read_object(folder / "summary.json")
    if stated.get("status") != "complete":
        return None
    validation.check_fields(stated, validation.SUMMARY_FIELDS, "summary.json")
    summary = RunSummary(**{name: stated.get(name) for name in validation.SUMMARY_FIELDS})
    config = _read_object(folder / "config.json")
    validation.check_fields(config, validation.CONFIG_FIELDS, "config.json")
    evals, lambdas = read_metrics(folder / "metrics.jsonl")
    _check_agreement(summary, evals)
    remarks: list[str] = []
    weights = _optional(read_example_weights, folder / "example_weights.parquet", remarks)
    extremes = _optional(read_extreme_examples, folder / "extreme_examples.npz", remarks)
    snapshots = _optional(read_snapshots, folder / "snapshots.npz", remarks)
    return RunRecord(
        name, summary, config, evals, lambdas, weights, extremes, snapshots, tuple(remarks)
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path.name} cannot be read: {_reason(error)}") from error
    return validation.parse_object(text, path.name)


def _optional(read: Callable[[Path], T], path: Path, remarks: list[str]) -> T | None:
    if not path.exists():
        return None
    try:
        return read(path)
    except RunError as error:
        remarks.append(str(error))
        return None


def _check_agreement(summary: RunSummary, evals: tuple[Mapping[str, Any], ...]) -> None:
    expected = {
        "test_error_median20": median_of_last(evals),
        "test_error_last": evals[-1]["test_error"],
        "test_error_best_on_validation": best_on_validation(evals),
    }
    for name, value in expected.items():
        stated = getattr(summary, name)
        if value is None or stated is None:
            continue  # there was no validation error to select by
        if abs(stated - value) > TOLERANCE:
            raise RunError(
                f"summary.json says {name} = {stated:.2f}, but metrics.jsonl gives {value:.2f}"
            )


def _progress(folder: Path) -> str:
    """The last step in metrics.jsonl, read leniently: the run may still be writing."""
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "no metrics yet"
    for line in reversed(lines):
        try:
            return f"last recorded step {int(validation.parse_object(line, 'line')['step']):,}"
        except (ValueError, KeyError, TypeError):
            continue
    return "no metrics yet"


def _reason(error: Exception) -> str:
    # Without the path: reports are shared, and folders of one's machine are nobody's business.
    return getattr(error, "strerror", None) or str(error)
