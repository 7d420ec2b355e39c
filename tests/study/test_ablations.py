"""The ablations' claims, curves and page from made-up rows: numbers by hand."""

import dataclasses
import math

import pytest
from study_rows import by_key, row

from experiments.pages.render_markdown import render_markdown
from experiments.runs.run_files import RunError
from experiments.study import ablation_claims as claims
from experiments.study.ablation_claims import (
    FAILS,
    HOLDS,
    LEVEL,
    LOWER,
    NOT_RUN,
    OPEN,
    SAME,
    UNSAID,
    Claim,
    between,
    corrected,
)
from experiments.study.ablation_curves import Curve, curve_of, read_curves
from experiments.study.ablation_families import (
    ABLATIONS,
    CELLS,
    INVERSES,
    NEUMANN,
    OPTIMIZERS,
    RECIPE_FAMILY,
    SINGLES,
    name_of,
)
from experiments.study.ablation_figures import mean_curve
from experiments.study.ablations import ablations_document
from experiments.study.families_found import families
from experiments.study.page import write_study
from experiments.study.plan import plans
from experiments.study.rows import rows_text

PLANS = [plan for plan in plans() if plan.name in ABLATIONS]
OPTIONS = {(p.name, *key): found for p in PLANS for key, found in p.options.items()}


def made(family, method, errors, **fields):
    """Return one row a seed with the plan's options; error on V as on the test set."""
    return [
        row(method, seed, error, family, options=OPTIONS[family, method, seed], **fields)
        for seed, error in enumerate(errors, 1)
    ]


def sorted_in(rows):
    found, unused = families(PLANS, by_key(rows))
    assert not unused
    return {family.plan.name: family for family in found if family.rows}


def curve(key, errors, steps=(300, 600, 900)):
    return {key: Curve(*key, OPTIONS[key], list(steps), list(errors))}


def test_methods_of_the_figures_are_run():
    methods = set(ABLATIONS[RECIPE_FAMILY]["methods"])
    grids = {name for grid in OPTIMIZERS.values() for name in grid}
    assert methods == {"fixed_1", *INVERSES, *grids, *SINGLES, *CELLS}
    assert all(len(ABLATIONS[name]["seeds"]) == 10 for name in ABLATIONS)
    table = {m: o for m, o in ABLATIONS[RECIPE_FAMILY]["methods"].items() if m in CELLS}
    middle = ABLATIONS[RECIPE_FAMILY]["options"]
    for name, options in table.items():
        whole = middle | options
        assert (whole["inner_steps"], whole["lambda_lr"]) == CELLS[name]
    assert middle["inverse_hessian"] == "exact"
    assert 0 < middle["lambda_batch"] < middle["num_unlabeled"], "batches, not all of U"


@pytest.mark.parametrize(
    ("ours", "others", "tie", "verdict"),
    [
        ((10.0, 11.0, 12.0), (12.0, 13.1, 14.0), False, HOLDS),
        ((12.0, 13.1, 14.0), (10.0, 11.0, 12.0), False, FAILS),
        ((10.0, 13.0, 12.0), (12.0, 11.0, 12.0), False, OPEN),
        ((10.0,), (20.0,), False, OPEN),
        ((10.0, 11.0, 12.0), (10.1, 11.0, 12.1), True, HOLDS),
        ((10.0, 11.0, 12.0), (12.0, 13.1, 14.0), True, FAILS),
        ((10.0, 13.0, 12.0), (12.0, 11.0, 12.0), True, OPEN),
        ((10.0, 11.0, 12.0), (12.0, 13.1, 14.0), None, "not stated; here lower"),
        ((12.0, 13.1, 14.0), (10.0, 11.0, 12.0), None, "not stated; here higher"),
        ((10.0, 13.0, 12.0), (12.0, 11.0, 12.0), None, f"not stated; {OPEN}"),
    ],
)
def test_the_interval_decides(ours, others, tie, verdict):
    mine, theirs = (
        {seed: row("m", seed, e) for seed, e in enumerate(errors, 1)} for errors in (ours, others)
    )
    expected = {None: UNSAID, True: SAME, False: LOWER}[tie]
    assert Claim("", between(mine, theirs, "test_error"), expected).verdict == verdict


def test_all_claims_of_a_page_are_corrected_together():
    def claim(seconds, said=LOWER):
        runs = [{s: row("m", s, e) for s, e in enumerate(x, 1)} for x in ((1.0, 2.0, 3.0), seconds)]
        return Claim("", between(*runs, "test_error"), said)

    alone = claim((2.0, 3.6, 4.0))
    assert alone.verdict == HOLDS and alone.difference.p < LEVEL
    tie, none = claim((1.1, 2.0, 3.1), SAME), Claim("", None)
    (first, *rest), (last,) = corrected([[alone, tie, none], [claim((0.0, 9.0, 3.0))]])
    assert rest == [tie, none], "no test of a difference"
    assert first.p == pytest.approx(2 * alone.difference.p) and first.p > LEVEL
    assert first.verdict == OPEN and last.p == pytest.approx(last.difference.p)


def test_nothing_is_said_without_a_pair():
    assert Claim("", None).verdict == NOT_RUN
    one, other = ({1: row("m", 1, 3.0, source=name)} for name in ("a", "b"))
    assert between(one, other, "test_error") is None, "of two sources"
    assert between({1: row("m", 1, 3.0)}, {2: row("m", 2, 3.0)}, "test_error") is None
    assert claims.hessian_claims({}, {}) == claims.single_claims({}) == []


def test_differences_by_hand():
    rows = [
        *made(RECIPE_FAMILY, "per_example", (40.0, 42.0, 41.0)),
        *made(RECIPE_FAMILY, NEUMANN, (43.0, 44.0, 45.0)),
    ]
    curves = {}
    for method, start in (("per_example", 50.0), (NEUMANN, 52.0)):
        for seed in (1, 2, 3):
            errors = 77.0, start + seed, 60.0  # the first before any Lambda-step
            curves |= curve((RECIPE_FAMILY, method, seed), errors, (90, 300, 600))
    rows = [dataclasses.replace(one, steps=1200) for one in rows]
    found = {c.words: c for c in claims.hessian_claims(sorted_in(rows), curves)}
    early = found[f"V, first 25% of the training after warm-up: exact − {INVERSES[NEUMANN]}"]
    assert (early.difference.mean, early.verdict) == (-2.0, FAILS)
    late = found[f"test set: exact − {INVERSES[NEUMANN]}"].difference
    # Differences -3, -2, -4: mean -3, deviation 1, t of two degrees 4.3027.
    assert late.mean == pytest.approx(-3.0)
    assert late.high == pytest.approx(-3.0 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert found[f"V: exact − {INVERSES['inverse_identity']}"].verdict == NOT_RUN


def test_each_seeds_step_size_is_chosen_on_v():
    errors = {"sgd_1": ((50.0, 40.0), (30.0, 30.0)), "sgd_10": ((45.0, 44.0), (35.0, 20.0)),
              "sgd_100": ((60.0, 60.0), (10.0, 10.0))}  # fmt: skip
    rows = []
    for method, (on_v, on_test) in errors.items():
        for one, error in zip(made(RECIPE_FAMILY, method, on_test), on_v, strict=True):
            rows.append(dataclasses.replace(one, validation_error=error))
    found = claims.tuned(sorted_in(rows)[RECIPE_FAMILY], "SGD")
    assert {s: (r.method, r.test_error) for s, r in found.items()} == {
        1: ("sgd_10", 35.0), 2: ("sgd_1", 30.0),
    }  # fmt: skip
    assert not claims.tuned(sorted_in(rows[:-1])[RECIPE_FAMILY], "SGD").get(2), "part of a grid"


def test_sizes_of_v_are_compared_step_by_step():
    rows = [
        one
        for size, errors in ((10, (50.0, 51.0)), (30, (45.0, 46.1)), (1000, (40.0, 41.1)))
        for one in made(name_of(40, size), "per_example", errors, split=f"of {size}")
    ]
    found = {c.words: c.verdict for c in claims.size_claims(sorted_in(rows))}
    assert found["40 labels: |V| = 30 − |V| = 10"] == HOLDS, "another V, another split: a pair"
    assert found["40 labels: |V| = 1,000 − |V| = 10"] == HOLDS
    assert found["40 labels: |V| = 100 − |V| = 30"] == NOT_RUN
    assert not any(words.startswith("250") for words in found)


def test_curves_are_read_as_written(tmp_path):
    key = (RECIPE_FAMILY, "sgd_1", 2)
    curves = curve(key, (50.0, 40.25, 30.5)) | curve((RECIPE_FAMILY, "eta_3", 1), (1.0,), (5,))
    path = tmp_path / "curves.csv"
    path.write_text(rows_text(curves.values(), Curve))
    assert read_curves(path) == curves
    assert read_curves(tmp_path / "none.csv") == {}
    path.write_text(rows_text(curves.values(), Curve) + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(RunError, match=r"line 4: .*sgd_1/2 stands there twice"):
        read_curves(path)
    path.write_text(rows_text(curves.values(), Curve).replace("600", "100"))
    with pytest.raises(RunError, match=r"sgd_1/2: `steps` must be increasing.*Delete the line"):
        read_curves(path)


def test_a_curve_is_what_was_measured_on_v():
    evals = ({"step": 5, "validation_error": 50.12346}, {"step": 9, "validation_error": None})
    run, key = type("Run", (), {"evals": evals}), (RECIPE_FAMILY, "sgd_1", 2)
    assert curve_of(run, key, "hash") == Curve(*key, "hash", [5], [50.1235])
    assert curve_of(type("Run", (), {"evals": evals[1:]}), key, "hash") is None


def test_the_mean_curve_is_over_common_steps():
    one = Curve("f", "m", 1, "", [1, 2, 3], [10.0, 20.0, 30.0])
    other = Curve("f", "m", 2, "", [2, 3], [40.0, 60.0])
    steps, errors = mean_curve([one, other])
    assert (list(steps), list(errors)) == ([2, 3], [30.0, 45.0])
    assert not len(mean_curve([])[0])


def test_the_page_is_made_from_the_records_alone(tmp_path):
    rows = [
        *made(RECIPE_FAMILY, "per_example", (40.0, 42.0)),
        *made(RECIPE_FAMILY, "inverse_identity", (43.0, 45.1)),
        *made(RECIPE_FAMILY, "fixed_1", (46.0, 47.0)),
        *made(RECIPE_FAMILY, "eta_3", (39.0, 40.9)),
        *made(name_of(250, 10), "per_example", (30.0, 30.0)),
    ]
    curves = curve((RECIPE_FAMILY, "per_example", 1), (50.0, 45.0, 40.0))
    write_study(PLANS, by_key(rows), tmp_path, curves)
    text = (tmp_path / "ablations.md").read_text().replace("\\", "")
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    said = {line[0]: line[1:] for line in lines if line}
    exact = "test set: exact − identity (Luketina et al.)"
    # p of two seeds: 0.0105; Holm's factor is 3 of the page's tests, or less.
    assert said[exact][:2] == ["−3.05", "[−3.69, −2.41]"] and said[exact][3:] == ["2", HOLDS]
    assert 0.0105 < float(said[exact][2]) < 0.05
    assert said["V: (10, 0.3) − (10, 3)"][-1] in (FAILS, OPEN)
    assert "41.00 ± 1.41" in said["(10, 0.3)"][0]
    assert "(ablations.md)" in (tmp_path / "README.md").read_text()
    names = ("ablation-inverse-hessian", "ablation-tuning")
    for name in names:
        assert f"figures/{name}.png" in text
        assert (tmp_path / f"figures/{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert read_curves(tmp_path / "ablation_curves.csv") == curves
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    write_study(PLANS, by_key(rows), tmp_path, read_curves(tmp_path / "ablation_curves.csv"))
    assert before == {path: path.read_bytes() for path in before}


def test_no_page_without_a_run():
    assert ablations_document({}, {}) is None
    rows = made(name_of(40, 10), "per_example", (40.0,))
    assert "Not run." in render_markdown(ablations_document(sorted_in(rows), {}), "figures")
