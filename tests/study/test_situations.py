"""What to use in which situation: means over settings, by hand."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from study_rows import by_key, plan, row

from experiments.study.families import STUDY
from experiments.study.families_found import families
from experiments.study.feature_families import SETTINGS, is_of_features, setting_of
from experiments.study.situations import FAIR, SITUATIONS, least, situations_table

METHODS = (
    "fixed_1", "v_as_labels", "per_example", "per_example_refit", "cross_fit_refit",
    "v_as_labels_balanced",
)  # fmt: skip


def some(name, errors):
    """A family whose methods have these errors, a list over seeds."""
    rows = [row(m, s + 1, e, name) for m, found in errors.items() for s, e in enumerate(found)]
    return families([plan(name, METHODS)], by_key(rows))[0][0]


def two(suffix="clean"):
    """Two settings of one situation."""
    a = {
        "v_as_labels": [40, 42, 44], "per_example_refit": [39, 42, 42],
        "cross_fit_refit": [38, 40, 41.5],
    }  # fmt: skip
    b = {
        "v_as_labels": [20, 21, 23], "per_example_refit": [22, 23, 24],
        "cross_fit_refit": [19, 19, 22],
    }  # fmt: skip
    return [some(f"features_a_{suffix}", a), some(f"features_b_{suffix}", b)]


def test_every_primary_setting_of_the_study_is_in_a_situation():
    of = {n: setting_of(n) for n, one in STUDY.items() if not one.get("secondary")}
    assert {n for n, found in of.items() if found} == {n for n in of if is_of_features(n)}
    assert set(of.values()) - {""} == set(SITUATIONS) == set(SETTINGS)
    assert of["features_cifar10_pseudo_label_labeled_imbalance"] == "labeled_imbalance"
    assert of["features_cifar10_pseudo_label_imbalanced"] == "imbalanced"


def test_a_mean_over_settings_is_taken_seed_by_seed():
    table = situations_table(two())
    by_head = dict(zip(table.columns, table.rows[0], strict=True))
    # Seeds 1, 2, 3: the mean of the two settings' differences.
    d = np.array([(-2 - 1) / 2, (-2 - 2) / 2, (-2.5 - 1) / 2])
    reach = stats.t.ppf(0.975, 2) * d.std(ddof=1) / np.sqrt(3)
    low, high = d.mean() - reach, d.mean() + reach
    text = f"{d.mean():.2f} [{low:.2f}, {high:.2f}] (3)".replace("-", "−")
    assert by_head["cross-fit, refit − V as labels"] == text
    assert by_head["Situation"] == SITUATIONS["clean"] and by_head["Settings"] == "2"
    assert by_head["Λ learned − λ = 1"] == "–"  # not run
    assert table.rows[-1][:2] == (FAIR, "2")


def test_the_least_error_is_named_with_what_is_not_surely_worse():
    found = two()
    # A refit is worse by 1, 3, 0.5 and 3, 4, 2: 2.0, 3.5, 1.25, an interval that holds zero.
    assert least(found) == "cross-fit, then a refit (weights, then a refit)"
    assert least(found[:1]) == "cross-fit, then a refit (weights, then a refit)"
    assert least([some("features_a_clean", {"fixed_1": [1, 2, 3]})]) == "–"


def test_what_was_run_in_a_part_of_the_settings_is_no_mean():
    a, b = two()
    more = some(
        "features_b_clean",
        {m: [r.test_error for r in b.of(m).values()] for m in b.methods()}
        | {"v_as_labels_balanced": [1, 1, 1]},
    )
    table = situations_table([a, more])
    assert dict(zip(table.columns, table.rows[0], strict=True))[
        "V as labels, classes balanced − V as labels"
    ] == "–"  # fmt: skip
    assert "balanced" not in least([a, more])


def test_only_primary_families_on_features_count():
    other = some("fashion_mnist_v160", {"fixed_1": [1, 2, 3]})
    assert situations_table([other]) is None
    a, b = two()
    secondary = dataclasses.replace(b, plan=dataclasses.replace(b.plan, secondary=True))
    assert situations_table([a, secondary]).rows[0][1] == "1"
    biased = two("labeled_imbalance")
    table = situations_table([*two(), *biased])
    assert [line[1] for line in table.rows] == ["2", "2", "2"]  # the last: all but D biased


@pytest.mark.parametrize("name", ["features_ablation_l40_v10", "fashion_mnist_clean"])
def test_other_families_have_no_setting(name):
    assert setting_of(name) == ""
