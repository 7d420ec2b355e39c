"""Every mode of Lambda, stale weights, and runs that predate an option, resume to the same bits."""

import numpy as np
import pytest
import runs
from runs import MOONS, Killed, Workshop, after, at_line, lines

from experiments.compare_runs import differences, newest_checkpoint
from ssl_weighting.checkpointing import Checkpoints, MismatchError


def killed_and_resumed(folder, workshop, monkeypatch, options, steps=(8, 12)):
    """A run killed after some of its evaluations."""
    for step in steps:
        with monkeypatch.context() as patched:
            at_line("eval", step, after)(patched)
            with pytest.raises(Killed):
                runs.run(folder, workshop, **options)
    runs.run(folder, workshop, **options)


OTHERS = {
    "single, Adam, ramp, warm-up": {
        "weighting": "single", "lambda_optimizer": "adam", "ramp_steps": 9,
        "lambda_warmup_steps": 4, "validation_as_labels": True, "threshold": 0.6,
    },
    "shuffled, global t": {"weighting": "shuffled", "madam_t": "global", "val_replace": True},
    "random, SGD, narrow range": {
        "weighting": "random", "lambda_optimizer": "sgd", "lambda_max": 1.01,
    },
    "every step scored": {"score_every_step": True},
    "two models, one Lambda": {"validation": "cross_fit"},
    "unrolled, all parameters": {
        "inverse_hessian": "unrolled", "influence_params": "all", "solve_iterations": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_modes_resume_too(tmp_path, monkeypatch, name):
    options, workshop = MOONS | OTHERS[name], Workshop()
    runs.run(tmp_path / "a", workshop, **options)
    killed_and_resumed(tmp_path / "b", workshop, monkeypatch, options)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    _, state = newest_checkpoint(tmp_path / "a")
    assert (state["weights/0000/lam"] != 1).any()


@pytest.fixture(scope="module")
def stale_workshop():
    return Workshop()


@pytest.mark.parametrize("inner_steps, due", [(1, range(12)), (2, range(0, 12, 2)), (11, (0, 11))])
def test_stale_lambda_steps_miss_no_evaluation_nor_checkpoint(
    tmp_path, monkeypatch, stale_workshop, inner_steps, due
):
    """Their theta-step counts: it may be the one before an evaluation, or the last of all."""
    options = MOONS | {
        "preset": "released", "val_size": 30, "inner_steps": inner_steps, "eval_every": 1,
        "checkpoint_every": 3, "keep_checkpoints": 9,
    }  # fmt: skip
    runs.run(tmp_path / "a", stale_workshop, **options)
    found = lines(tmp_path / "a")
    assert [x["step"] for x in found if x["kind"] == "eval"] == list(range(1, 13))
    assert [x["step"] for x in found if x["kind"] == "train"] == list(range(1, 13))
    assert [x["step"] for x in found if x["kind"] == "lambda"] == list(due)
    names = [path.name for path in Checkpoints(tmp_path / "a" / "checkpoints", {}).paths()]
    assert names == [f"ckpt-{step:09d}.npz" for step in (3, 6, 9, 12)]
    killed_and_resumed(tmp_path / "b", stale_workshop, monkeypatch, options, (2, 7, 12))
    assert differences(tmp_path / "a", tmp_path / "b") == []


def test_a_file_that_predates_a_key_had_its_default(tmp_path):
    Checkpoints(tmp_path, {"a": 1}).save(3, {"x": np.arange(3)})
    now = {"a": 1, "new": 0}
    assert Checkpoints(tmp_path, now, defaults={"new": 0, "a": 2}).restore()[0] == 3
    for changed, defaults in (({"new": 5}, {"new": 0}), ({}, {}), ({"a": 2}, {"new": 0, "a": 2})):
        with pytest.raises(MismatchError, match="belongs to another run"):
            Checkpoints(tmp_path, now | changed, defaults=defaults).restore()


def test_a_file_with_a_retired_key_goes_on_where_it_was_as_today(tmp_path):
    Checkpoints(tmp_path, {"a": 1, "old": 7}).save(3, {"x": np.arange(3)})
    assert Checkpoints(tmp_path, {"a": 1}, defaults={"old": 7}).restore()[0] == 3
    for defaults in ({"old": 8}, {}):
        with pytest.raises(MismatchError, match="old: the checkpoint has 7, this run"):
            Checkpoints(tmp_path, {"a": 1}, defaults=defaults).restore()
