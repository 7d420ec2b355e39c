"""What a user of a setting should do: weights, cross-fit, or V as labels. A rule on intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from experiments.pages.document import Table
from experiments.pages.statistics import PairedDifference
from experiments.pages.wording import plural
from experiments.study.families_found import (
    BALANCED,
    BASE,
    CROSS_FIT_BALANCED,
    CROSS_FIT_REFIT,
    ENSEMBLE,
    LABELS_ALONE,
    LEARNED,
    REFIT,
    REFIT_BALANCED,
    V_AS_LABELS,
    Family,
    label,
)
from experiments.study.tables import difference_text, is_sure

GAINS = (
    (LEARNED, BASE, "Λ learned − λ = 1"),
    (REFIT, V_AS_LABELS, "Λ learned, refit − V as labels"),
    (CROSS_FIT_REFIT, V_AS_LABELS, "cross-fit, refit − V as labels"),
    (ENSEMBLE, V_AS_LABELS, "cross-fit, ensemble − V as labels"),
)
# What a user can do, in words.
USE = {
    LEARNED: "weights",
    REFIT: "weights, then a refit",
    CROSS_FIT_REFIT: "cross-fit, then a refit",
    ENSEMBLE: "cross-fit, its ensemble",
    V_AS_LABELS: "V as labels",
    BALANCED: "V as labels, classes balanced",
    REFIT_BALANCED: "weights, then a refit, classes balanced",
    CROSS_FIT_BALANCED: "cross-fit, then a refit, classes balanced",
    LABELS_ALONE: "labels alone, V's too",
    BASE: "the base alone",
    "supervised": "labels alone",
}
_WITH_V = (V_AS_LABELS, BALANCED, LABELS_ALONE)  # what weights must beat: V's labels are trained on
_WEIGHTS = (REFIT, CROSS_FIT_REFIT, ENSEMBLE, REFIT_BALANCED, CROSS_FIT_BALANCED, LEARNED)
RULE = (
    "A rule in code reads the 95 % intervals of each setting, every one paired by seed, and not "
    "corrected for their number. Of what trains on V's labels without weights (V as labels, with "
    "classes balanced where that was run, labels alone) the one with the least mean error is named "
    "if its interval against λ = 1 lies below zero; labels alone without V's likewise; else λ = 1. "
    "Weights are named in its place if their interval against each of those that were run lies "
    "below zero: of a refit, cross-fit with a refit or its ensemble, and learned weights the best. "
    "The ensemble was set beside the others after its errors had been seen."
)


def advice(family: Family) -> tuple[str, PairedDifference | None, str]:
    """Return (what a user of this setting should do, the difference that says so, of what).

    The rule is `RULE`.
    """
    plain = [m for m in _WITH_V if family.of(m)]
    rival = _best(family, plain or [BASE])
    weights = [
        m
        for m in _WEIGHTS
        if all(_is_better(family.difference(m, other)) for other in plain or [BASE])
    ]
    if weights:
        use, reference = _best(family, weights), rival
    else:
        better = [m for m in (*plain, "supervised") if _is_better(family.difference(m, BASE))]
        use, reference = _best(family, better or [BASE]), BASE
    if use == BASE:
        return USE[use], None, ""
    return USE[use], family.difference(use, reference), f"{label(use)} − {label(reference)}"


def _best(family, methods):
    """Return the method with the least mean error."""
    return min(methods, key=lambda method: np.mean(list(family.errors(method).values())))


def _is_better(difference):
    return difference is not None and is_sure(difference) and difference.mean < 0


def advice_table(families: Sequence[Family]) -> Table:
    """Return one row a setting: what to do, why, and the gains."""
    rows = []
    for family in families:
        what, difference, of = advice(family)
        why = (
            f"{of}: {difference_text(difference)}" if difference else "no such interval below zero"
        )
        gains = (difference_text(family.difference(a, b)) for a, b, _ in GAINS)
        rows.append((family.title, what, why, *gains))
    heads = ("Setting", "Use", "Because", *(text for _, _, text in GAINS))
    return Table(heads, tuple(rows), text_columns=(0, 1, 2))


def summary(families: Sequence[Family]) -> str:
    """Return in a sentence how often each way was named, and how often weights were compared."""
    counts = Counter(advice(family)[0] for family in families)
    named = ", ".join(f"{what} in {n}" for what, n in counts.most_common())
    refits, crossed = (
        sum(family.difference(method, V_AS_LABELS) is not None for family in families)
        for method in (REFIT, CROSS_FIT_REFIT)
    )
    return (
        f"Named of {plural(len(families), 'setting')}: {named}. A refit of learned weights was "
        f"compared with V as labels in {refits} of them, a refit after cross-fit in {crossed}. The "
        "intervals are not corrected for their number."
    )
