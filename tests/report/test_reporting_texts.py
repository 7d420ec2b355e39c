"""The most down- and up-weighted texts in the report: which, in what words, never as markup."""

import numpy as np
import pytest
from reporting_runs import weights, write_run

from experiments.pages.document import Cell
from experiments.report.report import write_report
from experiments.report.texts import MAX_LETTERS, MAX_ROWS, example_tables
from experiments.runs.record import read_run

LEARNED = {"algorithm": "fixmatch", "weighting": "per_example"}
EVIL = "<script>alert(1)</script> | `x` [y](z)"


def text_weights(n=20, **options):
    texts = [f"review number {k}" for k in range(n)]
    return weights(n, **options) | {"text": texts}


def the_run(tmp_path, table):
    names = {"class_names": ["pos", "neg"]}
    write_run(tmp_path, "run", **LEARNED, table=table, config=names)
    run = read_run(tmp_path / "run", "run")
    assert run.remarks == ()
    return run


def test_tables_hold_the_ends_of_lambda_with_labels(tmp_path):
    down, up = example_tables(the_run(tmp_path, text_weights(wrong=(1,))))
    assert [row[0] for row in down.rows] == [f"review number {k}" for k in range(MAX_ROWS)]
    assert [row[0] for row in up.rows[:2]] == ["review number 19", "review number 18"]
    assert down.rows[0][1:] == ("0.10", Cell("✓ pos", "good"), "pos", "0.50")
    assert down.rows[1][2] == Cell("✗ pos", "bad") and down.rows[1][3] == "neg"
    assert up.rows[0][1] == "2.00" and "Most up-weighted" in up.columns[0]


def shown(table):
    return [int(row[0].split()[-1]) for row in table.rows]


def test_only_what_moved_and_each_text_on_its_side(tmp_path):
    table = text_weights()  # λ rises from 0.1 to 2 and passes 1 between ids 9 and 10
    table["visits"] = np.where(np.arange(20) % 4 == 0, 2, 0).astype(np.int32)
    table["true_label"] = np.full(20, -1, np.int32)
    table["lam"][12] = 1.0
    down, up = example_tables(the_run(tmp_path, table))
    assert (shown(down), shown(up)) == ([0, 4, 8], [16])
    assert down.rows[0][3] == "unknown" and down.rows[0][2].tone == "open"


@pytest.mark.parametrize(
    ("init", "sides"), [(0.05, {"up"}), (1.0, {"down", "up"}), (2.5, {"down"})]
)
def test_the_initial_weight_decides_what_is_up_and_what_is_down(tmp_path, init, sides):
    """UDA with 250 labels starts at 5."""
    options = {"table": text_weights(), "flags": {"lambda_init": init}}
    run = read_run(write_run(tmp_path, "run", **LEARNED, **options))
    titles = " ".join(table.columns[0] for table in example_tables(run))
    assert {side for side in ("down", "up") if f"{side}-weighted" in titles} == sides


def test_equal_weights_go_by_accumulated_influence_and_labeled_ones_are_left_out(tmp_path):
    table = text_weights()
    table["lam"] = np.where(np.arange(20) < 10, 0.0, 2.0).astype(np.float32)  # all at a bound
    influence = np.random.default_rng(0).permutation(20) / 20 - 0.5
    labeled = np.arange(20) % 5 == 0
    down, up = example_tables(
        the_run(tmp_path, table | {"influence": influence, "labeled": labeled})
    )
    left = [k for k in range(20) if not labeled[k]]
    assert shown(down) == sorted([k for k in left if k < 10], key=lambda k: -influence[k])
    assert shown(up) == sorted([k for k in left if k >= 10], key=lambda k: influence[k])


def with_influences(table, seed=0):
    n = len(table["id"])
    mean = np.random.default_rng(seed).normal(size=n)
    more = {"influence_mean": mean, "influence_error": np.full(n, 0.25), "suspect": mean > 0.5}
    return table | more | {"name": [f"row {k}" for k in range(n)], "source": ["unlabeled"] * n}


def test_influences_a_visit_decide_where_they_are_known(tmp_path):
    table = with_influences(text_weights(n=12))
    mean = table["influence_mean"]
    mean[3], table["influence_error"][3] = 9.0, np.nan
    down, up = example_tables(the_run(tmp_path, table))
    order = np.argsort(-mean)
    assert shown(down) == [k for k in order if mean[k] > 0][:MAX_ROWS]
    assert shown(up) == [k for k in order[::-1] if mean[k] < 0][:MAX_ROWS]
    assert down.columns[0].startswith("Most harmful") and up.columns[0].startswith("Most helpful")
    assert down.columns[1:4] == ("name", "influence a visit", "λ")
    assert down.rows[0][1:3] == ("row 3", "+9 (one visit)")
    assert down.rows[1][2] == f"{mean[order[1]]:+.2g} ± 0.2"
    assert down.notes == ()


def test_a_ranking_of_few_says_so(tmp_path):
    table = with_influences(text_weights(n=12))
    table["visits"][5:] = 0
    (note,) = example_tables(the_run(tmp_path, table))[0].notes
    assert note.startswith("Only 5 of 12 examples of U were visited (42%)")


def test_rows_of_features_go_by_their_names(tmp_path):
    options = {"table": with_influences(weights(12)), "flags": {"model": "features"}}
    run = read_run(write_run(tmp_path, "run", **LEARNED, **options))
    down, _ = example_tables(run)
    assert all(row[0].startswith("row ") for row in down.rows)
    assert down.columns[1:3] == ("influence a visit", "λ") and down.text_columns == (0, 3, 4)


@pytest.mark.parametrize(
    ("dataset", "is_told"), [("folder:photos", True), ("digits", True), ("features:x.npz", False)]
)
def test_pictures_by_their_features_say_where_to_see_them(tmp_path, dataset, is_told):
    options = {"table": weights(12) | {"name": [f"{k}.png" for k in range(12)]}, "dataset": dataset}
    folder = write_run(tmp_path, "run", **LEARNED, **options, flags={"model": "features"})
    for table in example_tables(read_run(folder, "pets/seed_1")):
        told = [note for note in table.notes if "make_gallery --run=FOLDER" in note]
        assert bool(told) == is_told and all("folder of pets/seed_1." in note for note in told)


def test_long_texts_keep_both_ends(tmp_path):
    table = text_weights()
    table["text"][0] = "start " + "word " * 400 + "end"
    (down, _) = example_tables(the_run(tmp_path, table))
    text = down.rows[0][0]
    assert text.startswith("start") and text.endswith("end") and " … " in text
    assert len(text) <= MAX_LETTERS + 3


def test_images_have_no_texts(tmp_path):
    assert example_tables(the_run(tmp_path, weights())) == []
    nothing_moved = text_weights(visits=0)
    assert example_tables(the_run(tmp_path / "other", nothing_moved)) == []


def test_the_report_shows_them_escaped(tmp_path):
    table = text_weights()
    table["text"][0] = EVIL
    write_run(tmp_path / "runs", "run", **LEARNED, dataset="reviews", table=table)
    write_report(tmp_path / "runs", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Most harmful and helpful texts" in page and "review number 19" in page
    assert 'class="prose"><thead><tr><th class="text">Most down-weighted' in page
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
