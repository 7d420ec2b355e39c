"""The fused kernel of training steps against Keras' own BatchNormalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.theta.fused_batch_norm import FusedBatchNorm


def _layer(shape, **options):
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, **options)
    layer.build([None, *shape])
    rng = np.random.default_rng(0)
    layer.gamma.assign(rng.normal(size=shape[-1]))
    layer.beta.assign(rng.normal(size=shape[-1]))
    return layer


def _call(layer, x, cotangent):
    params = [layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        total = tf.reduce_sum(tf.cast(y, tf.float32) * cotangent)
    return [y, *tape.gradient(total, [x, *params])]


def test_outputs_and_gradients_are_keras_own_and_the_moving_variance_is_bessel_s():
    x, cotangent = (tf.random.stateless_normal([6, 4, 5, 3], [k, 1]) for k in (1, 2))
    plain, fused = _layer(x.shape[1:]), _layer(x.shape[1:])
    expected = _call(plain, x, cotangent)
    with FusedBatchNorm(fused)():
        assert "call" in vars(fused)
        found = _call(fused, x, cotangent)
    assert "call" not in vars(fused)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(fused.moving_mean.numpy(), plain.moving_mean.numpy(), atol=1e-6)
    variance = np.var(x.numpy().reshape(-1, 3), axis=0, ddof=1)
    np.testing.assert_allclose(fused.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_inference_and_frozen_layers_are_left_alone(frozen):
    layer = _layer([4, 4, 2])
    layer.trainable = not frozen
    x = tf.random.stateless_normal([3, 4, 4, 2], [1, 2])
    expected = layer(x, training=False)
    with FusedBatchNorm(layer)():
        np.testing.assert_array_equal(layer(x, training=frozen), expected)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(2))


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_inputs_are_summed_in_float32(half):
    layer = _layer([16, 16, 2], dtype=f"mixed_{half}")
    x = tf.cast(300 + 30 * tf.random.stateless_normal([8, 16, 16, 2], [1, 2]), half)
    expected = layer(x, training=True)
    with FusedBatchNorm(layer)():
        y = layer(x, training=True)
    assert y.dtype == half and layer.moving_variance.dtype == "float32"
    y, expected = (tf.cast(value, tf.float32) for value in (y, expected))
    np.testing.assert_allclose(y, expected, atol=0.03)


def test_what_the_kernel_cannot_do_is_done_by_keras():
    options = [{"scale": False}, {"center": False}, {"axis": 1}, {"dtype": "float64"}]
    layers = [keras.layers.BatchNormalization(**one) for one in options]
    layers += [keras.layers.LayerNormalization(), keras.layers.BatchNormalization()]
    for layer in layers[:-1]:
        layer.build([None, 4, 4, 4])
    layers[-1].build([None, 4])
    for layer in layers:
        assert not FusedBatchNorm(layer).calls
