"""Files that a run does not need stop no run, whatever lies there or befalls them."""

import errno
import shutil

import numpy as np
import pytest
import runs
import tensorflow as tf
from runs import DIGITS, lines

from experiments.assemble.build import load_splits
from experiments.compare_runs import differences
from experiments.options.presets import make_config
from experiments.runs import board as boards
from experiments.runs import times as timing
from experiments.runs.snapshots import Snapshots

GOOD = b'{"step": 4, "elapsed_seconds": 7.5, "theta_seconds": 5, "lambda_seconds": 1}\n'
FOREIGN = {
    "bytes": b"\xff\xfe\n\x00\n",
    "another object": b"{}\n",
    "a list": GOOD + b"[1, 2]\n",
    "a text": b'"step"\n',
    "a step in words": GOOD.replace(b"4", b'"four"'),
    "no seconds": b'{"step": 4}\n',
    "not finite": GOOD.replace(b"7.5", b"NaN"),
    "negative": GOOD.replace(b"7.5", b"-7.5"),
    "huge": GOOD.replace(b"7.5", b"1" * 400),
    "too huge to parse": GOOD.replace(b"7.5", b"1" * 5000) + GOOD,
    "deep": b"[" * 100_000 + b"\n" + GOOD,
    "damaged amid": GOOD + GOOD[:30] + b"\n" + GOOD,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_times_are_put_aside(tmp_path, capsys, name):
    path = tmp_path / "timing.jsonl"
    path.write_bytes(FOREIGN[name])
    times = timing.Times(path)
    assert times.cut(9) == {}
    times.add({"step": 10})
    assert (tmp_path / "timing.jsonl.foreign").read_bytes() == FOREIGN[name]
    assert lines(tmp_path, "timing.jsonl") == [{"step": 10}]
    assert "timing.jsonl.foreign, times count anew" in capsys.readouterr().out


def test_what_was_put_aside_before_stays(tmp_path, capsys):
    path = tmp_path / "timing.jsonl"
    for content in ("[1]\n", "[2]\n", "[3]\n"):
        path.write_text(content)
        timing.Times(path).cut(9)
    found = {p.name: p.read_text() for p in tmp_path.glob("*.foreign*")}
    names = [f"timing.jsonl.foreign{end}" for end in ("", ".2", ".3")]
    assert found == dict(zip(names, ("[1]\n", "[2]\n", "[3]\n"), strict=True))
    assert f"kept as {names[2]}, times count anew" in capsys.readouterr().out


def test_own_times_go_on_to_the_step_of_the_checkpoint(tmp_path, capsys):
    path = tmp_path / "timing.jsonl"
    path.write_bytes(GOOD + GOOD.replace(b"4", b"8") + GOOD.replace(b"4", b"12") + GOOD[:20])
    assert timing.Times(path).cut(8)["step"] == 8
    assert [line["step"] for line in lines(tmp_path, "timing.jsonl")] == [4, 8]
    assert timing.Times(path).cut(0) == {} and path.read_bytes() == b""
    assert capsys.readouterr().out == "" and len(list(tmp_path.iterdir())) == 1


def folder_instead(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def file_instead(path):
    shutil.rmtree(path)
    path.write_text("mine")


DAMAGES = {
    "timing.jsonl": [folder_instead, lambda path: path.write_bytes(b"\xff{}\n[]\n")],
    "tensorboard": [file_instead],
}
CASES = [(name, damage) for name, damages in DAMAGES.items() for damage in damages]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_resume_goes_on_without(name, damage, workshop, unbroken, copy, capsys):
    (copy / "checkpoints" / "ckpt-000000024.npz").unlink()
    damage(copy / name)
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    said = capsys.readouterr().out
    assert "resuming at step 18" in said and str(copy / name) in said
    assert differences(unbroken, copy) == []


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def exhausted(*_, **__):
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


def test_a_disk_that_fills_up_under_them_is_told_once(tmp_path, monkeypatch, capsys):
    times, board = timing.Times(tmp_path / "timing.jsonl"), boards.Board(tmp_path / "tensorboard")
    monkeypatch.setattr(timing, "open", full, raising=False)
    monkeypatch.setattr(tf.summary, "scalar", exhausted)
    for step in (1, 2):
        times.add({"step": step})
        board.scalars("train", step, {"loss": 1.0})
        board.histogram(step, np.ones(3))
    board.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("timing.jsonl cannot be written (No space left on device); going on "
                          "without it")  # fmt: skip
    assert "tensorboard cannot be written (No space left on device); going on" in second


SPLITS = {"dataset": "moons", "num_unlabeled": 9, "num_test": 9}


@pytest.mark.parametrize(
    "content",
    [b"", b"mine", {"iterations": np.array([1])}, {"probability": (1, 3, 3)}, {"lam": (1, 5)}],
)
def test_damaged_snapshots_are_made_anew(tmp_path, capsys, content):
    splits = load_splits(make_config(**SPLITS))
    taken = Snapshots(splits, tmp_path, {5: 1}, 5)
    taken.taken[1] = np.zeros((120, 120)), np.ones(9)
    taken._write()
    path = tmp_path / "snapshots.npz"
    assert Snapshots(splits, tmp_path, {5: 1}, 6).taken.keys() == {1}
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif "iterations" in content:
        np.savez(path, **content)
    else:
        ((name, shape),) = content.items()
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays | {name: np.zeros(shape)})
    assert Snapshots(splits, tmp_path, {5: 1}, 6).taken == {}
    assert "its earlier pictures are lost" in capsys.readouterr().out
