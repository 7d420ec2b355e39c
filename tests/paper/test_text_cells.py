"""The cells of Table 2: the recipe of texts, its estimates, its rows in the list and the page."""

import pytest
from cell_runs import CELLS, entries, finish

from experiments import run_cell, run_paper
from experiments.options.deviations import text_deviations
from experiments.options.presets import make_config
from experiments.options.text_recipes import ALGORITHM_TEXTS, BERT, TEXT
from experiments.paper import comparison, estimates, others, scripts
from ssl_weighting.models.bert import BertShape

OURS, FIXED = "table2_128_uda_ours", "table2_128_uda"


def test_cells_of_texts_are_the_recipe_of_texts():
    (supervised, uda, ours, longer) = (c for c in CELLS.values() if c.table == "Table 2")
    for cell in (uda, ours):
        made = vars(run_cell.configurations(run_cell.parsed(scripts.arguments(cell)))[0])
        recipe = TEXT | ALGORITHM_TEXTS["uda"] | {"bert": BERT, "max_len": 128}
        assert recipe.items() <= made.items() and made["weighting"] == cell.options["weighting"]
        assert made["steps"] == 20 * made["eval_every"], "upstream: 20 checkpoints"
    assert {**ours.options, "weighting": "fixed"} == uda.options and ours.base == uda.name
    assert [len(cell.seeds) for cell in (supervised, uda, ours, longer)] == [3, 3, 3, 1]
    control = CELLS["extra_imdb_128_uda_v_as_labels"]
    assert control.base == uda.name
    assert control.options == uda.options | {"validation_as_labels": "true"}
    # UDA's at 512 tokens: 32 + 224 texts through BERT-large, targets sharpened.
    options = make_config(**longer.options)
    assert (options.labeled_batch, options.unlabeled_batch) == (32, 224)
    assert (options.temperature, options.tsa) == (0.85, "linear")
    assert options.bert == "bert-large-uncased"


def test_estimates_of_texts_follow_the_recipes(monkeypatch):
    for algorithm, (steps, batch, ratio, passes) in estimates.TEXTS.items():
        config = make_config(algorithm=algorithm, dataset="imdb")
        assert (config.steps, config.labeled_batch) == (steps, batch)
        assert ratio == (config.unlabeled_ratio if passes else 0)
        assert config.steps == estimates.EVALUATIONS * config.eval_every
    base = BertShape()
    assert estimates.BERTS[BERT] == (base.num_layers, base.width)
    assert base.inner_width == 4 * base.width  # 12 w^2: four kernels of attention, two behind it
    options = {"algorithm": "uda", "bert": BERT, "max_len": 128}
    products = 128 * 12 * (12 * 768**2 + 2 * 128 * 768)
    texts = 10_000 * 3 * (8 + 2 * 32) + 20 * 25_000
    wanted = texts * products / estimates.PRODUCTS_PER_SECOND / 3600
    assert estimates.text_hours(options) == pytest.approx(wanted)
    # What it rests on: 40,000 texts of 384 tokens through BERT-large, 11.11 of them a second.
    monkeypatch.setattr(estimates, "EVALUATIONS", 0)
    monkeypatch.setitem(estimates.TEXTS, "supervised", (1250, 32, 0, 0))
    options = {"algorithm": "supervised", "bert": "bert-large-uncased", "max_len": 384}
    assert estimates.text_hours(options) == pytest.approx(40_000 / 11.11 / 3600)


def test_smoke_of_texts_leaves_the_user_s_folders_alone():
    options = {"dataset": "imdb", "algorithm": "uda", "data_dir": "x", "back_translation_dir": "y"}
    small = make_config(**options, smoke=True)
    assert (small.data_dir, small.back_translation_dir) == ("", "")


def test_dry_run_names_the_rows_of_table_2_that_are_others():
    lines = run_paper.listing(run_paper.chosen("table2_*"), "nowhere").splitlines()
    table, cited, total = lines[-3:]
    assert table.startswith("table2_512_uda ") and "0/1  4.2 % test error (copied" in table
    assert cited.endswith("Dai and Le 7.24, Miyato et al. 5.91, BERT 4.51, Sachan et al. 4.32")
    assert total.startswith("4 cells,") and "BERT-large on one V100" in total
    assert "also cites" not in run_paper.listing(run_paper.chosen("table3_*"), "nowhere")


def finish_text(out, runs, errors, departures=None, **summary):
    """Leave a finished run on texts behind, with these test errors at its evaluations."""
    departures = {} if departures is None else departures
    finish(out, runs, 1, errors[0], departures, errors=errors, **summary)


def test_upstream_s_rule_stands_beside_ours_and_is_called_what_it_is(tmp_path):
    finish_text(tmp_path, OURS, [30.0, 8.0, 9.0, 12.0])
    finish_text(tmp_path, FIXED, [30.0, 11.0, 10.0, 14.0])
    row = entries(tmp_path, OURS)
    assert row["ours, median of last 20"] == (
        "10.50 (1 seed) test error; last evaluation 12.00 (1 seed); best evaluation on the test "
        "set 8.00 (1 seed), SELECTED ON THE TEST SET, as upstream's code does"
    )
    assert row["paper"] == (
        "8.51 ± 0.14 % test error (rule not stated, mean of 3 runs; UDA's code reports the best of "
        "20 checkpoints on the test set)"
    )
    assert row["upstream README"].startswith("about 10 (UDA's README; BERT-base, one GPU")
    assert row["same method elsewhere"].startswith("49.97 (USB UDA; 3 seeds, BERT-base, 512")
    assert row["best elsewhere"].startswith("7.44 ± 0.30 (USB CoMatch;")
    assert row["minus fixed weights"] == "-2.00 (1 seed, no interval)"
    assert "SELECTED ON THE TEST SET" in comparison.summary(tmp_path)


def test_how_strong_views_were_made_is_said_and_counts_either_way(tmp_path):
    views = "DEVIATION: strong views by TF-IDF word replacement (0.7) instead of back-translation"
    finish_text(tmp_path, OURS, [9.0], deviations=["DEVIATION: steps 1 instead of 2", views])
    finish_text(tmp_path, FIXED, [9.0], {"back_translation_dir": "bt"})
    ours, fixed = (entries(tmp_path, name)["ours, median of last 20"] for name in (OURS, FIXED))
    assert ours.endswith(f"does; {views}") and fixed.endswith("with --back_translation_dir=bt")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"strong_views": f"back_translation {'b' * 64}"}, "views"),
        ({"weights": "e" * 64}, "bert"),
    ],
)
def test_runs_of_other_strong_views_or_another_bert_are_not_paired(tmp_path, changed, why):
    inputs = {"strong_views": "1 tf_idf 0.7 1", "weights": "a" * 64, "vocabulary": "c" * 64}
    for folder, own, gain in (
        ("alike", inputs, "-2.00 (1 seed, no interval)"),
        ("unlike", inputs | changed, f"- (seed 1 left out: unlike {why})"),
    ):
        finish_text(tmp_path / folder, FIXED, [11.0], config={"inputs": inputs})
        finish_text(tmp_path / folder, OURS, [9.0], config={"inputs": own})
        assert entries(tmp_path / folder, OURS)["minus fixed weights"] == gain


def test_a_copy_of_the_cell_s_bert_counts_and_another_does_not(tmp_path):
    heading, smaller = "ours, median of last 20", "extra_imdb_512_uda_base"
    for name, bert in ((OURS, f"/models/{BERT}"), (FIXED, "minilm"), (smaller, None)):
        finish_text(tmp_path, name, [9.0], {"bert": bert})
    assert f"with --bert=/models/{BERT}" in entries(tmp_path, OURS)[heading]
    assert entries(tmp_path, FIXED)[heading] == "not run; seed 1 left out: --bert=minilm"
    assert entries(tmp_path, smaller)[heading] == "not run; seed 1 left out: --bert=(left out)"
    assert text_deviations(make_config(dataset="imdb", bert=f"/models/{BERT}")) == text_deviations(
        make_config(dataset="imdb")
    )


def test_an_incomplete_copy_of_the_reviews_is_named(tmp_path):
    note = "IMDb: an incomplete copy, 99,997 of 100,000 reviews"
    finish_text(tmp_path, OURS, [9.0], config={"notes": [note, "another note"]})
    assert entries(tmp_path, OURS)["ours, median of last 20"].endswith(f"does; {note}")


def test_the_rows_of_others_are_cited(tmp_path):
    lines = [line for line in comparison.page(tmp_path).splitlines() if "not ours to run" in line]
    rows = [dict(zip(comparison.HEADINGS, line[2:-2].split(" | "), strict=True)) for line in lines]
    assert [row["row"] for row in rows] == ["Dai and Le", "Miyato et al.", "BERT", "Sachan et al."]
    assert rows[2]["column"] == "IMDb, 25,000 labels, 512 tokens"
    assert rows[2]["paper"] == "4.51 % test error (cited)"


def test_numbers_of_others_on_texts():
    assert others.text_readme("uda", 512)[0].number == "4.1 to 4.7"
    assert others.text_readme("fixmatch", 128) == []
    assert all("2,000 further labels" in other.rule for other in others.peers("imdb", 20))
