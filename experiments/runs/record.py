"""A run's record: the schema of its folder, writer and reader; no TensorFlow.

config.json            `Configuration`: options, data, split, versions; written at the start
metrics.jsonl          a line an event, see `metrics`
summary.json           `Summary`; written last: a run is finished once it is there
example_weights.parquet    see `example_weights`
extreme_examples.npz, snapshots.npz    see `run_files`
cell.json              `paper.cell.CellNote`, of the paper's cells
timing.jsonl, tensorboard/, checkpoints/, model.keras, skipped.csv, lambda_history.npz    not of it
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from experiments.options.config import without_retired
from experiments.pages.statistics import best_on_validation, median_of_last
from experiments.runs.example_weights import read_example_weights
from experiments.runs.machine import threads_of
from experiments.runs.metrics import read_metrics
from experiments.runs.pairs import Circumstances
from experiments.runs.run_files import (
    Arrays,
    Count,
    Counts,
    Flag,
    Number,
    Numbers,
    Object,
    Objects,
    Percent,
    RunError,
    Share,
    Text,
    Texts,
    check_fields,
    kinds_of,
    parse_object,
    read_extreme_examples,
    read_object,
    read_snapshots,
    read_text,
    write_object,
)
from ssl_weighting.training.solved import SOLVE

TOLERANCE = 0.01  # percentage points by which summary.json may differ from metrics.jsonl
COMPLETE = "complete"
LEARNING = " (before the refit)"  # at the end of the name of what learned before one


class Configuration(TypedDict):
    """The fields of config.json; those that may be null are missing in older runs."""

    program: Text
    config: Object  # the options, as strict JSON
    split_hash: Text
    split_without_u: Text | None  # of D, V and the test set alone
    without_effect: Texts | None  # options that do nothing in this run
    dataset: Text | None
    class_names: Texts | None
    class_counts: Object | None  # set -> examples of each class
    source: Text | None
    inputs: Object | None  # name -> digest of what the run depends on beside splits and options
    images: Object | None  # of `image_reading`
    input_shape: Counts | None
    deviations: Texts | None
    commit: Text | None
    notes: Texts | None
    versions: Object | None
    machines: Objects | None  # of `machine.continued`, a list: a run may go on elsewhere


_EXTRAS = {  # may be missing, or damaged: the run counts without them
    "weights": ("example_weights.parquet", read_example_weights),
    "extremes": ("extreme_examples.npz", read_extreme_examples),
    "snapshots": ("snapshots.npz", read_snapshots),
}


@dataclasses.dataclass(frozen=True)
class Summary:
    """The fields of summary.json; errors in percent, shares in [0, 1]."""

    status: Text
    dataset: Text
    source: Text
    algorithm: Text
    weighting: Text
    method: Text
    seed: Count
    num_labeled: Count
    val_size: Count
    num_unlabeled: Count
    validation_as_labels: Flag
    steps: Count
    test_error_median20: Percent
    best_on_validation_is_optimistic: Flag
    test_error_last: Percent
    test_error_best_on_validation: Percent | None = None  # None: no V was left to select on
    single_test_error_median20: Percent | None = None  # of a cross-fit
    raw_test_error_last: Percent | None = None
    lambda_share: Share | None = None
    seconds: Number | None = None
    deviations: Texts | None = None
    lam_quantiles: Numbers | None = None
    lam_mean: Number | None = None
    coverage: Share | None = None
    lam_by_group: Object | None = None
    warnings: Texts | None = None  # of `warnings.warnings_of`
    before_refit: Object | None = None  # of what learned its Lambda: names above, its split
    smoke: Flag = False
    devices: Count = 1


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """One finished run, read and checked."""

    name: str
    summary: Summary
    config: Configuration
    evals: tuple[Mapping[str, Any], ...]  # in order of "step"
    lambdas: tuple[Mapping[str, Any], ...]
    weights: Arrays | None = None  # columns of example_weights.parquet, each [|U|]
    extremes: Arrays | None = None  # extreme_examples.npz
    snapshots: Arrays | None = None  # snapshots.npz
    remarks: tuple[str, ...] = ()  # optional files that could not be read, with the reason
    learning: tuple[Mapping[str, Any], ...] = ()  # evaluations of what learned before a refit

    @property
    def seed(self) -> int:
        """The seed that makes runs of different methods a pair."""
        return self.summary.seed

    @property
    def num_labeled(self) -> int:
        """Labels that were asked for: where V became labels, it is not counted among them."""
        asked = self.config["config"].get("num_labeled")
        return asked if isinstance(asked, int) and asked else self.summary.num_labeled

    @property
    def is_solved(self) -> bool:
        """Whether its steps were exact solutions, of which the last is what the run is about."""
        return self.config["config"].get("inner") == SOLVE

    @property
    def test_error(self) -> float:
        """The error that is compared, in percent: median of the last 20 evaluations.

        Of solutions the last: they have no noise, and those before it have other weights.
        """
        summary = self.summary
        return summary.test_error_last if self.is_solved else summary.test_error_median20

    @property
    def source(self) -> str:
        """The data's source without the seed that generated data name: the same for all seeds."""
        return re.sub(rf"\bseed {self.seed}\b", "the run's seed", self.summary.source)

    @property
    def split_without_u(self) -> str | None:
        """The digest of D, V and the test set; None if it was not recorded."""
        return self.config.get("split_without_u")

    @property
    def contents(self) -> dict[str, str]:
        """Option that names a folder -> what lay there, as far as the run recorded it."""
        inputs = self.config.get("inputs") or {}
        found = {}
        if "strong_views" in inputs:
            # Word replacement records its seed too; it is told by options, as an empty folder's.
            views = inputs["strong_views"]
            found["back_translation_dir"] = views if views.startswith("back_translation") else ""
        if "weights" in inputs:
            found["bert"] = f"{inputs['weights']} {inputs.get('vocabulary', '')}"
        return found

    @property
    def circumstances(self) -> Circumstances:
        """What `comparable` compares."""
        has_views = (self.config.get("inputs") or {}).get("strong_views")
        return Circumstances(
            devices=self.summary.devices,
            precision=self.config["config"].get("precision", "float32"),
            source=self.summary.source,
            split=self.config["split_hash"],
            with_v=self.summary.validation_as_labels,
            views=self.contents.get("back_translation_dir") if has_views else None,
            bert=self.contents.get("bert"),
            threads=threads_of(self.config.get("machines")),
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, empty when the run did not record them."""
        return tuple(self.config.get("class_names") or ())

    def class_name(self, label: int) -> str:
        """Return the class's name, its number where there is no name, "unknown" for -1."""
        if label < 0:
            return "unknown"
        return self.class_names[label] if label < len(self.class_names) else str(label)


def write_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write config.json of a run."""
    write_object(folder / "config.json", values, Configuration)


def write_summary(folder: Path, values: Mapping[str, Any]) -> None:
    """Write summary.json: from now on the run is finished."""
    write_object(folder / "summary.json", values, Summary)


def read_config(folder: Path) -> Configuration:
    """Return config.json of a run, finished or not; its options are those `without_retired`.

    Raises:
        RunError: it is missing, broken or wrong.
    """
    found = read_object(folder / "config.json", Configuration)
    return {**found, "config": without_retired(found["config"])}


def summary_of(folder: str | Path) -> dict[str, Any]:
    """Return summary.json of a finished run, unchecked; {} if the folder holds none."""
    try:
        found = parse_object(read_text(Path(folder) / "summary.json"), "summary.json")
    except RunError:
        return {}
    return found if found.get("status") == COMPLETE else {}


def is_complete(folder: str | Path) -> bool:
    """Return whether a run folder holds a finished run."""
    return bool(summary_of(folder))


def read_run(folder: Path, name: str = "", *, arrays: bool = True) -> RunRecord | None:
    """Read one run folder.

    Args:
        folder: of the run.
        name: to call it by.
        arrays: whether to read its weights, pictures and snapshots too.

    Returns:
        The record, or None if the run is not finished (no summary.json, or not "complete").

    Raises:
        RunError: a required file is missing, broken, or contradicts another.
    """
    path = folder / "summary.json"
    if not path.exists():
        return None
    stated = parse_object(read_text(path), path.name)
    if stated.get("status") != COMPLETE:
        return None
    check_fields(stated, Summary, path.name)
    summary = Summary(**{key: stated[key] for key in kinds_of(Summary) if key in stated})
    config = read_config(folder)
    evals, lambdas, learning = read_metrics(folder / "metrics.jsonl")
    _check_agreement(summary, evals)
    remarks: list[str] = []
    extras = {}
    for kind, (file, read) in _EXTRAS.items() if arrays else ():
        try:
            extras[kind] = read(folder / file) if (folder / file).exists() else None
        except RunError as error:
            remarks.append(str(error))
    found = (name, summary, config, evals, lambdas)
    return RunRecord(*found, **extras, remarks=tuple(remarks), learning=learning)


def _check_agreement(summary: Summary, evals: tuple[Mapping[str, Any], ...]) -> None:
    expected = {
        "test_error_median20": median_of_last(evals),
        "test_error_last": evals[-1]["test_error"],
        "test_error_best_on_validation": best_on_validation(evals),
    }
    for name, value in expected.items():
        stated = getattr(summary, name)
        # Without a validation error there is nothing to select by.
        if None not in (value, stated) and abs(stated - value) > TOLERANCE:
            raise RunError(
                f"summary.json says {name} = {stated:.2f}, but metrics.jsonl gives {value:.2f}"
            )


def before_refit(run: RunRecord) -> RunRecord | None:
    """Return what learned the Lambda of a refit as a run of its own; None where there was none.

    It is the run without --refit, to the bit. Its pictures of the toy sets are its own; what the
    folder says of pseudo-labels and of time is the refit's, or of both.
    """
    stated = run.summary.before_refit
    if not (stated and run.learning):
        return None
    own = {name: stated[name] for name in kinds_of(Summary) if name in stated}
    unknown = {"before_refit": None, "seconds": None, "lambda_share": None, "warnings": None}
    config = run.config | {n: stated.get(n) for n in ("split_hash", "split_without_u")}
    config["config"] = run.config["config"] | {"refit": False}
    return dataclasses.replace(
        run,
        name=run.name + LEARNING,
        summary=dataclasses.replace(run.summary, **unknown | own),
        config=config,
        evals=run.learning,
        learning=(),
        weights=None,
        extremes=None,
    )
