"""One line a run: what is kept of the study's runs when their folders are gone.

`runs.csv` is the record of runs made in several sittings, on several machines. All tables and
pictures of the study are drawn from its lines alone.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.pages.statistics import (
    LAST_EVALUATIONS,
    auroc,
    auroc_within,
    median_of_last,
    share_between,
)
from experiments.report.detection import is_wrong, known_and_visited
from experiments.runs.pairs import Circumstances
from experiments.runs.record import RunRecord
from experiments.runs.run_files import RunError
from ssl_weighting.data.csv_cells import csv_of, unguarded

Key = tuple[str, str, int]  # family, method, seed
BY_PSEUDO_LABEL = ("right pseudo-label", "wrong pseudo-label")  # groups of every run
SCORES = ("lam", "confidence", "loss")  # −λ, 1 − confidence, loss: larger = more suspect
WITHIN = "wrong, within a pseudo-class"
_REFIT = "_refit"  # in the name of a method
SUSPECTS = ("foreign", "corrupt")  # groups that a good weight would lower
MEDIANS = (
    "influence_abs_mean", "cosine_exact_identity", "hessian_over_damping", "stale_fresh_spearman",
    "halves_spearman", "members_spearman",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One finished run. Errors in percent, shares in [0, 1]; None where there is no such number."""

    family: str
    method: str
    seed: int
    options: str  # hash of the options that were set
    commit: str  # of the code that ran; "" if unknown
    version: str
    source: str
    split: str  # first characters of the split's hash
    label: str  # the method in words
    num_labeled: int
    val_size: int
    num_unlabeled: int
    steps: int
    test_error: float  # median of the last 20 evaluations; of exact solutions the last one
    test_error_best_on_validation: float | None
    best_on_validation_is_optimistic: bool
    single_test_error: float | None  # cross-fit: mean of the single models, by the first rule
    raw_test_error: float | None  # without EMA: the last, in older runs the median
    validation_error: float | None  # by the same rule
    validation_loss: float | None
    lam_mean: float | None
    lam_std: float | None
    lam_low: float | None  # 5 % quantile
    lam_high: float | None  # 95 %
    moved: float | None  # share of U whose λ was updated at least once
    visits: float | None  # mean updates of an example
    between_classes: float | None  # share of the variance of the moved λ between pseudo-classes
    lambda_steps: int
    lam_by_group: dict  # group -> [examples, mean λ, std of λ, share moved]
    auroc: dict  # "wrong/lam" -> area of −λ for wrong pseudo-labels; over the moved
    medians: dict  # over Λ-steps, by name in `MEDIANS`
    lambda_share: float | None
    seconds: float | None

    @property
    def key(self) -> Key:
        """What makes a run one of the study's."""
        return self.family, self.method, self.seed

    @property
    def circumstances(self) -> Circumstances:
        """What `comparable` compares; the plan's options fix devices and precision."""
        with_v = "v_as_labels" in self.method or _REFIT in self.method
        return Circumstances(1, "float32", self.source, self.split, with_v)


def method_before(method: str) -> str:
    """Return the method of what learned the weights of a refit: X of X_refit; "" for no refit.

    The ensemble before `cross_fit_refit` learns from V's labels, as what follows it.
    """
    head, refit, tail = method.partition(_REFIT)
    if not refit:
        return ""
    return f"{head}{'_v_as_labels' if head == 'cross_fit' else ''}{tail}"


def row_of(run: RunRecord, key: Key, options: str) -> Row:
    """Return the line of a finished run.

    Args:
        run: read and checked.
        key: its place in the study.
        options: hash of its options.
    """
    family, method, seed = key
    versions = run.config.get("versions") or {}
    shared = {name: getattr(run.summary, name) for name in _SHARED}
    shared |= {name: _rounded(value) for name, value in shared.items() if type(value) is float}
    count = 1 if run.is_solved else LAST_EVALUATIONS
    return Row(
        family=family,
        method=method,
        seed=seed,
        options=options,
        commit=str(run.config.get("commit") or ""),
        version=str(versions.get("ssl_weighting") or ""),
        split=run.config["split_hash"][:12],
        label=run.summary.method,
        num_labeled=run.num_labeled,
        test_error=_rounded(run.test_error),
        single_test_error=_median(run, "single_test_error", count),
        raw_test_error=_median(run, "raw_test_error", count),
        validation_error=_median(run, "validation_error", count),
        validation_loss=_median(run, "validation_loss", count),
        lambda_steps=len(run.lambdas),
        medians=_medians(run),
        seconds=_rounded(run.summary.seconds),
        **shared,
        **_weights(run),
    )


_SHARED = (
    "source", "val_size", "num_unlabeled", "steps", "test_error_best_on_validation",
    "best_on_validation_is_optimistic", "lambda_share",
)  # fmt: skip
_NO_WEIGHTS = dict.fromkeys(
    ("lam_mean", "lam_std", "lam_low", "lam_high", "moved", "visits", "between_classes")
)


def _median(run, name, count):
    if all(line.get(name) is None for line in run.evals):
        return None
    return _rounded(median_of_last(run.evals, count, name))


def _medians(run):
    found = {}
    for name in MEDIANS:
        values = [line[name] for line in run.lambdas if line.get(name) is not None]
        if values:
            found[name] = _rounded(float(np.median(values)))
    return found


def _weights(run: RunRecord) -> dict:
    table = run.weights
    if table is None or run.summary.weighting in ("fixed", "zero", "confidence", "oracle"):
        return _NO_WEIGHTS | {"lam_by_group": {}, "auroc": {}}
    lam, visits = table["lam"].astype(np.float64), table["visits"]
    low, high = np.quantile(lam, [0.05, 0.95])
    moved = visits > 0
    between = share_between(lam[moved], table["pseudo_label"][moved])
    numbers = (lam.mean(), lam.std(), low, high, moved.mean(), visits.mean(), between)
    return {
        **dict(zip(_NO_WEIGHTS, map(_rounded, numbers), strict=True)),
        "lam_by_group": {name: _group(table, chosen) for name, chosen in _groups(table).items()},
        "auroc": _areas(table),
    }


def _groups(table) -> dict[str, np.ndarray]:
    """Return the examples with a right and a wrong pseudo-label, and the groups the run knew."""
    known, wrong = table["true_label"] >= 0, is_wrong(table)
    found = dict(zip(BY_PSEUDO_LABEL, (known & ~wrong, wrong), strict=True))
    if "group" in table:
        found |= {str(name): table["group"] == name for name in dict.fromkeys(table["group"])}
    return {name: chosen for name, chosen in found.items() if chosen.any()}


def _group(table, chosen) -> list:
    lam, moved = table["lam"][chosen].astype(np.float64), table["visits"][chosen] > 0
    return [int(chosen.sum()), *map(_rounded, (lam.mean(), lam.std(), moved.mean()))]


def _areas(table) -> dict:
    visited = table["visits"] > 0
    suspects = {"wrong": (known_and_visited(table), is_wrong(table))}
    for name in SUSPECTS:
        if "group" in table and (table["group"] == name).any():
            suspects[name] = (visited, table["group"] == name)
    scores = {"lam": -table["lam"], "confidence": -table["confidence"], "loss": table["loss"]}
    areas = {
        f"{name}/{score}": auroc(values[chosen], positive[chosen])
        for name, (chosen, positive) in suspects.items()
        for score, values in scores.items()
    }
    known, wrong = suspects["wrong"]
    classes = table["pseudo_label"][known]
    for score, values in scores.items():
        areas[f"{WITHIN}/{score}"] = auroc_within(values[known], wrong[known], classes)
    return {key: _rounded(area.value) for key, area in areas.items() if area.value is not None}


def _rounded(value):
    """Return six digits: more than any of these numbers is worth, and a small file."""
    return None if value is None else float(f"{float(value):.6g}")


def group_names(rows: Iterable[Row]) -> list[str]:
    """Return the groups of U in these runs: by pseudo-label, then the others, the largest first."""
    sizes = Counter()
    for row in rows:
        sizes.update({name: found[0] for name, found in row.lam_by_group.items()})
    others = sorted(sizes.keys() - set(BY_PSEUDO_LABEL), key=lambda name: (-sizes[name], name))
    return [*(name for name in BY_PSEUDO_LABEL if name in sizes), *others]


def rows_text(rows: Iterable[Any], kind: type = Row) -> str:
    """Return lines of one kind as CSV, in order of family, method and seed."""
    names = [field.name for field in dataclasses.fields(kind)]
    in_order = sorted(rows, key=lambda row: row.key)
    return csv_of([names, *([_cell(getattr(row, name)) for name in names] for row in in_order)])


def _cell(value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_rows(path: Path | str, kind: type = Row) -> dict[Key, Any]:
    """Read a record; {} if there is none yet.

    Args:
        path: of the file.
        kind: dataclass of a line; its `key` tells lines apart.

    Raises:
        RunError: a column is missing, a value is none of its column, or a run stands there twice.
    """
    if not Path(path).exists():
        return {}
    found: dict[Key, Any] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, values in enumerate(csv.DictReader(file), start=2):
            where = f"{Path(path).name} line {number}"
            row = _parsed(values, where, kind)
            if row.key in found:
                raise RunError(f"{where}: {'/'.join(map(str, row.key))} stands there twice")
            found[row.key] = row
    return found


def _parsed(values: Mapping[str, Any], where: str, kind: type):
    parsed = {}
    for field in dataclasses.fields(kind):
        text = values.get(field.name)
        try:
            is_text = field.type == "str"
            parsed[field.name] = unguarded(text) if is_text else json.loads(text)
            known = isinstance(parsed[field.name], _TYPES[field.type])
        except (AttributeError, TypeError, ValueError):
            known = False
        if not known:
            raise RunError(f"{where}: `{field.name}` must be {field.type}. Received: {text!r}")
    return kind(**parsed)


_TYPES = {
    "str": str, "int": int, "bool": bool, "dict": dict, "list": list, "float": int | float,
    "float | None": int | float | None,
}  # fmt: skip
