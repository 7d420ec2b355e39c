"""What a run leaves to score by: its raw model and v, equal to training's own; refusals."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import runs
from runs import DIGITS

from experiments.assemble.build import settings_of
from experiments.compare_runs import newest_checkpoint
from experiments.options.presets import make_config
from experiments.runs import state
from experiments.runs.saved_model import read_run
from experiments.runs.scorer_files import read_scorer, reason_for_none
from experiments.serving import pile_scorer
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.inverse_hessian import STATUS
from ssl_weighting.lambda_step import LambdaStep, make_parameters
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.settings import lambda_settings


@pytest.fixture(scope="module")
def raw(unbroken):
    return keras.models.load_model(unbroken / "scorer" / "model.keras", compile=False)


def test_a_run_leaves_its_raw_model_and_v(unbroken, recorded, raw):
    step, kept = newest_checkpoint(unbroken)
    average = keras.models.load_model(unbroken / "model.keras", compile=False)
    assert recorded.settings["step"] == step == DIGITS["steps"]
    groups = (
        ("params", raw.trainable_variables, average.trainable_variables),
        ("non_trainable", raw.non_trainable_variables, average.non_trainable_variables),
    )
    for group, variables, _ in groups:
        saved = [value for key, value in sorted(kept.items()) if key.startswith(f"{group}/")]
        assert len(saved) == len(variables) > 0
        for variable, value in zip(variables, saved, strict=True):
            np.testing.assert_array_equal(variable, value)
    assert any((np.array(a) != b).any() for a, b in zip(*groups[0][1:], strict=True))
    assert recorded.direction.dtype == np.float64
    assert recorded.direction.shape == (np.prod(raw.trainable_variables[-2].shape) + 10,)
    assert recorded.settings["solved"]["status"] in STATUS
    assert recorded.settings["class_names"] == list("0123456789")


def test_scores_are_the_lambda_gradient_of_the_run(unbroken, recorded, raw):
    """Training's own function, on the batch of the next Lambda-step, V' = V."""
    run = runs.unbroken_run()[1].run
    state.restore(run, *newest_checkpoint(unbroken))
    trainer, s = run.trainer, run.trainer.settings
    settings = dataclasses.replace(lambda_settings(settings_of(run.config)), infl_bn="moving")
    parameters = make_parameters(trainer.model, settings, s.weight_decay, s.weight_decay_scope)
    made = trainer.model, trainer.algorithm, trainer.store, settings
    step = LambdaStep(*made, parameters=parameters)
    v = run.splits.validation
    labeled, unlabeled = trainer.lambda_source.at(trainer.lambda_steps)
    whole = LabeledBatch(clean_view(v.inputs), v.labels)
    measured = step.measure(labeled, unlabeled, whole, trainer.step)
    np.testing.assert_allclose(recorded.direction, measured.val_direction, rtol=1e-3, atol=1e-6)
    scorer = pile_scorer._made(recorded, raw, 16)
    found = scorer.scores(unlabeled.weak, unlabeled.strong).influence
    expected = measured.lam_gradient.numpy()
    by_id = dict(zip(measured.ids.numpy(), expected, strict=True))
    ids = unlabeled.ids.numpy()
    assert len(set(ids)) == len(ids) and np.ptp(expected) > 0
    close = {"rtol": 0, "atol": 1e-5 * np.abs(expected).max()}
    np.testing.assert_allclose(found, [by_id[k] for k in ids], **close)


REASONS = {
    "fixed": {"weighting": "fixed"},
    "points": {"dataset": "moons"},
    "cross_fit": {"validation": "cross_fit", "folds": 2},
    "refit": {"refit": True},
    "mixmatch": {"algorithm": "mixmatch"},
    "released": {"algorithm": "pseudo_label", "preset": "released"},
    "unrolled": {"inverse_hessian": "unrolled"},
    "mixed": {"feature_views": "mixed", "model": "features", "dataset": "features:x"},
}


@pytest.mark.parametrize("name", REASONS)
def test_a_run_that_leaves_nothing_says_why(name):
    config = make_config(**DIGITS)
    assert reason_for_none(config) == ""
    assert name in reason_for_none(dataclasses.replace(config, **REASONS[name]))


DAMAGE = {
    "a model of another run": ("model.keras", lambda b: b + b"x", "must have the SHA-256"),
    "another v": ("direction.npz", lambda b: b[:-1], "must have the SHA-256"),
    "a missing file": ("direction.npz", None, "cannot be read: No such file"),
    "settings": ("scorer.json", lambda b: b[:40], "is not valid JSON"),
    "another version": (
        "scorer.json",
        lambda b: b.replace(b'"format": 1', b'"format": 2'),
        "must have format 1",
    ),
    "no scorer": ("scorer.json", None, "must be a run that left scorer/"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_scorer_is_refused(name, unbroken, tmp_path):
    copy = Path(shutil.copytree(unbroken, tmp_path / "run"))
    file, change, message = DAMAGE[name]
    path = copy / "scorer" / file
    if change:
        path.write_bytes(change(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises((ValueError, OSError), match=message):
        read_scorer(copy, read_run(copy))


def test_files_that_do_not_belong_together_are_refused(unbroken, recorded):
    other = recorded._replace(settings=recorded.settings | {"theta": "0" * 64})
    with pytest.raises(ValueError, match="must hold the model that its v is of"):
        pile_scorer.pile_scorers(unbroken, read_run(unbroken), other)
    wrong = recorded._replace(direction=recorded.direction[:-1])
    with pytest.raises(ValueError, match=r"scorer.json must tell.*`direction` must be"):
        pile_scorer.pile_scorers(unbroken, read_run(unbroken), wrong)
