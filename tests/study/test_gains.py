"""What predicts a gain, and the rule that tells a user what to do, on made-up rows."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from study_rows import WEIGHTS, by_key, plan, row

from experiments.pages.render_markdown import render_markdown
from experiments.study import gains
from experiments.study.advice import USE, advice
from experiments.study.agreement import FILE, Agreement, record
from experiments.study.deep_families import DEEP
from experiments.study.families_found import (
    BALANCED,
    BASE,
    CROSS_FIT_REFIT,
    LABELS_ALONE,
    LEARNED,
    REFIT,
    V_AS_LABELS,
    families,
)
from experiments.study.page import study_documents, write_study

METHODS = (
    "fixed_1", "v_as_labels", "per_example", "per_example_refit", "cross_fit_refit", "oracle",
    "supervised", "supervised_v_as_labels", "v_as_labels_balanced",
)  # fmt: skip
NOISE = (-0.1, 0.0, 0.1)


def setting(name="features_a", val_size=40, moved=0.9, **means):
    """A plan and its rows: each method's mean error, with noise that leaves no interval wide."""
    of = {"per_example": WEIGHTS | {"moved": moved}}
    rows = [
        row(method, seed, mean + NOISE[seed - 1] * (1 + k / 10), name, **of.get(method, {}))
        for k, (method, mean) in enumerate(means.items())
        for seed in (1, 2, 3)
    ]
    return plan(name, METHODS, val_size=val_size), rows


def family(**means):
    one, rows = setting(**means)
    return families([one], by_key(rows))[0][0]


@pytest.mark.parametrize(
    ("means", "use"),
    [
        ({"fixed_1": 50, "v_as_labels": 46, "per_example": 48, "per_example_refit": 44,
          "cross_fit_refit": 43}, USE[CROSS_FIT_REFIT]),
        ({"fixed_1": 50, "v_as_labels": 46, "per_example": 48, "per_example_refit": 42,
          "cross_fit_refit": 43}, USE[REFIT]),
        ({"fixed_1": 50, "v_as_labels": 46, "per_example": 41, "per_example_refit": 42,
          "cross_fit_refit": 43}, USE[LEARNED]),
        ({"fixed_1": 50, "v_as_labels": 46, "per_example": 48, "per_example_refit": 46,
          "cross_fit_refit": 47}, USE[V_AS_LABELS]),
        ({"fixed_1": 50, "v_as_labels": 50, "per_example": 48, "per_example_refit": 50},
         USE[LEARNED]),
        ({"fixed_1": 50, "per_example": 48}, USE[LEARNED]),
        ({"fixed_1": 50, "v_as_labels": 50, "per_example": 51}, USE[BASE]),
        ({"fixed_1": 50, "v_as_labels": 46}, USE[V_AS_LABELS]),
        # What else trains on V's labels must be beaten, too.
        ({"fixed_1": 50, "v_as_labels": 46, "per_example_refit": 44, "v_as_labels_balanced": 40},
         USE[BALANCED]),
        ({"fixed_1": 50, "v_as_labels": 46, "per_example_refit": 38, "v_as_labels_balanced": 40},
         USE[REFIT]),
        ({"fixed_1": 50, "v_as_labels": 46, "per_example_refit": 44,
          "supervised_v_as_labels": 43}, USE[LABELS_ALONE]),
        ({"fixed_1": 50, "supervised": 48, "per_example": 51}, USE["supervised"]),
    ],
)  # fmt: skip
def test_the_rule_names_what_the_intervals_say(means, use):
    found = family(**means)
    what, difference, of = advice(found)
    if use == USE[LEARNED] and means.get("v_as_labels") == 50:
        # Better than both: it is V as labels that it is told against.
        assert of == "Λ per example − base, V as labels"
    assert what == use
    assert (difference is None) == (use == USE[BASE])


def test_a_difference_whose_interval_holds_zero_decides_nothing():
    one, rows = setting(fixed_1=50, v_as_labels=49.9)
    rows = [
        dataclasses.replace(r, test_error=r.test_error + 8 * r.seed)
        if r.method == "v_as_labels"
        else r
        for r in rows
    ]
    found = families([one], by_key(rows))[0][0]
    assert advice(found)[0] == USE[BASE]
    one_seed = [r for r in setting(fixed_1=50, v_as_labels=40)[1] if r.seed == 1]
    assert advice(families([one], by_key(one_seed))[0][0])[0] == USE[BASE]


def eight():
    """Eight settings whose gain follows coverage, and falls against |V|."""
    made = [
        setting(
            f"features_{k}", 10 * (k + 1), 0.5 + 0.05 * k, fixed_1=50, v_as_labels=45,
            per_example=49 - k, per_example_refit=45 + (k * 2) % 5, oracle=40 - k % 3,
        )
        for k in range(8)
    ]  # fmt: skip
    lines = [
        Agreement(f"features_{k}", "per_example_refit", seed, 100, 0.1 * k + 0.01 * seed, 0, 1, "c")
        for k in range(8)
        for seed in (1, 2)
    ]
    rows = by_key([r for _, found in made for r in found])
    return [one for one, _ in made], rows, {one.key: one for one in lines}


def test_settings_have_their_predictors():
    plans, rows, agreements = eight()
    other = Agreement("features_2", "cross_fit_refit", 1, 100, -1.0, -1, 1, "c")
    found = gains.settings(families(plans, rows)[0], agreements | {other.key: other})
    two = found[2]
    assert two.agreement == pytest.approx(0.215) and two.validation == 30
    assert two.oracle == pytest.approx(-12.0) and two.coverage == pytest.approx(0.6)
    bare = gains.settings(families(plans, rows)[0], {})
    assert [one.agreement for one in bare] == [None] * 8
    secondary = [dataclasses.replace(one, secondary=True) for one in plans]
    assert gains.settings(families(secondary, rows)[0], agreements) == []


def test_ablations_and_the_influences_of_whole_nets_are_settings_too():
    ablation, rows = setting("features_ablation_l40_v10", fixed_1=50, per_example=48)
    methods = ("last_layer", "whole_cg", "whole_cg_shuffled")
    deep = plan(DEEP, (*methods, "fixed_1"), secondary=True)
    means = {"fixed_1": 40.0} | {m: 39.0 - k for k, m in enumerate(methods)}
    rows += [row(m, s, e + NOISE[s - 1], DEEP) for m, e in means.items() for s in (1, 2, 3)]
    lines = [Agreement(DEEP, m, 1, 100, 0.2 + 0.3 * k, 0, 1, "c") for k, m in enumerate(methods)]
    plans = [dataclasses.replace(ablation, secondary=True), deep]
    found = gains.settings(families(plans, by_key(rows))[0], {one.key: one for one in lines})
    assert [one.learned for one in found] == ["per_example", "last_layer", "whole_cg"]
    assert [one.agreement for one in found] == [None, 0.2, 0.5]
    expected = [-2.0, -1.0, -2.0]
    of = [one.gain("per_example", "fixed_1").mean for one in found]
    np.testing.assert_allclose(of, expected, atol=1e-6)
    page = study_documents(plans, by_key(rows))["gains.md"]
    assert "Named of 0 settings" in render_markdown(page), "neither is a user's"


def test_correlations_are_scipys_over_settings():
    plans, rows, agreements = eight()
    found = gains.settings(families(plans, rows)[0], agreements)
    assert gains.correlation_text(gains.pairs(found, "coverage", "per_example", "fixed_1")) == (
        "ρ = −1.00 [−1.00, −1.00], n = 8"
    )
    points = gains.pairs(found, "agreement", "per_example_refit", "v_as_labels")
    x, y = np.array([(x, gain.mean) for x, gain in points]).T
    assert f"ρ = {stats.spearmanr(x, y).statistic:+.2f} [" in gains.correlation_text(
        points
    ).replace("−", "-")
    assert gains.correlation_text(points[:7]) == "no ρ, n = 7"
    alike = [(1.0 - 1e-3 * k, gain) for k, (_, gain) in enumerate(points)]
    assert gains.correlation_text(alike) == "no ρ, n = 8", "a spread of 0.7 % is noise"
    assert gains.correlation_text([]) == "no ρ, n = 0"


def test_the_page_has_the_figure_and_the_table_once_there_are_rows(tmp_path):
    plans, rows, agreements = eight()
    record(tmp_path / FILE, agreements.values())
    write_study(plans, rows, tmp_path)
    front, text = ((tmp_path / name).read_text() for name in ("README.md", gains.PAGE))
    assert "## What predicts a gain?" in front and (tmp_path / "figures" / "gains.png").exists()
    assert "Named of 8 settings" in front and "Named of 8 settings" in text and "n = 8" in text
    assert (tmp_path / FILE).exists()
    nothing = study_documents(plans, {})
    assert gains.PAGE not in nothing
    assert "What predicts" not in render_markdown(nothing["README.md"], "figures")


def test_agreement_enters_by_the_record_alone(tmp_path):
    plans, rows, _ = eight()
    write_study(plans, rows, tmp_path)
    assert "| not measured |" in (tmp_path / gains.PAGE).read_text()
