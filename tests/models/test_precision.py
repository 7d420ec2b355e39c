"""--precision: what is computed in half precision, what stays wide, and that it trains.

Half-precision convolutions are slow on a CPU: the nets here have two channels.
"""

import functools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from runs import DIGITS, Workshop, built_by

from experiments.assemble import build as building
from experiments.options.config import Config
from experiments.options.presets import make_config
from ssl_weighting.lambda_step import LambdaStep
from ssl_weighting.models import PRECISIONS, mlp, wide_resnet
from ssl_weighting.training.settings import lambda_settings

MIXED = PRECISIONS[1:]
OPTIONS = DIGITS | {"score_every_step": True}


@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize("make", [
    functools.partial(mlp, 3, 4, width=5),
    functools.partial(wide_resnet, (8, 8, 1), 4, depth=10, width=1, base_filters=2, num_angles=4),
])  # fmt: skip
def test_layers_compute_in_half_and_their_variables_and_outputs_are_float32(make, precision):
    model, half = make(precision=precision), precision.removeprefix("mixed_")
    assert {v.dtype for v in model.variables} == {"float32"}
    inner = [layer for layer in model.layers[1:] if "head" not in layer.name]
    inner = [layer for layer in inner if layer.name not in ("features", "wide_features")]
    assert inner and {layer.compute_dtype for layer in inner} == {half}
    outputs = model(tf.ones([2, *model.input_shape[1:]]))
    assert {value.dtype for value in outputs.values()} == {tf.float32}
    assert make().count_params() == model.count_params()
    assert {value.dtype for value in make()(tf.ones([2, *model.input_shape[1:]])).values()} == {
        tf.float32
    }


def test_batch_norm_does_its_sums_in_float32():
    layer = keras.layers.BatchNormalization(epsilon=1e-3, dtype="mixed_float16")
    x = tf.cast(300 + tf.random.stateless_normal([64, 2], [1, 2]), tf.float16)
    y = layer(x, training=True)  # 300^2 is no float16
    assert y.dtype == tf.float16
    np.testing.assert_allclose(np.var(tf.cast(y, tf.float64), axis=0), 1.0, atol=0.02)
    assert {v.dtype for v in layer.variables} == {"float32"}


@functools.cache
def _splits():
    return building.load_splits(make_config(out="unused", **OPTIONS))


@functools.cache
def _workshop(precision):
    del precision  # one of its own, whose functions are compiled once
    return Workshop()


def _run(precision):
    config = make_config(out="unused", precision=precision, **OPTIONS)
    with built_by(None):
        return _workshop(precision).build(config, _splits())


def _measured(run, at=0):
    trainer, k = run.trainer, tf.constant(at, tf.int64)
    settings = lambda_settings(building.settings_of(run.config))
    step = LambdaStep(trainer.model, trainer.algorithm, trainer.store, settings)
    batch = trainer.lambda_source.at(k)
    return step.measure(*batch, trainer.validation_at(k), trainer.step), step, batch[1].strong


@pytest.mark.parametrize("precision", [MIXED[0], pytest.param(MIXED[1], marks=pytest.mark.slow)])
def test_eq_6_and_lambda_stay_wide_while_a_mixed_run_trains(precision):
    plain, mixed = _run("float32"), _run(precision)
    before = mixed.trainer.train(1)["loss"]
    assert plain.trainer.train(1)["loss"] == pytest.approx(before, rel=0.03)
    for mine, theirs in zip(mixed.trainer.params, plain.trainer.params, strict=True):
        mine.assign(theirs.value)
    for mine, theirs in zip(
        mixed.trainer.model.non_trainable_variables,
        plain.trainer.model.non_trainable_variables,
        strict=True,
    ):
        mine.assign(theirs.value)
    found, step, images = _measured(mixed)
    entering = step.parameters.forward(images)
    assert {value.dtype for value in entering.values()} == {tf.float32}
    assert found.val_direction.dtype == tf.float64 and found.lam_gradient.dtype == tf.float32
    tables = {v.dtype for v in mixed.trainer.store.variables}
    assert tables - {"int64"} == {"float32", "float64"}  # M-Adam's second moments
    assert {v.dtype for v in mixed.trainer.ema.shadow} == {"float32"}
    wide = _measured(plain)[0].lam_gradient.numpy()
    correlation = scipy.stats.spearmanr(found.lam_gradient.numpy(), wide).statistic
    assert correlation > 0.95 and np.any(found.lam_gradient.numpy() != wide)
    mixed.trainer.lambda_step()
    assert np.ptp(mixed.trainer.store.table().numpy()) > 0
    losses = [mixed.trainer.theta.take(step, 4)["loss"] for step in (1, 5, 9, 13)]
    assert losses[-1] < 0.98 * losses[0]
    assert all(np.isfinite(v.numpy()).all() for v in mixed.trainer.params)


def test_a_gradient_that_overflows_halves_the_loss_scale_and_moves_nothing():
    run = _run("mixed_float16")
    trainer, scale = run.trainer, run.trainer.optimizer.dynamic_scale
    start, first = [v.numpy() for v in trainer.params], float(scale.numpy())
    scale.assign(2.0**60)
    assert np.isfinite(trainer.train(1)["loss"])
    assert float(scale.numpy()) == 2.0**59 and first == 2.0**15
    for value, param in zip(start, trainer.params, strict=True):
        np.testing.assert_array_equal(param.numpy(), value)
    scale.assign(first)
    trainer.train(1)
    assert any(np.any(v.numpy() != old) for v, old in zip(trainer.params, start, strict=True))
    assert float(trainer.optimizer.iterations.numpy()) == 1.0


@pytest.mark.parametrize(("options", "message"), [
    ({"precision": "float64"}, "--precision must be one of float32, mixed_float16, mixed_bfloat16"),
    (
        {"precision": "mixed_float16", "influence_params": "all"},
        "--precision=mixed_float16 needs --influence_params=last_layer",
    ),
    (
        {"precision": "mixed_bfloat16", "algorithm": "vat"},
        "--algorithm=vat needs --precision=float32.*Received: --precision=mixed_bfloat16",
    ),
])  # fmt: skip
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
