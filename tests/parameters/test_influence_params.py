"""Λ-steps through any parameters, by every method and engine, inside the real trainer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TinySource, make_trainer
from trainer_states import shared

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.inverse_hessian import METHODS, SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.per_example_gradients import ENGINES

SETTINGS = BilevelSettings(inner_steps=4, weight_decay=0.01)


def settings(method="exact", params="last_layer", **more):
    solve = SolveOptions(damping=0.3, iterations=4)
    return LambdaStepSettings(influence_params=params, inverse_hessian=method, solve=solve, **more)


def measured(lambda_settings):
    trainer = make_trainer(settings=SETTINGS, lambda_settings=lambda_settings)
    batch = TinySource(offset=7).at(0)
    return trainer._lambda_step.measure(*batch, TinySource().validation_at(0), trainer.step)


def test_the_last_layer_by_name_is_the_last_layer_in_closed_form():
    closed = measured(settings())
    for params in ("head", r"head/(kernel|bias)$"):
        found = measured(settings(params=params))
        np.testing.assert_array_equal(found.ids, closed.ids)
        np.testing.assert_allclose(found.lam_gradient, closed.lam_gradient, rtol=2e-3, atol=1e-6)
    assert np.abs(closed.lam_gradient).max() > 1e-3


# The methods below go through all parameters too; a part of them is what engines have to cut out.
@pytest.mark.parametrize("params", ["hidden_1|head", pytest.param("all", marks=pytest.mark.slow)])
def test_engines_agree(params):
    usual = measured(settings(params=params))
    assert np.abs(usual.lam_gradient).max() > 1e-3
    for engine in ENGINES.keys() - {settings().per_example_engine}:
        found = measured(settings(params=params, per_example_engine=engine))
        np.testing.assert_allclose(found.lam_gradient, usual.lam_gradient, rtol=1e-3, atol=1e-6)
    chunked = measured(settings(params=params, max_memory=40_000))
    np.testing.assert_allclose(chunked.lam_gradient, usual.lam_gradient, rtol=1e-3, atol=1e-6)


first = shared(lambda: make_trainer(settings=SETTINGS))


def with_theta_steps_of(other, lambda_settings):
    """Return a trainer on the net and the weights of another, whose steps are compiled already."""
    parts = {"model": other.model, "optimizer": other.optimizer, "store": other.store}
    trainer = make_trainer(settings=SETTINGS, lambda_settings=lambda_settings, **parts)
    trainer.theta = other.theta
    return trainer


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("params", ["last_layer", "all"])
def test_every_method_moves_weights_in_a_run(method, params):
    trainer = with_theta_steps_of(first(), settings(method, params))
    reports = [event.report for event in trainer.steps(9) if event.kind == "lambda"]
    assert len(reports) == 2 and not any(r["skipped"] for r in reports), reports
    assert trainer.step == 9 and (trainer.store.table().numpy() != 1).sum() >= 20
    assert np.isfinite(trainer.store.table()).all()


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_unrolled_repeats_the_very_steps_that_were_taken(optimizer):
    make = {
        "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        "adam": lambda: keras.optimizers.Adam(0.01),
    }[optimizer]
    trainer = make_trainer(
        settings=SETTINGS, lambda_settings=settings("unrolled", "all"), optimizer=make()
    )
    trainer.store.lam.assign(np.linspace(0, 2, trainer.store.num_unlabeled))
    list(trainer.steps(4))
    replay = trainer.replay
    assert int(replay.first.value) == 0
    unroll = replay.unroll(replay.tensors(4))
    state = unroll.start()
    for k in range(unroll.count):
        state = unroll.step(k, state, tf.zeros([trainer.parameters.size]))
    np.testing.assert_allclose(unroll.params(state), unroll.reached(), atol=1e-6)
    start = unroll.params(unroll.start())
    assert np.abs(start - unroll.reached()).max() > 1e-2


def test_unrolled_without_the_state_of_k_steps_ago_is_refused():
    trainer = make_trainer(settings=SETTINGS, lambda_settings=settings("unrolled", "all"))
    with pytest.raises(
        ValueError, match="4 theta-steps before the Lambda-step must have been kept"
    ):
        trainer.lambda_step()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="`influence_params` must find a trainable variable"):
        make_trainer(lambda_settings=settings(params="no_such_layer"))
    with pytest.raises(ValueError, match="`per_example_engine` must be one of forward, ghost"):
        settings(per_example_engine="backpack")
    with pytest.raises(ValueError, match="`max_memory` must be >= 1 and a whole number"):
        settings(max_memory=0)


@pytest.mark.parametrize(
    "options",
    [
        {"influence_params": "all", "per_example_engine": "layerwise_vectorized"},
        {"influence_params": "head", "validation": "cross_fit"},
    ],
)
def test_programs_print_the_path_and_memory_of_each_layer(tmp_path, capsys, options):
    import runs

    more = options | {"inverse_hessian": "conjugate_gradient", "steps": 4}
    runs.run(tmp_path, **runs.MOONS | more)
    text = capsys.readouterr().out
    assert "kB an example" in text and "head" in text
    assert ("hidden_0" in text) == (options["influence_params"] == "all")
    assert "with all layers, of which some have no parameters: " in text
    report = next(line for line in runs.lines(tmp_path) if line["kind"] == "lambda")
    assert report["solve"] in ("converged", "truncated") and report["iterations"] > 0


def test_too_little_memory_is_told_before_the_run_starts():
    trainer = make_trainer(lambda_settings=settings(params="all", max_memory=10))
    with pytest.raises(ValueError, match=r"`max_memory` must be at least \d+ bytes .*GB"):
        trainer.parameters.plan(TinySource().at(0)[0].inputs[:1])
