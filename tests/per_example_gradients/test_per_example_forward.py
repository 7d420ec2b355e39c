"""The rules of the forward-mode engine against its oracle, one accumulator over the whole model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from nets import MODELS, make

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.engines.forward_pairs import logits_tangent

F64 = {"dtype": "float64"}


def with_random_weights(model, rng):
    for v in model.weights:
        value = rng.normal(size=v.shape)
        v.assign(np.exp(value / 3) if "variance" in v.path else value)
    return model


class Passes:
    """A network that counts how often it is called: once by the rules, again by the accumulator."""

    def __init__(self, network):
        self.network, self.count = network, 0

    def __getattr__(self, name):
        return getattr(self.network, name)

    def __call__(self, values, inputs):
        self.count += 1
        return self.network(values, inputs)


def check(model, inputs, select="all", passes=1, **options):
    """The tangent equals that of one accumulator and took so many passes."""
    network = Passes(Network(model, select, **options))
    rng = np.random.default_rng(5)
    vector = [tf.constant(rng.normal(size=s)) for s in network.shapes]
    found = logits_tangent(network, inputs, vector)
    assert network.count == passes
    values = network.values()
    with tf.autodiff.ForwardAccumulator(values, vector) as accumulator:
        z = network.network(values, tf.nest.map_structure(tf.constant, inputs))
    expected = accumulator.jvp(z, unconnected_gradients="zero")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-6
    return found


def around(layer, shape):
    inputs = keras.Input(shape, **F64)
    x = layers.Dense(4, "tanh", name="below", **F64)(inputs)
    x = layers.Flatten(**F64)(layer(x))
    model = keras.Model(inputs, layers.Dense(3, name="head", **F64)(x))
    rng = np.random.default_rng(3)
    return with_random_weights(model, rng), rng.normal(size=[4, *shape])


NORM = layers.BatchNormalization
LAYERS = {
    "dense": (lambda: layers.Dense(3, "gelu", name="own", **F64), [2]),
    "dense_activated_by_a_layer": (
        lambda: layers.Dense(3, layers.PReLU(**F64), name="own", **F64),
        [2],
    ),
    "einsum_dense": (
        lambda: layers.EinsumDense("abc,cde->abde", [3, 2, 3], bias_axes="de", name="own", **F64),
        [3, 2],
    ),
    "conv1d": (lambda: layers.Conv1D(3, 2, activation="tanh", name="own", **F64), [5, 2]),
    "conv2d": (lambda: layers.Conv2D(4, 2, 2, groups=2, name="own", **F64), [5, 5, 2]),
    "conv3d": (lambda: layers.Conv3D(2, 2, use_bias=False, name="own", **F64), [3, 3, 3, 2]),
    "transposed": (lambda: layers.Conv2DTranspose(3, 2, 2, name="own", **F64), [3, 3, 2]),
    "depthwise": (lambda: layers.DepthwiseConv2D(2, name="own", **F64), [3, 3, 2]),
    "batch_norm": (lambda: NORM(name="own", **F64), [3, 2]),
    "batch_norm_without_gamma": (lambda: NORM(scale=False, name="own", **F64), [3, 2]),
    "batch_norm_without_beta": (lambda: NORM(center=False, name="own", **F64), [3, 2]),
    "batch_norm_of_another_axis": (lambda: NORM(axis=1, name="own", **F64), [3, 2]),
    "no_rule": (lambda: layers.LayerNormalization(name="own", **F64), [3, 2]),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_each_rule(kind):
    build, shape = LAYERS[kind]
    model, inputs = around(build(), shape)
    # All tangents; none from below; none of the layer's own; a bias or shift alone.
    names = [v.path for v in model.trainable_variables]
    selections = ["", "own|head", "below", "own/b"]
    for select in selections if any("own/b" in name for name in names) else selections[:3]:
        check(model, inputs, select)
    check(model, inputs, batch_norm="batch")


@pytest.mark.parametrize("name", MODELS)
def test_models_pass_once(name):
    model, inputs = make(name)
    check(model, inputs)
    check(model, inputs, "last_layer")


def test_nested_models_are_entered():
    block = keras.Sequential([layers.Dense(4, "tanh", **F64), layers.Dense(4, **F64)])
    inner_in = keras.Input([4], **F64)
    inner = keras.Model(inner_in, inner_in + block(inner_in))
    inputs = keras.Input([4], **F64)
    outer = keras.Model(inputs, layers.Dense(3, **F64)(inner(inner(inputs))))
    rng = np.random.default_rng(0)
    check(with_random_weights(outer, rng), rng.normal(size=[3, 4]))
    outer = keras.Sequential([keras.Input([4], **F64), inner, layers.Dense(3, **F64)])
    check(with_random_weights(outer, rng), rng.normal(size=[3, 4]))


class Squared(keras.Model):
    """A functional model that goes on by itself after its last operation."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=training) ** 2


def test_what_no_operation_has_computed_is_left_to_the_accumulator():
    inputs = keras.Input([4], **F64)
    x = layers.Dense(3, **F64)(inputs)
    rng = np.random.default_rng(0)
    model = with_random_weights(Squared(inputs, x), rng)
    x = rng.normal(size=[3, 4])
    check(model, x, passes=2)
    check(model, x, passes=2, output=lambda z: tf.concat([z, z], axis=1))


def test_a_parameter_that_another_operation_borrows():
    """Tied weights: a Lambda uses the kernel of a layer below it."""
    inputs = keras.Input([3], **F64)
    dense = layers.Dense(3, "tanh", **F64)
    x = layers.Lambda(lambda x: x @ tf.transpose(dense.kernel.value), **F64)(dense(inputs))
    rng = np.random.default_rng(0)
    check(with_random_weights(keras.Model(inputs, x), rng), rng.normal(size=[3, 3]))


def test_equals_finite_differences():
    model, inputs = make("conv")
    network = Network(model, batch_norm="batch")
    rng = np.random.default_rng(1)
    direction = [tf.constant(rng.normal(size=s)) for s in network.shapes]
    ends = [
        network([v + h * d for v, d in zip(network.values(), direction, strict=True)], inputs)
        for h in (1e-5, -1e-5)
    ]
    found = logits_tangent(network, inputs, direction)
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-7)


def test_layers_are_left_as_they_were():
    model, inputs = make("conv")
    before = [dict(vars(layer)) for layer in model.layers]
    check(model, inputs)
    for layer, kept in zip(model.layers, before, strict=True):
        assert "call" not in vars(layer)
        for name in ("activation", "use_bias", "bias"):
            assert vars(layer).get(name) is kept.get(name)
