"""Signals to a program of its own, also while TensorFlow compiles and hears nothing."""

import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

from experiments.compare_runs import differences, newest_checkpoint

OPTIONS = [
    "--dataset=digits", "--image_size=8", "--depth=10", "--width=1", "--base_filters=8",
    "--steps=4000", "--log_every=4000", "--eval_every=4000", "--checkpoint_every=4000",
    "--num_unlabeled=200", "--num_test=40", "--labeled_batch=32", "--inner_steps=2000",
]  # fmt: skip


def started(out, *more):
    command = [sys.executable, "-u", "-m", "experiments.train_images", *OPTIONS, *more]
    return subprocess.Popen(
        [*command, f"--out={out}"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def line_with(stream, text):
    """Return the next line that holds a text."""
    return next(line for line in stream if text in line)


@pytest.mark.slow
def test_a_signal_is_answered_at_once_and_obeyed_soon(tmp_path):
    """The one block of the run would take minutes."""
    process = started(tmp_path)
    line_with(process.stdout, "/4000")  # a piece is done
    time.sleep(4)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert "a checkpoint will be saved and the run stopped within" in line_with(
        process.stderr, "received SIGTERM"
    )
    assert time.monotonic() - asked < 2
    process.communicate(timeout=60)
    assert time.monotonic() - asked < 30
    assert process.returncode == 143
    step, state = newest_checkpoint(tmp_path)
    assert 0 < step < 4000 and state["unreported"][0][0] == step


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_one_ends_it_while_it_compiles(tmp_path, number, heard_signals):
    process = started(tmp_path, "--jit")
    line_with(process.stdout, "data: ")
    while not (tmp_path / "timing.jsonl").exists():  # then the first step is traced and compiled
        time.sleep(0.05)
    asked = time.monotonic()
    process.send_signal(number)
    first = line_with(process.stderr, f"received {number.name}")
    assert "after the first step, which may take minutes" in first
    process.send_signal(number)
    assert "stopping at once" in line_with(process.stderr, "again")
    process.communicate(timeout=60)
    assert time.monotonic() - asked < 5
    assert process.returncode == 128 + number
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.slow
def test_pieces_of_any_size_make_the_same_run(tmp_path):
    """A machine that is stopped now and then takes its steps in other pieces."""
    few = ["--steps=60", "--log_every=60", "--eval_every=60", "--checkpoint_every=60",
           "--inner_steps=25"]  # fmt: skip
    for name in ("a", "b"):
        process = started(tmp_path / name, *few)
        while name == "b" and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.3)
        assert process.wait() == 0 or process.communicate()
    assert differences(tmp_path / "a", tmp_path / "b") == []
