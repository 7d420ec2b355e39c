"""Killed at every fsync and every rename of a run, it goes on to the same bits."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import runs
from dying import dying_at
from places import ROOT
from runs import MOONS, Killed, Workshop, lines

from experiments.compare_runs import differences
from experiments.runs.record import read_run

OPTIONS = MOONS | {"checkpoint_every": 4, "keep_checkpoints": 2}


@pytest.fixture(scope="module")
def workshop():
    return Workshop()


@pytest.fixture(scope="module")
def unbroken(workshop, tmp_path_factory):
    """A run that nobody stopped, and how many calls there were to die at."""
    folder = tmp_path_factory.mktemp("unbroken")
    with dying_at(-1) as calls:
        runs.run(folder, workshop, **OPTIONS)
    return folder, len(calls)


@pytest.mark.slow
def test_killed_at_every_call_it_ends_the_same(workshop, unbroken, tmp_path):
    folder, count = unbroken
    assert count > 15
    for place in range(1, count + 1):
        out = tmp_path / str(place)
        with pytest.raises(Killed), dying_at(place):
            runs.run(out, workshop, **OPTIONS)
        assert runs.run(out, workshop, **OPTIONS)["status"] == "complete", place
        assert differences(folder, out) == [], place
        assert read_run(out).remarks == ()
        lines(out, "timing.jsonl")
        shutil.rmtree(out)


@pytest.mark.slow
def test_a_resumed_run_is_killed_again_and_again(workshop, unbroken, tmp_path):
    folder, _ = unbroken
    for place in (3, 5, 7, 9, 4, 6, 8):
        with pytest.raises(Killed), dying_at(place):
            runs.run(tmp_path, workshop, **OPTIONS)
    assert runs.run(tmp_path, workshop, **OPTIONS)["status"] == "complete"
    assert differences(folder, tmp_path) == []


CHILD = """
import os, signal, sys
from experiments.runs import execute
from experiments import train_synthetic
from absl import app
calls = []
def dying(original):
    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) == int(os.environ["DIE_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return call
os.replace, os.fsync = dying(os.replace), dying(os.fsync)
train_synthetic.define()
app.run(train_synthetic.main)
"""


@pytest.mark.slow
def test_sigkill_in_processes_of_their_own(tmp_path):
    """Snapshots are written too, a file that is made anew again and again."""
    options = ["--dataset=moons", "--steps=60", "--checkpoint_every=20", "--eval_every=30",
               "--inner_steps=2", "--num_test=40", "--num_unlabeled=40"]  # fmt: skip
    found = {}
    for name, deaths in {"a": (), "b": (2, 9, 21)}.items():
        for die_at in (*deaths, 0):
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *options, f"--out={tmp_path / name}"],
                cwd=ROOT, env=os.environ | {"DIE_AT": str(die_at)}, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == (-signal.SIGKILL if die_at else 0), done.stderr
        found[name] = read_run(tmp_path / name)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    for array, other in zip(*(found[n].snapshots.values() for n in "ab"), strict=True):
        assert array.tobytes() == other.tobytes()
