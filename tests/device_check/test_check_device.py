"""The program: what it finds on this CPU, what it must find, and what it is asked."""

import json
import shutil
import subprocess
import sys

import pytest
from absl import flags
from places import ROOT

from experiments import check_device
from experiments.device_check import records
from experiments.device_check.cases import CASES, FLOAT32
from experiments.device_check.check import check, checked
from experiments.device_check.page import verdict
from ssl_weighting.algorithms import ALGORITHMS
from ssl_weighting.weight_store import WeightStore

SMALL = CASES["mlp_fixmatch"]
MOST_BYTES = 200_000


def parse(*arguments):
    values = flags.FlagValues()
    check_device.define_flags(values)
    values(["check_device", *arguments])
    return values


@pytest.fixture(scope="module")
def recorded():
    return records.read(SMALL.name)


def test_traces_are_small_and_can_be_read():
    paths = sorted(records.FOLDER.glob("*.json"))
    names = {path.stem for path in paths}
    assert names == CASES.keys()
    assert sum(path.stat().st_size for path in paths) < MOST_BYTES
    for name in names:
        trace, case = records.read(name), CASES[name]
        assert len(trace.loss) == case.steps
        learned = len(trace.lambda_steps)
        assert learned == (0 if name == "supervised" else 4 if case.steps == 20 else 1), name
        assert all(len(one["ids"]) == len(one["lam"]) >= 24 for one in trace.lambda_steps)
    assert {case.options["algorithm"] for case in CASES.values()} == set(ALGORITHMS)


def test_a_case_passes_where_it_was_recorded_and_is_timed(recorded):
    row = checked(SMALL, FLOAT32, recorded, seconds=0.05)
    assert row.passed and row.deviation.share < 0.5, row.deviation
    assert row.played.step_seconds > 0 and row.played.lambda_seconds > 0
    assert row.played.peak_mb is None or row.played.peak_mb > 50


@pytest.mark.parametrize(
    "disturbed", [{"wu": 1.01}, {"damping": 0.102}, {"learning_rate": 0.0301}, {"ema_decay": 0.5}]
)
def test_one_coefficient_that_is_off_by_a_little_is_found(recorded, disturbed):
    row = checked(SMALL, FLOAT32, recorded, **disturbed)
    same = disturbed == {"ema_decay": 0.5}  # what the case has
    assert row.played and row.passed == same, row.deviation
    if "wu" in disturbed:  # 1 % of the unlabeled loss, where 0.02 % of the whole is allowed
        assert abs(row.played.trace.loss[0] / recorded.loss[0] - 1) > 2e-4


def test_weights_that_do_not_move_are_found(recorded, monkeypatch):
    monkeypatch.setattr(WeightStore, "update", lambda self, ids, gradient: None)
    row = checked(SMALL, FLOAT32, recorded)
    assert not row.passed


def test_an_error_on_the_way_is_a_row_that_fails(recorded, monkeypatch):
    def fails(*_):
        raise RuntimeError("no kernel\n   for this device")

    monkeypatch.setattr(WeightStore, "update", fails)
    row = checked(SMALL, FLOAT32, recorded)
    assert not row.passed and row.played is None
    assert row.deviation.where == "RuntimeError: no kernel for this device"
    assert verdict([row]) == "FAIL: 1 of 1: mlp_fixmatch (float32)"


def test_nothing_is_played_where_a_trace_is_damaged(tmp_path):
    shutil.copy(records.FOLDER / "mlp_uda.json", tmp_path)
    with pytest.raises(ValueError, match=r"mlp_fixmatch\.json must be a trace"):
        check([CASES["mlp_uda"], SMALL], 0, 1, 0.0, tmp_path, pytest.fail)


def test_the_command_line_chooses_cases_before_tensorflow_is_there():
    assert [case.name for case in check_device.cases_of(parse("--cases=mlp_*"))] == [
        "mlp_fixmatch",
        "mlp_uda",
        "mlp_vat",
    ]
    assert len(check_device.cases_of(parse())) == len(CASES)
    with pytest.raises(ValueError, match=r"--cases must match some of mlp_fixmatch, .*: 'none'"):
        check_device.cases_of(parse("--cases=none"))
    with pytest.raises(ValueError, match=r"--record must be left without --devices: .*=2"):
        check_device.cases_of(parse("--record", "--devices=2"))
    with pytest.raises(ValueError, match=r"--seconds would do nothing here.* --seconds=2\. Leave"):
        check_device.cases_of(parse("--record", "--seconds=2"))
    with pytest.raises(ValueError, match=r"--devices must be one of 0, 1, 2, 4, 8\. Received: 3"):
        check_device.cases_of(parse("--devices=3"))
    code = "import sys, experiments.check_device; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def program(*arguments):
    command = [sys.executable, "-m", "experiments.check_device", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_a_wrong_trace_ends_the_program_with_1(tmp_path):
    content = json.loads((records.FOLDER / f"{SMALL.name}.json").read_text())
    influence = content["lambda_steps"][2]["influence"]
    largest = max(range(len(influence)), key=lambda k: abs(influence[k]))
    influence[largest] *= 1.01
    (tmp_path / f"{SMALL.name}.json").write_text(json.dumps(content))
    done = program(f"--cases={SMALL.name}", f"--traces={tmp_path}", "--seconds=0")
    assert done.returncode == 1, done.stderr[-2000:]
    assert "no GPU is found, so this checks the CPU" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("| mlp_fixmatch")]
    assert ["float32 | FAIL" in lines[0], "mixed_float16 | pass" in lines[1]] == [True, True]
    assert "an influence before step 11" in lines[0] and "jit | FAIL" in lines[2]
    last = "FAIL: 2 of 3: mlp_fixmatch (float32), mlp_fixmatch (jit)"
    assert done.stdout.splitlines()[-1] == last


@pytest.mark.slow
def test_recording_here_gives_what_is_shipped(tmp_path):
    assert program("--record", f"--cases={SMALL.name}", f"--traces={tmp_path}").returncode == 0
    ours = records.read(SMALL.name, tmp_path)
    row = checked(SMALL, FLOAT32, ours)
    assert row.passed and row.deviation.share < 1e-3  # this machine, again
    assert checked(SMALL, FLOAT32, records.read(SMALL.name)).passed


@pytest.mark.slow
def test_two_devices_pass_too_and_every_small_case():
    small = ",".join(name for name, case in CASES.items() if case.steps == 20)
    done = program(f"--cases={small}", "--devices=2", "--seconds=0")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert done.stdout.count("| devices=2 | pass |") == 2
