"""The report's statistics against numbers worked by hand and against SciPy and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting_runs import evaluation
from scipy import stats

from experiments.pages.statistics import (
    auroc,
    auroc_within,
    best_on_validation,
    mean_std,
    median_of_last,
    paired_difference,
    share_between,
)
from experiments.report.curves import common_edges, mean_curve, rebin


def lines(errors, validations=None):
    validations = validations or errors
    pairs = zip(errors, validations, strict=True)
    return [evaluation(step, error, v) for step, (error, v) in enumerate(pairs)]


def test_mean_and_sample_deviation_by_hand():
    spread = mean_std([1.0, 2.0, 3.0, 4.0])
    assert (spread.mean, spread.count) == (2.5, 4)
    assert spread.std == pytest.approx(math.sqrt(5.0 / 3.0))


def test_one_value_has_no_deviation():
    assert mean_std([7.0]).std is None


def test_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"`values` must not be empty\. Received: values=\[\]"):
        mean_std([])


def test_median_takes_the_last_twenty_only():
    # 1..25: the last twenty are 6..25, their median 15.5.
    assert median_of_last(lines([float(k) for k in range(1, 26)])) == 15.5


def test_median_of_fewer_and_of_other_keys():
    assert median_of_last(lines([9.0, 1.0, 5.0])) == 5.0
    assert median_of_last(lines([9.0, 1.0, 5.0]), count=2) == 3.0
    assert median_of_last(lines([9.0, 1.0, 5.0]), key="raw_test_error") == 6.0


def test_median_passes_over_missing_values():
    evals = [*lines([4.0, 8.0]), {"step": 9, "test_error": None}, {"step": 10}]
    assert median_of_last(evals, count=1) == 8.0


@pytest.mark.parametrize("count", [0, -1])
def test_median_refuses_a_count_below_one(count):
    with pytest.raises(ValueError, match=rf"`count` must be at least 1\. Received: count={count}"):
        median_of_last(lines([1.0]), count=count)


def test_median_without_evaluations_is_refused():
    with pytest.raises(ValueError, match=r"`evals` must hold at least one evaluation with 'x'"):
        median_of_last(lines([1.0]), key="x")


@pytest.mark.parametrize("rule", [median_of_last, best_on_validation])
@pytest.mark.parametrize("steps", [(2, 1), (1, 1)])
def test_steps_out_of_order_are_refused(rule, steps):
    with pytest.raises(ValueError, match=r"`evals` must have strictly increasing steps\. Received"):
        rule([evaluation(step, 1.0) for step in steps])


def test_best_on_validation_takes_the_earliest_of_ties():
    assert best_on_validation(lines([30.0, 20.0, 10.0], [5.0, 3.0, 3.0])) == 20.0


def test_best_on_validation_without_validation_is_none():
    assert best_on_validation([{"step": 1, "test_error": 3.0, "validation_error": None}]) is None
    assert best_on_validation([]) is None


def test_paired_difference_by_hand():
    # d = -2, -1, -3: mean -2, deviation 1; t(0.975, 2) = 4.302653; half = 4.302653 / sqrt(3).
    found = paired_difference({1: 10, 2: 12, 3: 11, 9: 0}, {1: 12, 2: 13, 3: 14, 4: 9})
    assert found.seeds == (1, 2, 3)
    assert found.mean == pytest.approx(-2.0)
    assert found.low == pytest.approx(-2.0 - 2.484138, abs=1e-5)
    assert found.high == pytest.approx(-2.0 + 2.484138, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 100)] * 2), min_size=2, max_size=8), st.floats(0.5, 0.99))
def test_interval_is_the_one_of_scipy(pairs, level):
    method, reference = (dict(enumerate(values)) for values in zip(*pairs, strict=True))
    found = paired_difference(method, reference, level)
    differences = np.array([a - b for a, b in pairs])
    if np.std(differences) < 1e-6:
        assert found.high - found.low < 1e-3
        return
    oracle = stats.ttest_1samp(differences, 0.0).confidence_interval(level)
    np.testing.assert_allclose([found.low, found.high], oracle, rtol=1e-9, atol=1e-9)


def test_one_pair_has_a_difference_but_no_interval():
    found = paired_difference({1: 10.0}, {1: 12.5})
    assert (found.mean, found.low, found.high) == (-2.5, None, None)


def test_no_common_seed_has_no_difference():
    assert paired_difference({1: 10.0}, {2: 12.0}) is None


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_level_outside_is_refused(level):
    with pytest.raises(
        ValueError, match=rf"`level` must lie in \(0, 1\)\. Received: level={level}"
    ):
        paired_difference({1: 1.0}, {1: 1.0}, level)


def test_auroc_by_hand():
    # Of the four pairs (positive, negative), three are in the right order.
    assert auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).value == 0.75
    # One pair tied (one half), one right.
    assert auroc(np.array([1.0, 0.0, 1.0]), np.array([1, 0, 0])).value == 0.75


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12))
def test_auroc_is_the_share_of_ordered_pairs(rows):
    scores, positive = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = auroc(scores, positive)
    if positive.all() or not positive.any() or np.ptp(scores) == 0:
        assert found.value is None and found.reason
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert found.value == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    ("scores", "positive", "reason"),
    [
        ([], [], "no example to score"),
        ([1.0, 2.0], [0, 0], "none is positive"),
        ([1.0, 2.0], [1, 1], "all are positive"),
        ([1.0, 1.0], [0, 1], "the score is the same for all"),
        ([1.0, math.nan], [0, 1], "1 scores are not finite"),
    ],
)
def test_auroc_says_why_it_is_undefined(scores, positive, reason):
    found = auroc(np.array(scores), np.array(positive))
    assert (found.value, found.reason) == (None, reason)


def test_rebin_by_hand():
    # Bin [0, 2] with 2 of 4 examples spreads evenly over [0, 1] and [1, 2].
    shares = rebin([0.0, 2.0, 3.0], [2, 2], np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5])


def test_rebin_with_equal_edges_only_normalises():
    np.testing.assert_allclose(rebin([0, 1, 2], [1, 3], np.array([0.0, 1.0, 2.0])), [0.25, 0.75])


def test_rebin_keeps_everything_on_a_wider_range():
    edges = common_edges([[0.0, 1.0], [0.5, 3.0]])
    assert (edges[0], edges[-1]) == (0.0, 3.0)
    assert rebin([0.5, 3.0], [7], edges).sum() == pytest.approx(1.0)


def test_mean_curve_uses_the_steps_that_all_runs_have():
    runs = [[evaluation(0, 8.0), evaluation(5, 4.0)], [evaluation(0, 6.0), evaluation(7, 1.0)]]
    steps, means = mean_curve(runs)
    assert steps.tolist() == [0] and means.tolist() == [7.0]


def test_auroc_within_groups_by_hand():
    groups = np.array(["a"] * 4 + ["b"] * 2 + ["c"] * 3)
    scores = np.array([0.1, 0.4, 0.35, 0.8, 5.0, 6.0, 9.0, 9.5, 9.9])
    positive = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0], bool)  # c has no positive
    found = auroc_within(scores, positive, groups)
    assert found.value == pytest.approx((0.75 * 4 + 0.0 * 2) / 6)
    assert auroc_within(scores[6:], positive[6:], groups[6:]).value is None
    levels = np.where(groups == "a", 1.0, 0.0)
    assert auroc_within(levels, positive, groups).value is None, "one value a group"


def test_share_between_groups_is_eta_squared():
    values, groups = np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 1, 1])
    assert share_between(values, groups) == pytest.approx(4.0 / 5.0)
    assert share_between(np.array([1.0, 1.0, 2.0, 2.0]), groups) == 1.0
    assert share_between(np.array([1.0, 3.0, 1.0, 3.0]), groups) == 0.0
    assert share_between(np.ones(4), groups) is None
    assert share_between(np.ones(0), np.ones(0)) is None
