"""How well −λ finds wrong pseudo-labels over the examples whose λ was ever updated.

Beside it: 1 − confidence, the loss, and a random score, which learned weights must beat to be
worth their cost as detectors of wrong labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.pages.document import Table
from experiments.pages.statistics import Auroc, auroc, mean_std
from experiments.pages.wording import MISSING, spread_text, unique
from experiments.report.grouping import Method, Setting
from experiments.runs.extremes import scored
from experiments.runs.record import RunRecord
from experiments.runs.run_files import Arrays

SCORES = ("−λ", "1 − confidence", "loss", "random")
RANDOM_SEED = 0
EXPLANATION = (
    "AUROC of each score for “the pseudo-label is wrong”: 1 finds every wrong one first, 0.5 is "
    "chance. Over the examples whose λ was updated at least once, but for labeled ones that stand "
    "in U too; pseudo-label, confidence and loss come from the final model."
)


@dataclass(frozen=True, eq=False)
class Detection:
    """AUROC of each score of one run for "the pseudo-label is wrong"."""

    method: Method
    seed: int
    visited: int
    labeled: int  # those of them that stand in D too, and are left out
    known: int  # visited, unlabeled examples with a known true label: the ones that are scored
    wrong: int
    areas: dict[str, Auroc]  # by name in SCORES


Detections = dict[Setting, tuple[tuple[Detection, ...], ...]]  # per setting, per method, per run


def known_and_visited(weights: Arrays) -> np.ndarray:
    """Return [|U|] bool: the example is `scored`, and its true label is known."""
    return scored(weights) & (weights["true_label"] >= 0)


def is_wrong(weights: Arrays) -> np.ndarray:
    """Return [|U|] bool: the final pseudo-label differs from the true label, where known."""
    return (weights["true_label"] >= 0) & (weights["pseudo_label"] != weights["true_label"])


def detect(method: Method, run: RunRecord) -> Detection | None:
    """Score one run; None if it has no example weights to score."""
    if run.weights is None:
        return None
    chosen = known_and_visited(run.weights)
    wrong = is_wrong(run.weights)[chosen]
    scores = {
        "−λ": -run.weights["lam"][chosen],
        "1 − confidence": 1.0 - run.weights["confidence"][chosen],
        "loss": run.weights["loss"][chosen],
        "random": np.random.default_rng(RANDOM_SEED).random(len(wrong)),
    }
    return Detection(
        method=method,
        seed=run.seed,
        visited=int(np.count_nonzero(run.weights["visits"] > 0)),
        labeled=int(np.count_nonzero((run.weights["visits"] > 0) & ~scored(run.weights))),
        known=len(wrong),
        wrong=int(np.count_nonzero(wrong)),
        areas={name: _area(score, wrong) for name, score in scores.items()},
    )


def _area(score: np.ndarray, wrong: np.ndarray) -> Auroc:
    if len(wrong) == 0:
        return Auroc(None, "no example with an updated λ and a known true label")
    if wrong.all() or not wrong.any():
        return Auroc(
            None, "every pseudo-label is wrong" if wrong.any() else "no pseudo-label is wrong"
        )
    return auroc(score, wrong)


def detect_setting(setting: Setting) -> tuple[tuple[Detection, ...], ...]:
    """Return detections of every run whose examples carry weights, one tuple per method."""
    found = []
    for method in setting.methods:
        detections = (detect(method, run) for run in method.runs if method.is_weighted)
        group = tuple(item for item in detections if item is not None)
        # A control whose λ no update ever touched has nothing to say here.
        if method.is_learned or any(item.visited for item in group):
            found.append(group)
    return tuple(group for group in found if group)


def mean_area(group: Sequence[Detection], score: str) -> str:
    """Return mean ± standard deviation over the runs with a defined area, or "undefined"."""
    values = [item.areas[score].value for item in group]
    defined = [value for value in values if value is not None]
    if not defined:
        return "undefined"
    text = spread_text(mean_std(defined), digits=3)
    if len(defined) == len(values):
        return text
    return f"{text} ({len(defined)} of {len(values)} runs)"


def mean_table(detections: Detections) -> Table:
    """Return one row per method: mean ± standard deviation over its runs."""
    rows = []
    for setting, groups in detections.items():
        for group in groups:
            means = (mean_area(group, score) for score in SCORES)
            rows.append((setting.title, group[0].method.label, str(len(group)), *means))
    columns = ("Data set", "Method", "Runs", *SCORES)
    return Table(columns, tuple(rows), text_columns=(0, 1), notes=_reasons(detections))


def _reasons(detections: Detections) -> tuple[str, ...]:
    """Return why an area is undefined, with the runs that share the reason."""
    seeds = defaultdict(lambda: defaultdict(list))
    for setting, groups in detections.items():
        for item in (item for group in groups for item in group):
            for reason in unique([area.reason for area in item.areas.values() if area.reason]):
                seeds[reason][f"{item.method.label} on {setting.title}"].append(str(item.seed))
    return tuple(
        f"Undefined because {why}: "
        + "; ".join(f"{name} (seed {', '.join(found)})" for name, found in where.items())
        + "."
        for why, where in seeds.items()
    )


def run_table(detections: Detections) -> Table:
    """Return one row per run, with the numbers of examples behind its areas."""
    rows = []
    for setting, groups in detections.items():
        for item in (item for group in groups for item in group):
            counts = (item.visited, item.labeled, item.known, item.wrong)
            areas = [item.areas[score] for score in SCORES]
            rows.append(
                (
                    setting.title,
                    item.method.label,
                    str(item.seed),
                    *(f"{count:,}" for count in counts),
                    *(MISSING if area.value is None else f"{area.value:.3f}" for area in areas),
                )
            )
    columns = ("Data set", "Method", "Seed", "Visited", "Labeled", "Known label", "Wrong", *SCORES)
    return Table(columns, tuple(rows), text_columns=(0, 1))
