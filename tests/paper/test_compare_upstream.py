"""The comparison page: ours beside the paper's numbers, from run folders made by hand."""

import json
import math
import statistics

import pytest
from absl import flags
from cell_runs import CELLS, entries, finish

from experiments import compare_upstream
from experiments.paper import comparison, found, others
from experiments.paper.numbers import CITED, Printed

OURS, FIXED = "table1_cifar10_250_uda_ours", "extra_cifar10_250_uda_lambda_5"


def test_mean_spread_and_paired_gain(tmp_path):
    ours, fixed = {1: 5.0, 2: 5.4, 3: 5.5}, {1: 5.6, 2: 5.8, 3: 6.5, 4: 9.0}
    for runs, errors in ((OURS, ours), (FIXED, fixed)):
        for seed, error in errors.items():
            finish(tmp_path, runs, seed, error, {})
    row = entries(tmp_path, OURS)
    std = statistics.stdev(ours.values())
    assert row["ours, median of last 20"] == f"5.30 ± {std:.2f} (3 seeds) test error"
    assert row["ours, best on V"] == f"5.80 ± {std:.2f} (3 seeds) (optimistic)"
    # d = -0.6, -0.4, -1.0; t_{0.975, 2} = 4.3027
    half = 4.3027 * statistics.stdev([-0.6, -0.4, -1.0]) / math.sqrt(3)
    mean = -2 / 3
    wanted = f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}], 3 seeds"
    assert row["minus fixed weights"] == wanted
    assert row["paper"] == "5.53 ± 0.17 % test error (rule not stated, mean of 5 runs)"
    assert row["upstream README"].startswith("5.43 ± 0.96 (UDA's README; last checkpoint")
    assert row["same method elsewhere"].startswith("5.12 ± 0.15 (USB UDA; 3 seeds, best iteration")
    assert row["best elsewhere"].startswith("4.67 ± 0.02 (USB CRMatch;")
    (line,) = (x for x in comparison.summary(tmp_path).splitlines() if x.startswith(OURS + ":"))
    assert f"5.30 ± {std:.2f} (3 seeds), paper 5.53 ± 0.17" in line and wanted in line


@pytest.mark.parametrize(
    ("departures", "summary", "config", "why"),
    [
        ({"devices": 2}, {"devices": 2}, {}, "devices"),
        ({"precision": "mixed_float16"}, {}, {}, "precision"),
        ({}, {"source": "cifar10: a folder, unofficial copy"}, {}, "source"),
        ({}, {}, {"split_hash": "other"}, "split"),
    ],
)
def test_runs_that_differ_in_more_than_the_method_are_not_paired(
    tmp_path, departures, summary, config, why
):
    for seed in (1, 2, 3):
        own = (departures, summary, config) if seed == 1 else ({}, {}, {})
        finish(tmp_path, OURS, seed, 5.0 + seed, own[0], config=own[2], **own[1])
        finish(tmp_path, FIXED, seed, 6.0 + 2 * seed, {})
    gain = entries(tmp_path, OURS)["minus fixed weights"]
    left_out = f" (seed 1 left out: unlike {why})"
    assert gain.startswith("-3.50 [") and gain.endswith(f", 2 seeds{left_out}")
    assert gain in comparison.summary(tmp_path)


def test_v_as_labels_is_paired_over_its_other_split(tmp_path):
    runs = {"extra_cifar10_500_uda_v_as_labels": 4.0, "table1_cifar10_500_uda": 6.0}
    for name, error in runs.items():
        finish(tmp_path, name, 1, error, {}, config={"split_hash": name})
    gain = entries(tmp_path, next(iter(runs)))["minus fixed weights"]
    assert gain == "-2.00 (1 seed, no interval)"


def test_cells_without_runs_say_so(tmp_path):
    text = comparison.page(tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("| ") and " row " not in line]
    trained = len([cell for cell in CELLS.values() if cell.seeds])
    tables = len({cell.table for cell in CELLS.values() if cell.seeds})
    assert sum("| not run |" in line for line in lines) == trained
    assert len(lines) == trained + tables + len(CITED)
    assert "Running times: not run." in text
    assert comparison.summary(tmp_path) == f"0 cells have runs, {trained} are not run"


@pytest.mark.parametrize(
    ("departures", "summary", "note"),
    [
        ({"steps": 1000}, {}, "seed 1 left out: --steps=1000"),
        ({"flip": None, "jit": True}, {}, "seed 1 left out: --flip=(left out)"),
        (None, {}, "seed 1 left out: no cell.json, not run by run_cell"),
        ({}, {"smoke": True}, "seed 1 left out: a smoke run"),
    ],
)
def test_other_runs_do_not_count(tmp_path, departures, summary, note):
    finish(tmp_path, OURS, 1, 1.0, departures, **summary)
    row = entries(tmp_path, OURS)
    assert row["ours, median of last 20"] == f"not run; {note}"
    assert f"{OURS}: not run; {note}" in comparison.summary(tmp_path).splitlines()
    assert row["minus fixed weights"] == "-"


def test_unfinished_runs_and_the_smoke_folder_do_not_count(tmp_path):
    finish(tmp_path, OURS, 1, 1.0, {}, status="running")
    finish(tmp_path / "smoke", OURS, 2, 1.0, {})
    assert entries(tmp_path, OURS)["ours, median of last 20"] == "not run"


def test_what_a_reader_must_know_is_beside_the_number(tmp_path):
    source = "cifar10: a folder, unofficial copy, results are not comparable"
    finish(tmp_path, OURS, 1, 5.0, {"precision": "mixed_float16"}, source=source)
    text = entries(tmp_path, OURS)["ours, median of last 20"]
    assert text.startswith("5.00 (1 seed) test error; with --precision=mixed_float16; ")
    assert "NOT COMPARABLE WITH PUBLISHED NUMBERS" in text
    finish(tmp_path, FIXED, 1, 6.0, {})
    alone = "- (seed 1 left out: unlike precision, source)"
    assert entries(tmp_path, OURS)["minus fixed weights"] == alone


def test_table_3_reads_validation_errors_and_shares_runs(tmp_path):
    finish(tmp_path, "table1_cifar10_4000_uda_ours", 1, 4.0, {})
    row = entries(tmp_path, "table3_n100_eta0.01")
    # validation errors 5 .. 34, the last twenty of them 15 .. 34
    assert row["ours, median of last 20"] == "24.50 (1 seed) validation error"
    assert row["ours, best on V"] == "-"
    assert row["paper"] == "3.42 % validation error (rule not stated)"


def test_running_times_stand_beside_the_papers_unless_of_a_smoke_run(tmp_path):
    rows = [
        {"name": "lambda_step_exact", "seconds_median": 0.25},
        {"suite": "influence", "ratios": {"neumann_over_exact": 3.0}},
    ]
    path = tmp_path / "paper" / "sec44_running_time.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(map(json.dumps, rows)))
    text = comparison.page(tmp_path)
    assert "| exact inverse, last layer | 0.25 | 0.455 |" in text
    assert "| identity | not run | 0.399 |" in text
    assert "| Neumann ÷ exact | 3.00, 20 terms | 4.6, terms not stated |" in text
    path.write_text("\n".join(map(json.dumps, [{"suite": "influence", "smoke": True}, *rows])))
    assert "Running times: not run (only a smoke run)." in comparison.page(tmp_path)


def test_numbers_of_others_have_their_rules():
    assert others.readme("fixmatch", "cifar10", 250) == []
    (new, old) = others.readme("uda", "svhn", 1000)
    assert new.number == Printed(2.23, 0.07) and old.number == Printed(2.55, 0.09)
    assert others.peers("cifar10", 500) == []
    best = {column: others.peers(*column)[0] for column in others.COLUMNS}
    assert " ".join(other.who for other in best.values()) == (
        "USB CRMatch LAMDA-SSL ReMixMatch USB CRMatch TorchSSL UDA USB CoMatch"
    )
    assert best["svhn", 250].rule.endswith("trained on SVHN's extra set too")
    everything = [o for column in others.COLUMNS for o in others.peers(*column)]
    assert all(other.rule for other in everything) and len(everything) == 96


def test_program_writes_the_page(tmp_path, capsys, monkeypatch):
    values = flags.FlagValues()
    compare_upstream.define_flags(values)
    values(["compare_upstream", f"--out={tmp_path}"])
    monkeypatch.setattr(flags, "FLAGS", values)
    compare_upstream.main(["compare_upstream"])
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8").startswith("# Ours beside")
    assert "are not run" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        compare_upstream.main(["compare_upstream", "x"])
    assert "--NAME=VALUE. Received: x" in capsys.readouterr().err


def test_values_of_a_single_seed_have_no_spread():
    assert found.spread({}) == "" and found.spread({3: 2.0}) == "2.00 (1 seed)"
