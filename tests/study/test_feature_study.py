"""The study on frozen features: two rows of one run, Holm's correction, the headline, the time."""

import numpy as np
import pytest
import reporting_runs as made
import runs
from scipy import stats
from study_rows import OPTIONS, by_key, plan, row

from experiments import make_study, run_study
from experiments.options.config import options_as_json
from experiments.pages.render_markdown import render_markdown
from experiments.pages.statistics import holm, paired_difference
from experiments.pages.wording import p_text
from experiments.runs.lock import InUseError
from experiments.runs.record import read_run
from experiments.study import headline_picture
from experiments.study.ablation_families import ABLATIONS
from experiments.study.families import STUDY
from experiments.study.families_found import HEADLINE, families
from experiments.study.feature_families import (
    CPU_HOURS,
    FEATURE_STUDY,
    assumed_seconds,
    is_of_features,
)
from experiments.study.headline import (
    claims_of,
    controls_table,
    headline_pages,
    headline_table,
    over_settings,
)
from experiments.study.page import study_documents
from experiments.study.plan import chosen, is_recorded, key_of, plan_of, rows_asked
from experiments.study.rows import method_before, read_rows, row_of
from experiments.study.tables import difference_text

FAMILY = "features_cifar10_pseudo_label_clean"
METHODS = (
    "supervised", "fixed_1", "v_as_labels", "v_as_labels_balanced", "per_example", "shuffled",
    "per_example_refit", "cross_fit_refit", "cross_fit_refit_shuffled",
)  # fmt: skip
SEEDS = tuple(range(1, 11))


def test_holm_by_hand():
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which may not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.02]) == [0.02] and holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"`p_values` must lie in \[0, 1\]"):
        holm([0.1, float("nan")])


def test_holm_rejects_what_its_step_down_procedure_rejects():
    """The procedure as its paper has it: test the least p at level / m, the next at /(m - 1)..."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.uniform(size=rng.integers(1, 12)) ** 3
        rejected = set()
        for k, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (len(p) - k):
                break
            rejected.add(place)
        assert {k for k, one in enumerate(holm(p)) if one <= 0.05} == rejected


def test_the_p_value_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 10))
    found = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_difference({1: 1.0, 2: 2.0}, {1: 0.0, 2: 1.0}).p == 0.0
    assert paired_difference({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0}).p == 1.0
    assert paired_difference({1: 1.0}, {1: 2.0}).p is None
    assert [p_text(p) for p in (1e-9, 0.0312, 0.21, 1.0)] == ["<0.001", "0.031", "0.21", "1"]


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("per_example_refit", "per_example"), ("shuffled_refit", "shuffled"),
        ("cross_fit_refit", "cross_fit_v_as_labels"), ("fixed_1", ""),
        ("cross_fit_refit_shuffled", "cross_fit_v_as_labels_shuffled"),
    ],
)  # fmt: skip
def test_what_stood_before_a_refit_is_a_row_of_its_own(method, before):
    assert method_before(method) == before
    (config, *_) = chosen(FAMILY, "r", "", f"*/{method}")
    asked = rows_asked(config)
    assert [key[1] for key in asked] == [*([before] if before else []), method]
    options = [*asked.values()]
    assert {key[1:]: one for key, one in asked.items()}.items() <= plan_of(FAMILY).options.items()
    rows = by_key(row(key[1], 1, 30.0, FAMILY, options=one) for key, one in asked.items())
    assert is_recorded(config, rows)
    if before:
        assert len(set(options)) == 2
        del rows[FAMILY, before, 1]
        assert not is_recorded(config, rows), "one row of two is not the run"


def write_refit(tmp_path, **flags):
    """Write a run of which the evaluations before and after the refit are known."""
    (config, *_) = chosen(FAMILY, "x", "", "*/per_example_refit")
    learning = [
        made.evaluation(step, error) | {"kind": "eval_before_refit"}
        for step, error in ((8, 50.0), (16, 40.0), (24, 36.0))
    ]
    before = {
        "method": "Pseudo-Label + Λ", "split_hash": "f" * 16, "num_labeled": 40,
        "validation_as_labels": False, "test_error_median20": 40.0, "test_error_last": 36.0,
        "raw_test_error_last": 36.0,
    }  # fmt: skip
    options = options_as_json(config) | flags
    folder = made.write_run(
        tmp_path, f"study/{FAMILY}/per_example_refit/seed_1", algorithm="pseudo_label",
        weighting="per_example", lambdas=learning, dataset="cifar10", config={"config": options},
        evals=[made.evaluation(s, e) for s, e in ((32, 45.0), (40, 35.0), (48, 33.0))],
        summary={"before_refit": before},
    )  # fmt: skip
    return config, folder


def test_one_folder_gives_two_rows_that_are_the_plan_s(tmp_path, monkeypatch, capsys):
    config, _ = write_refit(tmp_path)
    out = tmp_path / "docs"
    runs.call(make_study, monkeypatch, f"--runs={tmp_path / 'study'}", f"--out={out}")
    rows = read_rows(out / "runs.csv")
    assert {key[1]: one.options for key, one in rows.items()} == {
        key[1]: one for key, one in rows_asked(config).items()
    }
    assert is_recorded(config, rows) and "2 of " in capsys.readouterr().out
    # The last solution counts, not the median of the three.
    errors = {key[1]: one.test_error for key, one in rows.items()}
    assert errors == {"per_example": 36.0, "per_example_refit": 33.0}
    assert rows[FAMILY, "per_example", 1].seconds is None, "the time is counted once"
    assert [one.circumstances.with_v for one in rows.values()] == [False, True]


def test_the_median_counts_where_steps_are_steps(tmp_path):
    _, folder = write_refit(tmp_path, inner="steps")
    assert row_of(read_run(folder), (FAMILY, "per_example_refit", 1), OPTIONS).test_error == 35.0


def feature_rows(family=FAMILY, **shifts):
    """Rows of ten seeds: the error of a method is 40 + its shift, with noise of its own."""
    rng = np.random.default_rng(2)
    return [
        row(method, seed, 40.0 + shifts.get(method, 0.0) + 0.3 * rng.normal(), family)
        for method in METHODS
        for seed in SEEDS
    ]


def feature_plan(name=FAMILY, **fields):
    return plan(name, METHODS, SEEDS, dataset="cifar10", on_features=True, **fields)


def test_the_headline_claims_what_survives_the_correction_of_all_its_cells():
    other = "features_cifar10_fixmatch_clean"
    rows = feature_rows(per_example=-3.0, cross_fit_refit=0.4) + feature_rows(other)
    found, _ = families(
        [feature_plan(variant="PL"), feature_plan(other, variant="F")], by_key(rows)
    )
    claims = claims_of(found)
    assert len(claims) == 3 * 8, "six comparisons, two with balanced classes, and means of all"
    raw = [
        stats.ttest_rel([*f.errors(m).values()], [*f.errors(r).values()]).pvalue
        for f in found
        for m, r in ((m, r) for n, m, r in claims if n == f.plan.name)
    ]
    raw += [over_settings(found, m, r).p for n, m, r in claims if n == headline_picture.ALL]
    assert [one.p for one in claims.values()] == pytest.approx(holm(raw))
    learned = claims[FAMILY, "per_example", "fixed_1"]
    assert learned.reading == "better" and learned.p < 0.001
    table = headline_table(found, claims, (("?", "per_example", "fixed_1"),))
    (whole, _), (first, cell), (_, dull) = table.rows
    assert whole.text == "mean of all settings" and not whole.link
    assert first.link == f"families/{FAMILY}.md"
    assert cell.strong and cell.text.endswith("p <0.001") and not dull.strong
    # An interval that leaves zero is no claim where its corrected p does not.
    weak = [o for o in claims.values() if o.difference.p < 0.05 <= o.p]
    assert all(one.reading == "no sure difference" for one in weak)


def test_features_have_answers_and_a_page_of_their_own():
    nets = [row("fixed_1", s, 30.0 + s) for s in (1, 2)] + [
        row("supervised", s, 35.0) for s in (1,)
    ]
    secondary = feature_plan("features_cifar10_uda_clean", secondary=True, variant="UDA")
    plans_ = [plan(), feature_plan(variant="Pseudo-Label on features"), secondary]
    rows = feature_rows(per_example=-3.0)
    pages = study_documents(plans_, by_key([*nets, *rows]))
    front, page = (render_markdown(pages[name]) for name in ("README.md", "features.md"))
    before = render_markdown(study_documents(plans_[:1], by_key(nets))["README.md"])
    of_nets = before.partition("## On nets")[2]
    assert of_nets and front.partition("## On nets")[2].strip() == of_nets.strip()
    part = front.partition("## On frozen features")[2].partition("##")[0]
    for text in (part, page):
        assert "better in 1, worse in 0 of 1 setting" in text and "all 8 differences" in text
    assert f"[CIFAR-10, Pseudo-Label, 40 + 160](families/{FAMILY}.md)" in page
    assert "figures/features.png" in page and "uda_clean" not in page, "no run of it"
    with_uda = [*rows, *feature_rows(secondary.name)]
    pages = study_documents(plans_, by_key(with_uda))
    assert "## On nets" not in render_markdown(pages["README.md"]) and "nets.md" not in pages
    page = render_markdown(pages["features.md"])
    assert "no claim made here" in page and "all 8 differences" in page
    assert "Holm's correction is over all" in render_markdown(pages["method.md"])


def test_the_mean_of_all_settings_is_taken_seed_by_seed():
    other = "features_cifar10_fixmatch_clean"
    rows = feature_rows(per_example=-3.0) + feature_rows(other, per_example=1.0)
    found, _ = families([feature_plan(), feature_plan(other)], by_key(rows))
    mean = over_settings(found, "per_example", "fixed_1")
    errors = [
        [of.errors("per_example")[s] - of.errors("fixed_1")[s] for of in found] for s in SEEDS
    ]
    expected = stats.ttest_1samp(np.mean(errors, axis=1), 0.0)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose([mean.low, mean.high], interval, rtol=1e-9)
    assert mean.p == pytest.approx(expected.pvalue) and mean.seeds == tuple(SEEDS)
    rows = {line[0]: line[1:] for line in controls_table(found).rows}
    told = ("2", difference_text(over_settings(found, "v_as_labels", "per_example")))
    assert rows["base, V as labels − Λ per example"] == told and len(rows) == 4
    assert "Base and controls" not in render_markdown(headline_pages(found[:1])[1])
    assert controls_table(found[:1]) is None, "a mean of one"
    assert over_settings(found[:1], "per_example", "fixed_1") is None
    assert over_settings(found, "per_example", "nothing") is None


def test_the_headline_is_drawn_as_it_is_claimed(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        headline_picture, "_line", lambda axes, place, one: drawn.append((place, one))
    )
    plans_ = [feature_plan(), feature_plan(other := "features_cifar10_pseudo_label_other")]
    rows = [*feature_rows(per_example=-3.0), *feature_rows(other)]
    found, _ = families(plans_, by_key(rows))
    claims, names = claims_of(found), {name: name for name in (FAMILY, other)}
    picture = headline_picture.headline_picture(found, claims, names)
    lines = [headline_picture.ALL, FAMILY, other]
    shown = [pair[1:] for pair in HEADLINE if pair[1:] != ("fixed_1", "supervised")]
    keys = [((name, *pair), k) for pair in shown for k, name in enumerate(lines)]
    assert drawn == [(k, claims[key]) for key, k in keys if key in claims]
    assert picture.png.startswith(b"\x89PNG")
    assert headline_picture.headline_picture(found, {}, names) is None


@pytest.mark.parametrize("family", [name for name in STUDY if is_of_features(name)])
def test_the_sizes_of_a_family_fit_its_data(family):
    """U holds D; a set that is read in part leaves enough for D, V and U."""
    one = chosen(family, "r", "", "*")[0]
    assert one.num_labeled <= one.num_unlabeled or not one.num_unlabeled
    if one.num_train:
        foreign = 2 if one.contamination == "foreign" else 1
        assert (one.num_unlabeled or one.num_labeled) + one.val_size <= one.num_train * foreign


def test_all_families_fit_into_two_hours_of_two_cores():
    names = [name for name in STUDY if is_of_features(name)]
    seconds = [assumed_seconds(vars(c)) for n in names for c in chosen(n, "r", "", "*")]
    assert len(seconds) > 2000 and sum(seconds) <= CPU_HOURS * 3600
    for name in names[::5]:
        configs = chosen(name, "r", "", "*")
        assert {c.seed for c in configs} == set(SEEDS) and all(
            c.val_seed == c.seed for c in configs
        )
        assert {c.inner for c in configs} == {"steps" if name in ABLATIONS else "solve"}


def test_methods_of_a_family_compare_on_equal_terms():
    for family, asked in FEATURE_STUDY.items():
        varied = {name for method in asked["methods"].values() for name in method}
        varied |= {"seed", "val_seed", "out"}
        # Of the supervised base no view is read.
        varied |= {"strong_augment"} if "_uda_" in family else set()
        found = [vars(c) for c in chosen(family, "r", "", "*")]
        for options in found:
            assert {k for k, v in options.items() if v != found[0][k]} <= varied


def test_a_dry_run_lists_them_with_an_estimate(monkeypatch, capsys):
    only = f"--only={FAMILY}/fixed_1,{FAMILY}/cross_fit_refit"
    assert runs.call(run_study, monkeypatch, only, "--dry_run", "--record=") == 0
    lines = capsys.readouterr().out.splitlines()
    hours = 10 * (1.2 + 6.0) / 3600
    assert lines[-1].startswith(f"study: 0 of 20 runs done, about {hours:.1f} h to go as assumed")


def test_jobs_divide_the_study_among_processes_of_one_core(monkeypatch, tmp_path):
    called = []

    def together(commands, fine, late):
        called.append((commands, fine, late))
        return 0

    monkeypatch.setattr("experiments.run_profile.run_together", together)
    arguments = (f"--only={FAMILY}/fixed_1", f"--out={tmp_path}", "--record=", "--jobs=2")
    monkeypatch.setattr("sys.argv", ["run_study.py", *arguments])
    assert runs.call(run_study, monkeypatch, *arguments) == 0
    ((commands, fine, late),) = called
    assert [c[3:-2] for c in (commands[0], commands[1][:-1])] == [list(arguments)] * 2
    assert commands[0][-2:] == ["--jobs=1", "--threads=1"] and commands[1][-1] == "--backwards"
    assert (fine, late) == ((0, 4), (run_study.DIVERGED,))


def test_a_run_of_another_process_is_left_to_it(monkeypatch, tmp_path, capsys):
    trained = []

    def execute(config, program, cache_dir, again):
        if config.seed == 1:
            raise InUseError("another process")
        trained.append(key_of(config)[1:])
        return {}

    monkeypatch.setattr(run_study, "execute", execute)
    monkeypatch.setattr(run_study, "unavailable", lambda *_: "")
    only = f"--only={FAMILY}/fixed_1,{FAMILY}/v_as_labels"
    arguments = (only, f"--out={tmp_path}", "--record=", "--backwards")
    assert runs.call(run_study, monkeypatch, *arguments) == run_study.IN_USE
    methods = [method for method, _ in trained]
    assert methods == ["v_as_labels"] * 9 + ["fixed_1"] * 9, "method by method, from the last"
    assert capsys.readouterr().out.count("another process trains it") == 2


def test_only_biased_labels_are_compared_with_balanced_ones():
    names = {name for name, family in STUDY.items() if "v_as_labels_balanced" in family["methods"]}
    assert names and all(name.endswith("_labeled_imbalance") for name in names)
    (config, *_) = chosen(min(names), "r", "", "*/v_as_labels_balanced")
    assert config.class_balanced and config.labeled_imbalance == 10 and config.val_size == 20
