"""The statistics behind every number of the report, as pure functions on plain values.

The two selection rules (median of the last evaluations, best on V) are also what the training
programs write into `summary.json`, so that the rule exists once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LAST_EVALUATIONS = 20  # as FixMatch and the methods it compares with report it


@dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation (divisor n - 1) of `count` values."""

    mean: float
    std: float | None  # None for a single value: one seed has no spread
    count: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of (method - reference) over common seeds, with its two-sided t-interval."""

    mean: float
    low: float | None  # None with a single pair: no interval exists
    high: float | None
    seeds: tuple[int, ...]
    p: float | None = None  # of Student's two-sided test of no difference


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve, or the reason why it is undefined."""

    value: float | None
    reason: str = ""


def median_of_last(
    evals: Sequence[Mapping[str, Any]], count: int = LAST_EVALUATIONS, key: str = "test_error"
) -> float:
    """Return the median of `key` over the last `count` evaluations that have it.

    Args:
        evals: evaluation lines in order of "step"; a missing or null `key` is passed over.
        count: how many to take from the end, at least 1; all, if there are fewer.
        key: "test_error" or "raw_test_error", in percent.

    Returns:
        The median, in the unit of `key`; the mean of the middle two for an even number.

    Raises:
        ValueError: `count` below 1, steps out of order, or no evaluation with `key`.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}. Use 20.")
    _check_order(evals)
    values = [line[key] for line in evals if line.get(key) is not None]
    if not values:
        raise ValueError(
            f"`evals` must hold at least one evaluation with {key!r}. Received: {len(evals)} "
            "evaluations without it. Evaluate at least once before selecting."
        )
    return float(np.median(values[-count:]))


def best_on_validation(evals: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the test error at the least "validation_error"; ties go to the earliest.

    Args:
        evals: evaluation lines in order of "step".

    Returns:
        Its "test_error" in percent, or None if no evaluation has a validation error.

    Raises:
        ValueError: steps out of order.
    """
    _check_order(evals)
    candidates = [line for line in evals if line.get("validation_error") is not None]
    if not candidates:
        return None
    # `min` keeps the first of equals, which is the earliest.
    return float(min(candidates, key=lambda line: line["validation_error"])["test_error"])


def _check_order(evals: Sequence[Mapping[str, Any]]) -> None:
    steps = [line["step"] for line in evals]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(
            f"`evals` must have strictly increasing steps. Received: steps={steps}. Sort the "
            "lines and remove doubled ones."
        )


def mean_std(values: Sequence[float]) -> MeanStd:
    """Return the mean and sample standard deviation.

    Raises:
        ValueError: no values.
    """
    if len(values) == 0:
        raise ValueError("`values` must not be empty. Received: values=[]. Pass one per seed.")
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanStd(float(np.mean(values)), std, len(values))


def paired_difference(
    method: Mapping[int, float], reference: Mapping[int, float], level: float = 0.95
) -> PairedDifference | None:
    """Return Student's t-interval of the mean difference of runs that share a seed.

    mean(d) -+ t_{(1 + level) / 2, n - 1} * std(d) / sqrt(n), with d = method - reference.

    Args:
        method: value by seed; negative differences of errors favour this one.
        reference: value by seed.
        level: confidence level in (0, 1).

    Returns:
        The difference over the seeds that both have, or None if they share no seed.

    Raises:
        ValueError: `level` outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie in (0, 1). Received: level={level}. Use 0.95.")
    seeds = tuple(sorted(set(method) & set(reference)))
    if not seeds:
        return None
    differences = mean_std([method[seed] - reference[seed] for seed in seeds])
    if differences.std is None:
        return PairedDifference(differences.mean, None, None, seeds)
    from scipy import stats

    quantile = float(stats.t.ppf((1.0 + level) / 2.0, differences.count - 1))
    error = differences.std / math.sqrt(differences.count)
    half = quantile * error
    if error:
        p = float(2.0 * stats.t.sf(abs(differences.mean) / error, differences.count - 1))
    else:  # all differences are the same
        p = 0.0 if differences.mean else 1.0
    return PairedDifference(
        differences.mean, differences.mean - half, differences.mean + half, seeds, p
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that hold for all of a family of tests at once, in its order.

    Of m tests the one with the k-th least p is multiplied by m - k + 1; none falls below one
    before it, none is above 1. Those below a level are wrong, any of them, with at most that
    probability, however the tests depend on each other (Holm, Scand. J. Statist. 6, 1979).

    Args:
        p_values: of the tests, each in [0, 1].

    Raises:
        ValueError: a value outside [0, 1], or NaN.
    """
    p = np.asarray(p_values, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"`p_values` must lie in [0, 1]. Received: {list(p_values)}.")
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted.tolist()


def auroc(scores: np.ndarray, positive: np.ndarray) -> Auroc:
    """Return how well `scores` ranks the positives above the negatives; ties count one half.

    Args:
        scores: [n] float, larger = more likely positive.
        positive: [n] bool.

    Returns:
        The area in [0, 1], or the reason why there is none. Never raises on data.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if scores.size == 0:
        return Auroc(None, "no example to score")
    if positive.all() or not positive.any():
        return Auroc(None, "none is positive" if not positive.any() else "all are positive")
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        return Auroc(None, f"{bad} scores are not finite")
    if np.ptp(scores) == 0.0:
        return Auroc(None, "the score is the same for all")
    from sklearn.metrics import roc_auc_score

    return Auroc(float(roc_auc_score(positive, scores)))


def auroc_within(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> Auroc:
    """Return the mean of `auroc` within groups, by size: what scores know beyond the mean.

    Args:
        scores: [n] float; positive: [n] bool.
        groups: [n] of any kind; those in which the area is undefined are left out.
    """
    found = [
        (auroc(scores[chosen], positive[chosen]).value, chosen.sum())
        for chosen in (groups == one for one in np.unique(groups))
    ]
    known = [(area, size) for area, size in found if area is not None]
    if not known:
        return Auroc(None, "no group with positives, negatives and different scores")
    areas, sizes = zip(*known, strict=True)
    return Auroc(float(np.average(areas, weights=sizes)))


def share_between(values: np.ndarray, groups: np.ndarray) -> float | None:
    """Return the share of the variance of `values` [n] that lies between `groups` [n].

    1: all of a group have one value; 0: the groups have one mean; None: 0/0.
    """
    values = np.asarray(values, np.float64)
    if not values.size or not values.var():
        return None
    means = np.empty_like(values)
    for one in np.unique(groups):
        means[groups == one] = values[groups == one].mean()
    return float(means.var() / values.var())
