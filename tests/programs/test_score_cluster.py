"""The scripts that score on a cluster: every shard once, under the variables of the schedulers."""

import os
import subprocess

import pytest
import yaml
from places import ROOT

from experiments.score import shard_of

CLUSTER = ROOT / "docs" / "cluster"
GIVEN = ["--run=a b", "--input=folder:p", "--out=o"]


@pytest.fixture
def started(tmp_path):
    """Start a command whose `python` tells its arguments; return its exit code and these."""

    def started(command, code=0, **variables):
        told, fake = tmp_path / "told", tmp_path / "python"
        told.unlink(missing_ok=True)
        fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{told}"\nexit {code}\n')
        fake.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        environ = {"PATH": path} | variables
        made = subprocess.run(command, env=environ, check=False, capture_output=True)
        return made.returncode, told.read_text().splitlines() if told.exists() else []

    return started


def array(tmp_path, task, first=0, last=3, count=4):
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    named = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}
    return named | {"SLURM_SUBMIT_DIR": str(tmp_path)}


BATCH = ["bash", str(CLUSTER / "score.sbatch"), *GIVEN]


def test_an_array_of_slurm_has_a_shard_a_task(started, tmp_path):
    for task in range(4):
        code, told = started(BATCH, **array(tmp_path, task))
        assert code == 0
        assert told == ["-m", "experiments.score", *GIVEN, f"--shard={task}/4"]


def test_some_tasks_again_must_say_how_many_shards_there_were(started, tmp_path):
    some = array(tmp_path, 7, 3, 7, 2)
    assert started(BATCH, **some) == (1, [])
    assert started(BATCH, **array(tmp_path, 1, 1, 4, 4)) == (1, [])
    code, told = started(BATCH, **some, SHARDS="16")
    assert (code, told[-1]) == (0, "--shard=7/16")
    assert started(BATCH, SLURM_SUBMIT_DIR=str(tmp_path))[0] != 0  # no array


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 0), (137, 137)])
def test_what_cannot_be_read_fails_no_task(started, tmp_path, code, expected):
    found, _ = started(BATCH, code, **array(tmp_path, 0))
    # `||` hands on the test's own code, which is 1 for all but 2.
    assert bool(found) == bool(expected)
    _, container = job()
    found, _ = started(container["command"], code, JOB_COMPLETION_INDEX="0", SHARDS="16")
    assert found == expected


def job():
    spec = yaml.safe_load((CLUSTER / "score.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    return spec, container


def test_an_indexed_job_has_a_shard_a_pod(started):
    spec, container = job()
    assert spec["completionMode"] == "Indexed" and spec["parallelism"] <= spec["completions"]
    environ = {one["name"]: one["value"] for one in container["env"]}
    shards = []
    for index in range(spec["completions"]):
        code, told = started(container["command"], JOB_COMPLETION_INDEX=str(index), **environ)
        assert code == 0 and told[:2] == ["-m", "experiments.score"]
        (shard,) = (one for one in told if one.startswith("--shard="))
        shards.append(shard_of(shard.removeprefix("--shard=")))
    assert shards == [(k, spec["completions"]) for k in range(spec["completions"])]
