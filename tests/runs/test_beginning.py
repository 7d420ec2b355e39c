"""A run starts in a new folder or where it began itself; nothing else is written over."""

import json
import shutil
from pathlib import Path

import pytest
import runs
from runs import DIGITS, Killed, after, at_line

from experiments import run_cell, run_profile, run_study, train_images, train_synthetic, train_text
from experiments.compare_runs import differences
from experiments.options.presets import make_config
from experiments.runs.beginning import refuse_foreign
from experiments.runs.run_files import FILES
from experiments.study.profiles import configs


def content(folder):
    """Return every path below a folder with its bytes and the time of its last change."""
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def profile_folder(tmp_path):
    return Path(configs("default", "toy", str(tmp_path), "")[0].out)


OPTIONS = [f"--{k}={v}" for k, v in DIGITS.items()]
CELL = ["--cell=mine", "--seed=1", *OPTIONS]
PROGRAMS = {
    "train_images": (train_images, OPTIONS, None),
    "train_synthetic": (train_synthetic, ["--dataset=moons"], None),
    "train_text": (train_text, ["--dataset=rotten_tomatoes", "--smoke"], None),
    "run_profile": (run_profile, ["--profile=default", "--family=toy"], profile_folder),
    "run_study": (
        run_study,
        ["--only=fashion_mnist_v10/fixed_1", "--record="],
        lambda out: out / "study" / "fashion_mnist_v10" / "fixed_1" / "seed_1",
    ),
    "run_cell": (run_cell, CELL, lambda out: out / "paper" / "mine" / "seed_1"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_refuses_somebody_s_own_files(program, tmp_path, monkeypatch, capsys):
    module, arguments, place = PROGRAMS[program]
    folder = place(tmp_path) if place else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text('{"mine": 1}\n')
    before = content(folder)
    # Other tests use TensorFlow in this process.
    monkeypatch.setattr("experiments.runs.execute.limit_threads", lambda config: None)
    out = "results" if program == "run_cell" else "out"
    with pytest.raises(SystemExit) as ended:
        runs.call(module, monkeypatch, *arguments, f"--{out}={tmp_path}")
    error = capsys.readouterr().err
    assert ended.value.code == 1, error
    assert f"Received: {folder}, which holds metrics.jsonl and no checkpoint" in error
    assert "config.json cannot be read" in error and "Nothing was changed" in error
    assert content(folder) == before


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_that_a_run_writes_is_looked_for(name, tmp_path):
    if name == "tensorboard":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=rf"which holds {name} and no checkpoint"):
        refuse_foreign(make_config(**DIGITS, out=str(tmp_path)))


def test_a_run_writes_no_other_files(unbroken):
    assert {path.name for path in unbroken.iterdir()} <= FILES | {"checkpoints"}


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("mine")
    before = content(tmp_path)
    refuse_foreign(make_config(**DIGITS, out=str(tmp_path)))
    refuse_foreign(make_config(**DIGITS, out=str(tmp_path / "new")))
    assert content(tmp_path) == before, "a look changes nothing, and makes no folder"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({}, "with summary.json a run is finished"), ({"wu": 3.0}, "a run is finished")],
)
def test_a_finished_run_without_checkpoints_stays(unbroken, workshop, tmp_path, changed, reason):
    copy = Path(shutil.copytree(unbroken, tmp_path / "copy"))
    shutil.rmtree(copy / "checkpoints")
    before = content(copy)
    for resume in (True, False):
        with pytest.raises(ValueError, match=reason):
            runs.run(copy, workshop, **DIGITS | changed, resume=resume)
        assert content(copy) == before


@pytest.fixture
def begun(workshop, tmp_path):
    """A run that was killed before its first checkpoint."""
    with pytest.MonkeyPatch.context() as patched:
        at_line("train", 4, after)(patched)
        with pytest.raises(Killed):
            runs.run(tmp_path / "run", workshop, **DIGITS)
    return tmp_path / "run"


def test_its_own_beginning_is_begun_again(begun, workshop, unbroken):
    assert (begun / "metrics.jsonl").stat().st_size > 0
    with open(begun / "metrics.jsonl", "a") as file:
        file.write('{"kind": "tra')  # killed amid a line
    assert runs.run(begun, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, begun) == []


OTHERS = {
    "other options": (lambda folder: None, {"wu": 3.0}, "options: wu: 1.0 there, 3.0 now"),
    "a damaged config": (lambda folder: (folder / "config.json").write_text("{"), {}, "not valid"),
    "no config": (lambda folder: (folder / "config.json").unlink(), {}, "cannot be read"),
    "lines of another program": (
        lambda folder: (folder / "metrics.jsonl").write_text('{"loss": 1}\n'), {}, "no run wrote",
    ),
    "no JSON": (
        lambda folder: (folder / "metrics.jsonl").write_bytes(b"\xff\n"), {}, "no run wrote",
    ),
    "no line": (lambda folder: (folder / "metrics.jsonl").write_text("x"), {}, "no run wrote"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_s_beginning_is_refused(name, begun, workshop):
    change, options, reason = OTHERS[name]
    change(begun)
    before = content(begun)
    with pytest.raises(ValueError, match=reason):
        runs.run(begun, workshop, **DIGITS | options)
    assert content(begun) == before


def test_a_cell_writes_over_no_other_note(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "paper" / "mine" / "seed_1"
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps({"prison": 7}))
    before = content(folder)
    with pytest.raises(SystemExit):
        runs.call(run_cell, monkeypatch, *CELL, f"--results={tmp_path}")
    assert "cell.json must be a cell's note, or missing" in capsys.readouterr().err
    assert content(folder) == before


def test_a_cell_that_is_refused_by_a_checkpoint_leaves_the_note(
    unbroken, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "paper" / "mine" / "seed_1"
    shutil.copytree(unbroken, folder)
    (folder / "summary.json").unlink()
    (folder / "cell.json").write_text(json.dumps({"cell": "mine", "departures": {}}))
    before = content(folder)
    options = [*CELL, "--runs=mine", "--cell=other", "--wu=3.0", f"--results={tmp_path}"]
    with pytest.raises(SystemExit):
        runs.call(run_cell, monkeypatch, *options)
    assert "belongs to another run" in capsys.readouterr().err
    assert content(folder) == before
