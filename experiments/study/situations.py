"""What to use in which situation: means over the settings on features that share one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.pages.document import Table
from experiments.study.advice import GAINS, USE
from experiments.study.families_found import (
    BALANCED,
    CROSS_FIT_BALANCED,
    CROSS_FIT_REFIT,
    ENSEMBLE,
    LABELS_ALONE,
    REFIT,
    REFIT_BALANCED,
    V_AS_LABELS,
    Family,
)
from experiments.study.feature_families import setting_of
from experiments.study.headline import over_settings
from experiments.study.tables import difference_text, is_sure

BIASED = "labeled_imbalance"
# Settings of experiments/study/feature_families.py -> the situation that a user is in.
SITUATIONS = {
    "clean": "few labels, as many in V",
    "fifth": "few labels, a fifth of all in V",
    "labels_25": "25 labels a class, as many in V",
    "labels_100": "100 labels a class, as many in V",
    "corrupt": "30 % of U corrupt",
    "foreign": "half of U of foreign classes",
    "imbalanced": "classes of U 1:10",
    BIASED: "classes of D 10:1, V balanced",
}
FAIR = "all whose D is as fair as V"
# What trains on all labels, V's too: from these a user chooses.
CHOICES = (
    V_AS_LABELS, BALANCED, LABELS_ALONE, REFIT, CROSS_FIT_REFIT, ENSEMBLE,
    REFIT_BALANCED, CROSS_FIT_BALANCED,
)  # fmt: skip
COLUMNS = (
    *GAINS,
    (CROSS_FIT_REFIT, REFIT, "cross-fit, refit − Λ learned, refit"),
    (ENSEMBLE, CROSS_FIT_REFIT, "cross-fit: ensemble − refit"),
    (BALANCED, V_AS_LABELS, "V as labels, classes balanced − V as labels"),
    (CROSS_FIT_BALANCED, BALANCED, "cross-fit, refit − V as labels, classes balanced in both"),
)
TELLS = (
    "Means over settings that differ in data and base algorithm alone, taken seed by seed, with "
    "95 % t-intervals over seeds that are not corrected for their number. Least error: of V as "
    "labels, the same with classes balanced where that was run, labels alone, a refit of learned "
    "weights, and cross-fit with a refit or its ensemble. In brackets: those whose difference from "
    "it is not sure."
)


def situations_table(families: Sequence[Family]) -> Table | None:
    """Return one row a situation: the least error, and what weights and cross-fit gain.

    Args:
        families: with runs; those that are not primary, or not on features, are passed over.

    Returns:
        None without a family on features.
    """
    of: dict[str, list[Family]] = {name: [] for name in SITUATIONS}
    for family in families:
        name = setting_of(family.plan.name)
        if name in of and not family.plan.secondary:
            of[name].append(family)
    groups = {SITUATIONS[name]: mine for name, mine in of.items()}
    groups |= {FAIR: [one for name, mine in of.items() if name != BIASED for one in mine]}
    rows = tuple(
        (text, str(len(mine)), least(mine), *(_mean(mine, a, b) for a, b, _ in COLUMNS))
        for text, mine in groups.items()
        if mine
    )
    heads = ("Situation", "Settings", "Least error", *(text for _, _, text in COLUMNS))
    return Table(heads, rows, text_columns=(0, 2)) if rows else None


def least(families: Sequence[Family]) -> str:
    """Return what has the least mean error over settings, and what is not surely worse."""
    run = [m for m in CHOICES if all(family.of(m) for family in families)]
    if not run:
        return "–"
    best = min(run, key=lambda m: np.mean([_error(family, m) for family in families]))
    equal = [m for m in run if m != best and _is_equal(families, m, best)]
    also = f" ({', '.join(USE[m] for m in equal)})" if equal else ""
    return USE[best] + also


def _error(family, method):
    return np.mean(list(family.errors(method).values()))


def _is_equal(families, method, best):
    """Return whether the two have pairs, and no interval that leaves zero."""
    difference = _over(families, method, best)
    return difference is not None and not is_sure(difference)


def _over(families, method, reference):
    if len(families) == 1:
        return families[0].difference(method, reference)
    return over_settings(families, method, reference)


def _mean(families, method, reference):
    """Return a difference's mean over the settings; of a part of them it would be another one."""
    if any(family.difference(method, reference) is None for family in families):
        return difference_text(None)
    return difference_text(_over(families, method, reference))
