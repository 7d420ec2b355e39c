"""The report: exact tables and sentences from made-up runs, safe pages, pictures that decode."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest
from reporting_runs import weights, write_family, write_run

from experiments.pages.document import Code, Details
from experiments.report import narrative
from experiments.report.collect import collect_runs
from experiments.report.comparisons import Role, Verdict, compare_setting, undecided
from experiments.report.csv_table import results_csv
from experiments.report.detection import detect_setting, mean_table, run_table
from experiments.report.grouping import group_runs
from experiments.report.narrative import overview, sentence, setting_points
from experiments.report.provenance import command, command_blocks, deviation_blocks, version_blocks
from experiments.report.tables import differences_table, results_table, sources_table

EVIL = '<script>alert("1")</script>'
# Differences Λ - base: -2, -1, -3, so -2.00 [-4.48, +0.48]; base - supervised: -10 each.
ERRORS = {
    ("supervised", "fixed"): (22.0, 23.0, 24.0),
    ("fixmatch", "fixed"): (12.0, 13.0, 14.0),
    ("fixmatch", "per_example"): (10.0, 12.0, 11.0),
}


OPEN = "helped in 0 of 1 case, undecided with 3 seeds in 1. Undecided: "


def load(folder):
    settings, _ = group_runs(collect_runs(folder).finished)
    return settings


@pytest.fixture
def setting(tmp_path):
    write_family(tmp_path, ERRORS)
    return load(tmp_path)[0]


def test_results_table_word_for_word(setting):
    table = results_table(setting)
    assert table.rows == (
        ("Supervised", "23.00 ± 1.00", "23.00 ± 1.00", "24.00 ± 1.00", "3", "–", "–"),
        ("FixMatch", "13.00 ± 1.00", "13.00 ± 1.00", "14.00 ± 1.00", "3", "–", "–"),
        (
            *("FixMatch + Λ", "11.00 ± 1.00", "11.00 ± 1.00 †"),
            *("12.00 ± 1.00", "3", "90.0 %", "12.5 %"),
        ),
    )
    assert table.notes[0].startswith("† Optimistic: λ was learned on the V")


def test_differences_table_word_for_word(setting):
    rows = differences_table(compare_setting(setting)).rows
    texts = [(row[0], row[1], row[2], row[3].text, row[4]) for row in rows]
    assert texts == [
        ("FixMatch against Supervised", "−10.00", "[−10.00, −10.00]", "better", "3"),
        (
            "FixMatch + Λ against FixMatch",
            "−2.00",
            "[−4.48, +0.48]",
            "undecided with 3 seeds",
            "3",
        ),
        ("FixMatch + Λ against Supervised", "−12.00", "[−14.48, −9.52]", "better", "3"),
    ]


def test_one_seed_has_no_deviation_no_interval_and_no_claim(tmp_path):
    write_family(tmp_path, {key: values[:1] for key, values in ERRORS.items()})
    (one,) = load(tmp_path)
    assert results_table(one).rows[1][:2] == ("FixMatch", "12.00")
    (_, base, _) = comparisons = compare_setting(one)
    assert base.verdict is Verdict.ONE_SEED
    assert differences_table(comparisons).rows[1][2] == "none: one seed"
    assert sentence(base) == (
        "FixMatch + Λ against FixMatch: −2.00 points from one seed, so there is no interval and "
        "no claim."
    )
    assert (
        overview([one], comparisons)
        .paragraphs[0]
        .endswith(
            "cannot be judged: an interval needs at least two common seeds. One seed, no claim: "
            "FixMatch + Λ on moons (−2.00)."
        )
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"config": {"split_hash": "another"}}, "split"),
        ({"summary": {"devices": 4}}, "devices"),
        ({"summary": {"devices": 4}, "config": {"split_hash": "another"}}, "devices, split"),
    ],
)
def test_runs_that_differ_in_more_than_the_method_are_no_pairs(tmp_path, changed, why):
    write_family(tmp_path, {("supervised", "fixed"): (20.0, 21.0, 22.0)})
    for seed in (1, 2, 3):
        options = {"algorithm": "fixmatch", "seed": seed, "error": 10.0 + 2 * seed}
        write_run(tmp_path, f"f{seed}", **options, **(changed if seed == 3 else {}))
    (item,) = compare_setting(load(tmp_path)[0])
    assert item.difference.seeds == (1, 2)
    expected = f"FixMatch against Supervised: seed 3 left out: unlike {why}."
    assert differences_table([item]).notes == (expected,)


def test_features_by_a_backbone_are_a_setting_of_their_own(tmp_path):
    for k, net in enumerate((None, "none", "net_a", "net_b")):
        flags = {} if net is None else {"backbone": net}
        write_run(tmp_path, f"{k}", seed=k, dataset="pictures", flags=flags)
    records = collect_runs(tmp_path).finished
    settings, remarks = group_runs(records[:3])
    assert [(s.title, len(s.methods), len(s.runs)) for s in settings] == [
        ("pictures, 10 labels", 1, 2), ("pictures features, 10 labels", 1, 1),
    ]  # fmt: skip
    assert remarks == ()
    settings, _ = group_runs(records)
    names = ["pictures", "pictures features (net_a)", "pictures features (net_b)"]
    assert [setting.dataset for setting in settings] == names


def test_a_comparison_without_a_pair_says_why(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path, f"s{seed}", seed=seed)
        options = {"algorithm": "fixmatch", "seed": seed, "summary": {"source": "a copy"}}
        write_run(tmp_path, f"f{seed}", **options)
    (item,) = compare_setting(load(tmp_path)[0])
    assert item.verdict is Verdict.NO_PAIR
    assert sentence(item) == (
        "FixMatch cannot be compared with Supervised: seeds 1 and 2 left out: unlike source."
    )


def test_v_as_labels_and_controls_are_held_against_the_method(tmp_path):
    write_family(tmp_path, {**ERRORS, ("fixmatch", "shuffled"): (12.0, 13.0, 14.0)})
    write_family(tmp_path / "v", {("fixmatch", "fixed"): (8.0, 9.0, 9.5)}, as_labels=True)
    comparisons = compare_setting(load(tmp_path)[0])
    mine = {item.role: item for item in comparisons if item.method.weighting == "per_example"}
    assert set(mine) == {Role.BASE, Role.LABELS, Role.CONTROL, Role.SUPERVISED}
    assert mine[Role.LABELS].reference.label == "FixMatch + V as labels"
    assert mine[Role.LABELS].verdict is Verdict.WORSE
    assert "was worse than FixMatch + V as labels" in sentence(mine[Role.LABELS])


@pytest.mark.parametrize(
    ("shift", "noise", "word"),
    [
        (-2.0, (0.1, -0.1, 0.05), "helped in 1 of 1 case. Helped: "),
        (2.0, (0.1, -0.1, 0.05), "helped in 0 of 1 case and made the error larger in 1."),
        (0.0, (1.0, -1.0, 0.0), OPEN),
        # Zero, and more than half a point on one side alone.
        (-0.3, (0.15, -0.15, 0.0), OPEN),
        (0.3, (0.1, -0.1), "helped in 0 of 1 case, undecided with 2 seeds in 1."),
        (
            -0.2, (0.1, -0.1, 0.0),
            "helped in 0 of 1 case and made no difference larger than 0.5 points in 1. No "
            "difference larger than 0.5 points: ",
        ),
        (0.0, (0.0, 0.0), "and made no difference larger than 0.5 points in 1."),
    ],
)  # fmt: skip
def test_the_summary_says_wins_losses_and_open_cases_alike(tmp_path, shift, noise, word):
    weighted = tuple(13.0 + shift + extra for extra in noise)
    pair = {("fixmatch", "fixed"): (13.0,) * len(noise), ("fixmatch", "per_example"): weighted}
    write_family(tmp_path, pair)
    settings = load(tmp_path)
    text = overview(settings, compare_setting(settings[0])).paragraphs[0]
    assert text.startswith("Learned per-example weights (Λ), held against their base algorithm,")
    assert word in text and "FixMatch + Λ on moons (" in text


def test_no_word_of_the_report_takes_an_open_case_for_a_failure(tmp_path):
    """For every role: what is undecided is neither better, worse nor equal."""
    write_family(tmp_path, {**ERRORS, ("fixmatch", "shuffled"): (12.0, 9.0, 14.0)})
    write_family(tmp_path / "v", {("fixmatch", "fixed"): (8.0, 14.0, 9.5)}, as_labels=True)
    (setting,) = load(tmp_path)
    items = [i for i in compare_setting(setting) if i.verdict is Verdict.UNDECIDED]
    assert {item.role for item in items} >= {Role.BASE, Role.LABELS, Role.CONTROL, Role.PLAIN}
    for item in items:
        assert item.reading == "undecided with 3 seeds"
        if item.role in narrative.OPPONENTS:
            assert ": undecided with 3 seeds (" in sentence(item)
    for role, words in narrative.WORDS.items():
        assert Verdict.UNDECIDED not in words and Verdict.EQUAL in words, role
    assert undecided([*items, SimpleNamespace(difference=SimpleNamespace(seeds=range(5)))]) == (
        "undecided with 3 or 5 seeds"
    )


def test_the_summary_names_a_base_that_does_not_beat_supervised(tmp_path):
    write_family(tmp_path, {("supervised", "fixed"): (9, 11, 10)})
    write_family(tmp_path, {("fixmatch", "fixed"): (10, 10, 10)})
    settings = load(tmp_path)
    paragraphs = overview(settings, compare_setting(settings[0])).paragraphs
    assert paragraphs[0].startswith("No pair of finished runs compares learned")
    expected = "supervised training, was better in 0 of 1 case, undecided with 3 seeds in 1."
    assert expected in paragraphs[1]


def test_points_tell_every_reading(tmp_path):
    write_family(tmp_path, ERRORS, table=weights())
    settings = load(tmp_path)
    found = {item: detect_setting(item) for item in settings}
    (point,) = setting_points(settings, compare_setting(settings[0]), found).items
    assert point.opening == "moons, 10 labels:"
    assert point.text == (
        "test error Supervised 23.00 %, FixMatch 13.00 % and FixMatch + Λ 11.00 %. FixMatch was "
        "better than Supervised (−10.00 [−10.00, −10.00], 3 seeds). FixMatch + Λ against FixMatch: "
        "undecided with 3 seeds (−2.00 [−4.48, +0.48]). For finding the wrong pseudo-labels of "
        "FixMatch + Λ, −λ has AUROC 1.000 ± 0.000 and 1 − confidence 1.000 ± 0.000 (chance: 0.5)."
    )


def detections(folder):
    return {setting: detect_setting(setting) for setting in load(folder)}


def test_detection_by_hand(tmp_path):
    # λ rises with the id; ids 0 and 3 are wrong among 0..3: one of four pairs is out of order.
    table = {name: values[:4] for name, values in weights(20, wrong=(0, 3)).items()}
    options = {"algorithm": "fixmatch", "weighting": "per_example"}
    write_run(tmp_path, "run", table=table, **options)
    (row,) = run_table(detections(tmp_path)).rows
    counts = ("4", "0", "4", "2")
    assert row[:9] == ("moons, 10 labels", "FixMatch + Λ", "1", *counts, "0.500", "0.500")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (weights(wrong=()), "no pseudo-label is wrong"),
        (weights(4, wrong=range(4)), "every pseudo-label is wrong"),
        (weights(visits=0), "no example with an updated λ and a known true label"),
        ({**weights(), "loss": np.full(20, np.nan)}, "20 scores are not finite"),
        ({**weights(), "lam": np.ones(20)}, "the score is the same for all"),
    ],
)
def test_an_undefined_area_says_why(tmp_path, table, reason):
    options = {"algorithm": "fixmatch", "weighting": "per_example"}
    write_run(tmp_path, "run", table=table, **options)
    table = mean_table(detections(tmp_path))
    assert "undefined" in table.rows[0]
    expected = f"Undefined because {reason}: FixMatch + Λ on moons, 10 labels (seed 1)."
    assert table.notes == (expected,)


def test_unknown_true_labels_are_not_scored(tmp_path):
    table = {**weights(), "true_label": np.where(np.arange(20) < 5, np.arange(20) % 2, -1)}
    write_run(tmp_path, "run", algorithm="fixmatch", weighting="per_example", table=table)
    assert run_table(detections(tmp_path)).rows[0][3:7] == ("20", "0", "5", "2")


def test_labeled_examples_inside_u_are_counted_and_not_scored(tmp_path):
    """Ids 0 and 1, the wrong ones, are labeled: nothing wrong is left."""
    table = {**weights(), "labeled": np.isin(np.arange(20), (0, 1, 19))}
    table["visits"][19] = 0
    write_run(tmp_path, "run", algorithm="fixmatch", weighting="per_example", table=table)
    found = detections(tmp_path)
    assert run_table(found).rows[0][3:7] == ("19", "2", "17", "0")
    assert mean_table(found).notes[0].startswith("Undefined because no pseudo-label is wrong")


def test_sources_and_hashes(tmp_path):
    for seed in (1, 2):
        summary, config = {"source": f"made up, seed {seed}"}, {"split_hash": f"{seed}" * 40}
        write_run(tmp_path, f"{seed}", seed=seed, summary=summary, config=config)
    write_run(tmp_path, "v", as_labels=True, summary={"source": "made up, seed 1"})
    (row,) = sources_table(load(tmp_path)).rows
    hashes = "seed 1: 111111111111, 000000000000 (+V);\nseed 2: 222222222222"
    assert row == ("moons", "made up, the run's seed", "10", "30", "1,000", hashes)


def test_csv_holds_the_unrounded_numbers(setting, tmp_path):
    write_run(tmp_path, "evil", dataset="=1+1")
    settings = load(tmp_path)
    comparisons = [item for each in settings for item in compare_setting(each)]
    rows = list(csv.DictReader(io.StringIO(results_csv(settings, comparisons))))
    assert [row["dataset"] for row in rows] == ["moons"] * 3 + ["'=1+1"]
    ours = rows[2]
    assert (ours["method"], ours["seeds"], ours["optimistic"]) == ("FixMatch + Λ", "1 2 3", "True")
    assert float(ours["versus_base"]) == -2.0
    assert float(ours["versus_base_low"]) == pytest.approx(-4.484138, abs=1e-6)
    assert rows[0]["versus_base"] == "" and rows[3]["test_error_std"] == ""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"out": "/data/mine/runs/a/one"}, "--out=results/runs/a/one"),
        ({"data_dir": "/data/mine/idx"}, "--data_dir=idx"),
        ({"data_dir": "data/idx"}, "--data_dir=data/idx"),
        ({"data_dir": "../mine/idx"}, "--data_dir=idx"),
        ({"dataset": "npz:/data/mine/own.npz"}, "--dataset=npz:own.npz"),
        ({"dataset": "folder:/data/mine/own/"}, "--dataset=folder:own"),
        ({"dataset": "csv:/data/mine/own.csv"}, "--dataset=csv:own.csv"),
        ({"bert": "/data/mine/bert"}, "--bert=bert"),
        ({"bert": "google/bert"}, "--bert=google/bert"),
        ({"back_translation_dir": "/data/mine/para"}, "--back_translation_dir=para"),
    ],
)
def test_commands_name_no_folder_of_the_machine(tmp_path, flags, expected):
    write_run(tmp_path, "a/one", flags=flags)
    ((run,),) = (each.runs for each in load(tmp_path))
    text = command(run)
    assert expected in text.split()
    assert not any(word in text for word in ("mine", str(tmp_path)))


def test_commands_deviations_and_versions(tmp_path):
    config = {"deviations": ["DEVIATION: N 50 instead of 512"], "versions": {"numpy": "1"}}
    flags = {"resume": True, "name": "a b", "nothing": None, "empty": "", "rate": 0.5, "ids": [1]}
    write_run(tmp_path, "one", config=config, flags=flags)
    write_run(tmp_path, "two", seed=2)
    settings = load(tmp_path)
    (details,) = (block for block in command_blocks(settings) if isinstance(block, Details))
    code = next(block for block in details.blocks if isinstance(block, Code))
    assert code.text == (
        "python -m experiments.train_synthetic --dataset=moons --num_labeled=10 --seed=1 "
        "--resume=true '--name=a b' --rate=0.5 --ids=1"
    )
    deviations = deviation_blocks(settings)[1]
    assert deviations.rows[0][0] == "N 50 instead of 512"
    runs = [run for each in settings for run in each.runs]
    assert version_blocks(runs)[1].rows == (("numpy", "1 / 2.4.6"),)


def test_a_run_older_than_an_option_counts_as_one_with_its_default(tmp_path):
    for seed, flags in ((1, {}), (2, {"text_column": "text", "on_error": "auto"})):
        write_run(tmp_path, f"run {seed}", seed=seed, flags=flags)
    write_run(tmp_path, "other", seed=1, flags={"text_column": "title"})
    (setting,) = load(tmp_path)
    assert {method.label: len(method.runs) for method in setting.methods} == {
        "Supervised [text_column=text]": 2, "Supervised [text_column=title]": 1,
    }  # fmt: skip
