"""What is not finite stops a run by name, and spoils neither Lambda nor a checkpoint."""

import numpy as np
import pytest
import runs
import tensorflow as tf
from runs import MOONS, Workshop

from experiments.compare_runs import differences, newest_checkpoint
from experiments.runs import execute as running
from ssl_weighting.parameters import last_layer_curvature
from ssl_weighting.theta.step import NonFiniteError

OPTIONS = MOONS | {"checkpoint_every": 2}


def spoil_inputs(part, value):
    """Return a patch: the inputs of one set hold a value that is not finite."""

    def patch(monkeypatch):
        load = running.load_splits

        def spoiled(config, cache_dir):
            splits = load(config, cache_dir)
            getattr(splits, part).inputs[0] = value
            return splits

        monkeypatch.setattr(running, "load_splits", spoiled)

    return patch


def spoil_parameters(monkeypatch):
    """Let a parameter be NaN before the first step, and with it every loss."""
    build = Workshop.build

    def spoiled(workshop, config, splits):
        run = build(workshop, config, splits)
        kernel = run.trainer.params[0]
        kernel.assign(np.full(kernel.shape, np.nan))
        return run

    monkeypatch.setattr(Workshop, "build", spoiled)


def spoil_curvature(monkeypatch):
    """Let H hold a NaN."""
    hessian = last_layer_curvature.data_hessian
    monkeypatch.setattr(
        last_layer_curvature, "data_hessian", lambda rows: hessian(rows) * float("nan")
    )


CASES = {
    f"{part}, {value}": spoil_inputs(part, value)
    for part in ("labeled", "unlabeled", "validation", "test")
    for value in (np.nan, np.inf)
} | {"losses": spoil_parameters}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_is_named_and_nothing_is_spoiled(name, tmp_path):
    with pytest.MonkeyPatch.context() as patched:
        CASES[name](patched)
        with pytest.raises((NonFiniteError, ValueError), match=r"finite"):
            runs.run(tmp_path, Workshop(own_sources=True), **OPTIONS)
    assert not (tmp_path / "summary.json").exists()
    if list(tmp_path.glob("checkpoints/*")):
        _, state = newest_checkpoint(tmp_path)
        for key, value in state.items():
            if not key.endswith("last_influence") and value.dtype.kind == "f":
                assert np.isfinite(value).all(), key


@pytest.mark.slow
def test_a_hessian_that_is_not_finite_leaves_lambda_alone(tmp_path, monkeypatch, capsys):
    spoil_curvature(monkeypatch)
    assert runs.run(tmp_path, Workshop(), **OPTIONS)["coverage"] == 0
    assert capsys.readouterr().out.count("found no solution") == 3
    _, state = newest_checkpoint(tmp_path)
    assert (state["weights/0000/lam"] == 1).all()


@pytest.mark.slow
def test_a_run_goes_on_from_before_it(tmp_path):
    """Once the cause is gone, the last checkpoint leads to the same end."""
    workshop = Workshop()
    runs.run(tmp_path / "a", workshop, **OPTIONS)
    step = workshop.run.trainer.theta
    advance = step.advance

    def spoiled(at, count):
        if at + count > 7:
            step.params[0].assign(step.params[0] + tf.constant(float("nan")))
        advance(at, count)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step, "advance", spoiled)
        with pytest.raises(NonFiniteError, match=r"(?i)not finite .*step [78]"):
            runs.run(tmp_path / "b", workshop, **OPTIONS)
    assert newest_checkpoint(tmp_path / "b")[0] == 6
    runs.run(tmp_path / "b", workshop, **OPTIONS)
    assert differences(tmp_path / "a", tmp_path / "b") == []
