"""The scripts of the paper's cells: headers, commands, flags, numbers; walking and running them."""

import json
import re
import shlex
import subprocess
from collections import Counter

import numpy as np
import pytest
import runs
from absl import flags

from experiments import benchmark, run_cell, run_paper
from experiments.assemble.build import load_splits
from experiments.options.effects import refuse_without_effect
from experiments.options.presets import make_config
from experiments.options.smoke import stand_in
from experiments.paper import estimates, scripts
from experiments.paper.cells import BENCHMARK, Cell, cells
from experiments.paper.numbers import CITED, FIG_3, TABLE_2, TABLE_3, Printed, table_1
from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.models.bert_weights import MINILM, bert_folder

CELLS = {cell.name: cell for cell in cells()}
TRAINED = [cell for cell in CELLS.values() if cell.program != BENCHMARK]


def one_of_each_family() -> list[Cell]:
    """One cell of each family and kind of data and, in Tables 1 and 2, of each row."""
    kinds = {}
    for cell in CELLS.values():
        row = cell.row if cell.family in ("table1", "table2") else ""
        kinds.setdefault((cell.family, cell.is_text, row), cell)
    return list(kinds.values())


def test_each_number_of_the_paper_has_its_script():
    names = sorted(path.name for path in scripts.FOLDER.iterdir())
    assert names == sorted(f"{name}.sh" for name in CELLS)
    parts = [cell.table for cell in CELLS.values()]
    wanted = {"Table 1": 82, "Table 3": 5, "Fig. 3": 3, "Fig. 4 (left)": 10, "Fig. 4 (centre)": 3}
    wanted |= {"Fig. 4 (right)": 8, "Sec. 4.4": 1, "Table 2": 4, "Extra": 26}
    assert Counter(parts) == wanted
    assert len(CELLS) == len(parts)


def test_numbers_as_printed():
    found = table_1()
    assert found["Pseudo-Label", "cifar10", 250] == Printed(49.98, 1.17)
    assert found["FixMatch (CTA)", "svhn", 4000] == Printed(2.36, 0.19)
    assert found["Ours (FixMatch, CTA)", "svhn", 1000] == Printed(2.34, 0.15)
    assert ("Re-MixMatch", "cifar10", 500) not in found
    # Sums over all cells, taken once from the paper's text: a changed digit anywhere shows.
    assert sum(number.mean for number in found.values()) == pytest.approx(730.06)
    assert sum(number.std for number in found.values()) == pytest.approx(44.78)
    assert [str(number) for number in TABLE_3.values()] == ["5.13", "4.59", "3.42", "6.16", "4.10"]
    assert [str(number) for number in FIG_3.values()] == ["4.43", "4.51", "4.85"]
    assert " ".join(map(str, TABLE_2.values())) == "39.40 8.98 ± 0.26 8.51 ± 0.14 4.2"
    assert " ".join(map(str, CITED.values())) == "7.24 5.91 4.51 4.32"


def test_scripts_say_what_the_list_says():
    for name, cell in CELLS.items():
        path = scripts.FOLDER / f"{name}.sh"
        hint = "run python -m experiments.paper.scripts"
        assert path.read_text(encoding="utf-8") == scripts.text(cell), hint
        assert path.stat().st_mode & 0o111, f"{name}.sh must be executable"


def test_scripts_are_one_command_under_a_header():
    paths = sorted(scripts.FOLDER.glob("*.sh"))
    check = 'for f; do bash -n "$f" || exit 1; done'
    subprocess.run(["bash", "-c", check, "bash", *paths], check=True)
    for path in paths:
        header, _, command = path.read_text(encoding="utf-8").partition("\n\n")
        fields = dict(re.findall(r"^# (\w+): +(.+)$", header, re.MULTILINE))
        assert {"Table", "Row", "Column", "Paper", "Time", "Command"} <= fields.keys(), path.name
        assert "an estimate, not measured" in header.replace("\n#           ", " ")
        words = shlex.split(command.replace("\\\n", " "))
        assert words[0] == "exec" and words.count("exec") == 1 and words[-1] == "$@"
        assert ["python", *words[2:-1]] == shlex.split(fields["Command"]), path.name
        if number := CELLS[path.stem].printed:
            assert str(number) in fields["Paper"]
        assert max(map(len, command.splitlines())) <= scripts.WIDTH + 2


def test_flags_of_the_scripts_exist():
    known = {"run_cell": run_cell, "benchmark": benchmark}
    for program, module in known.items():
        values = flags.FlagValues()
        module.define_flags(values)
        for cell in (cell for cell in CELLS.values() if cell.program == program):
            words = run_paper.command_of(scripts.FOLDER / f"{cell.name}.sh")
            names = {word[2:].split("=")[0] for word in words}
            assert names <= {*values}, cell.name


def test_cells_are_valid_commands_and_so_are_their_smoke_forms():
    for cell in TRAINED:
        words = scripts.arguments(cell)
        configs = run_cell.configurations(run_cell.parsed(words))
        assert [c.seed for c in configs] == list(cell.seeds), cell.name
        (smoke,) = run_cell.configurations(run_cell.parsed([*words, "--smoke"]))
        assert smoke.smoke and smoke.steps < 10 and smoke.num_labeled >= (4 if cell.is_text else 10)
        assert "/smoke/" in smoke.out and "/paper/" in configs[0].out


def test_equal_options_share_their_runs_and_others_do_not():
    groups = {}
    for cell in TRAINED:
        groups.setdefault(cell.runs, set()).add(frozenset(cell.options.items()))
    assert all(len(options) == 1 for options in groups.values())
    assert len(groups) == len({frozenset(cell.options.items()) for cell in TRAINED})
    ours = "table1_cifar10_4000_uda_ours"
    for name in ("table3_n100_eta0.01", "fig3_exact", "fig4_centre_madam", "fig4_right_4000_v1024"):
        assert CELLS[name].runs == ours


def test_pairs_differ_in_learning_alone():
    for cell in TRAINED:
        if cell.table == "Table 1" and cell.base:
            base = CELLS[cell.base].options
            assert {**cell.options, "weighting": "fixed"} == base
    for data in ("cifar10", "svhn"):
        ours, base = CELLS[f"table1_{data}_250_uda_ours"], CELLS[f"extra_{data}_250_uda_lambda_5"]
        assert ours.options["lambda_init"] == base.options["lambda_init"] == 5
        assert ours.base == CELLS[f"extra_{data}_250_uda_v_as_labels"].base == base.name
        assert "lambda_init" not in CELLS[f"table1_{data}_250_uda"].options, "UDA's own number"
        assert CELLS[f"table1_{data}_500_uda_ours"].base == f"table1_{data}_500_uda"
    assert CELLS["fig4_left_250_single"].base == "extra_cifar10_250_uda_lambda_5"
    assert "lambda_init" not in CELLS["table1_svhn_500_uda_ours"].options
    assert all("v_as_labels" not in cell.name or cell.base for cell in TRAINED)


def test_estimates_follow_the_recipes():
    for algorithm in estimates.PASSES:
        config = make_config(algorithm=algorithm, dataset="cifar10")
        assert estimates.STEPS.get(algorithm, 2**20) == config.steps
        assert estimates.RATIO.get(algorithm, 1) == config.unlabeled_ratio
        assert config.labeled_batch == estimates.BATCH
    assert estimates.hours({"algorithm": "fixmatch"}) == pytest.approx(96)  # what it rests on
    assert estimates.hours({"algorithm": "uda"}) == pytest.approx(96 * 400_000 * 704 / 2**20 / 960)


def test_smoke_keeps_what_the_command_is_about():
    given = {"dataset": "cifar10", "num_labeled": 4000, "lambda_batch": 99, "algorithm": "uda"}
    small = make_config(**given, weighting="per_example", smoke=True)
    assert (small.labeled_batch, small.unlabeled_batch, small.lambda_batch) == (4, 20, 6)
    assert (small.base_filters, small.width, small.depth) == (4, 2, 28)
    assert (small.num_labeled, small.val_size) == (250, 64)
    # With 250 labels UDA's lambda starts at 5; these stand for 4,000.
    assert small.lambda_init == make_config(**given, weighting="per_example").lambda_init == 1.0
    first = small.lambda_warmup_steps + small.inner_steps
    assert 1 < first < small.steps == small.eval_every < 10
    given |= {"num_labeled": 40, "val_size": 0, "lambda_batch": 0, "algorithm": "mixmatch"}
    smaller = make_config(**given, smoke=True)
    assert (smaller.num_labeled, smaller.val_size, smaller.lambda_batch) == (10, 0, 0)
    assert smaller.ramp_steps < smaller.steps  # the share of the run that the recipe names


@pytest.mark.parametrize(
    "given",
    [
        {"algorithm": "uda", "uda_version": "2019", "lr_warmup_steps": 20_000},
        {"inverse_hessian": "unrolled"},
        {"algorithm": "remixmatch", "labeled_batch": 32},
        {"algorithm": "remixmatch", "lambda_batch": 96},
        {"algorithm": "mixmatch", "lambda_batch": 96},
        {"devices": 2, "labeled_batch": 16},
        {"labeled_set": "uda", "num_labeled": 250},
        {"dataset": "svhn_cropped", "labeled_set": "uda", "num_labeled": 250},
        *({"labeled_set": "uda_balanced", "num_labeled": n} for n in (250, 500, 1000, 2000, 4000)),
    ],
)
def test_smoke_takes_what_the_whole_run_takes(given):
    given = {"dataset": "cifar10", "weighting": "per_example"} | given
    assert not make_config(**given).smoke
    small = make_config(**given, smoke=True)
    assert len(load_splits(small).labeled) == small.num_labeled
    if small.inverse_hessian == "unrolled":
        assert 1 <= small.solve_iterations <= small.inner_steps - small.stale_w


def test_smoke_needs_images():
    with pytest.raises(ValueError, match="--smoke would do nothing here: it needs images"):
        refuse_without_effect(make_config(dataset="moons", steps=60), ["smoke"])


def test_smoke_data_is_named_for_what_it_is():
    raw = stand_in("svhn_cropped")
    assert raw.name == "svhn_cropped" and raw.source.startswith(
        "SMOKE: scikit-learn's 1,797 digits"
    )
    assert raw.train.inputs.shape[1:] == (32, 32, 3) and raw.train.inputs.dtype == np.uint8
    assert len(raw.class_names) == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset=cifar10"], "--cell must be given"),
        (["--cell=a", "--dataset=cifar10", "--out=x"], "Use --results=DIR"),
        (["--cell=a", "--dataset=cifar10", "--seeds=1,x"], "must be numbers separated by commas"),
        (["--cell=a", "--nope=1"], "Unknown command line flag 'nope'"),
        (["--cell=a", "nope"], "--NAME=VALUE. Received: nope"),
        (["--cell=a", "--dataset=cifar10", "--tsa=log"], "--tsa would do nothing here"),
    ],
)
def test_run_cell_refuses(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_cell.configurations(run_cell.parsed(words))


def test_departures_are_seen():
    cell = CELLS["table1_svhn_250_vat"]
    same = [*scripts.arguments(cell), "--seed=7", "--smoke"]
    assert run_cell.departures(cell, run_cell.parsed(same)) == {}
    other = [word for word in same if "flip" not in word] + ["--steps=9", "--num_labeled=250"]
    assert run_cell.departures(cell, run_cell.parsed(other)) == {"flip": None, "steps": 9}


def test_dry_run_lists_cells_with_time_state_and_number(tmp_path):
    wanted = run_paper.chosen("table3_*,sec44*,fig3_exact")
    done = tmp_path / "paper" / "table1_cifar10_4000_uda_ours" / "seed_2"
    done.mkdir(parents=True)
    (done / "summary.json").write_text('{"status": "complete"}')
    lines = run_paper.listing(wanted, str(tmp_path)).splitlines()
    (line,) = (line for line in lines if line.startswith("table3_n100_eta0.01"))
    assert line.split()[1:5] == ["5", "x", "27", "1/5"] and "3.42 % validation error" in line
    # Table 3 and Fig. 3 share five runs: 25 runs of 26.9 hours, and the benchmark.
    assert "7 cells, 1 of them share all runs" in lines[-1]
    assert "about 672 GPU hours" in lines[-1] and "estimates, not measured" in lines[-1]


@pytest.mark.parametrize("others", [(), ("--dry_run",)])
def test_stray_words_are_refused(monkeypatch, capsys, others):
    with pytest.raises(SystemExit):
        runs.call(run_paper, monkeypatch, "--only=sec44*", *others, "stray")
    assert "Options must be --NAME=VALUE. Received: stray" in capsys.readouterr().err


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match=r"such as sec44_\*, table1_\*, .* Received: table9"):
        run_paper.chosen("table9")


def test_walk_goes_on_after_a_failure_and_asks_for_missing_data_once(monkeypatch, capsys):
    calls = []

    def run_one(cell, out, smoke, others):
        calls.append(cell.name)
        if cell.options["dataset"] == "svhn_cropped":
            raise UnavailableError("no source has svhn_cropped")
        if cell.options["algorithm"] == "vat":
            raise RuntimeError("no memory")
        return 0

    monkeypatch.setattr(run_paper, "run_one", run_one)
    wanted = run_paper.chosen("table1_*_250_vat,table1_*_250_uda,table1_svhn_500_uda")
    assert run_paper.walk(wanted, "out", False, []) == 1
    assert sum("svhn" in name for name in calls) == 1 and "table1_cifar10_250_uda" in calls
    printed = capsys.readouterr()
    assert "1 of 5 cells" in printed.out
    assert "FAILED table1_cifar10_250_vat: RuntimeError: no memory" in printed.err
    assert printed.err.count("FileNotFoundError: no source has svhn_cropped") >= 2


def test_walk_stops_when_told_to(monkeypatch):
    calls = []
    monkeypatch.setattr(run_paper, "run_one", lambda cell, *_: calls.append(cell) or 143)
    assert run_paper.walk(run_paper.chosen("table3_*"), "out", True, []) == 143
    assert len(calls) == 1


def test_smoke_run_of_a_cell_is_marked_and_skipped_the_second_time(tmp_path, capsys):
    cell = CELLS["table1_cifar10_250_pseudo_label"]
    others = ["--depth=10"]  # a fifth of the time
    assert run_paper.walk([cell], str(tmp_path), True, others) == 0
    folder = tmp_path / "smoke" / cell.name / "seed_1"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["smoke"] and summary["method"] == "SMOKE Pseudo-Label"
    assert summary["source"].startswith("SMOKE: scikit-learn") and summary["dataset"] == "cifar10"
    assert summary["deviations"][0].startswith("SMOKE: ")
    assert json.loads((folder / "cell.json").read_text()) == {
        "cell": cell.name,
        "departures": {"depth": 10},
    }
    assert "SMOKE: it ran; the numbers mean nothing" in capsys.readouterr().out
    assert run_paper.walk([cell], str(tmp_path), True, others) == 0
    assert "finished before, skipped" in capsys.readouterr().out
    assert not (tmp_path / "paper").exists()


@pytest.mark.slow
@pytest.mark.parametrize("cell", one_of_each_family(), ids=lambda cell: cell.name)
def test_each_family_runs_in_smoke_form(cell, tmp_path):
    if cell.is_text:
        _skip_without_minilm()
    assert run_paper.walk([cell], str(tmp_path), True, []) == 0
    if cell.program == BENCHMARK:
        lines = (tmp_path / "smoke" / run_paper.BENCHMARK_FILE).read_text().splitlines()
        assert json.loads(lines[0]) == {"suite": "influence", "smoke": True}
        return
    folder = tmp_path / "smoke" / cell.runs / f"seed_{cell.seeds[0]}"
    kinds = Counter(
        json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    )
    assert kinds["eval"] == 1 and kinds["train"]
    assert bool(kinds["lambda"]) == (cell.options["weighting"] in ("per_example", "single"))


def _skip_without_minilm():
    try:
        bert_folder(MINILM)
    except FileNotFoundError as error:
        pytest.skip(str(error))
