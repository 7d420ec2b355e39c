"""One layer in a tiny model, and the rule that serves it against a loop of one example."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.engines import ghost, layerwise, serial
from ssl_weighting.per_example_gradients.observe import observe
from ssl_weighting.per_example_gradients.rules import rule_of

P = 4


def around(layer, shape):
    """A model input -> layer -> three logits, parameters random."""
    inputs = keras.Input(shape, dtype="int32" if isinstance(layer, layers.Embedding) else "float64")
    x = layers.Flatten(dtype="float64")(layer(inputs))
    model = keras.Model(inputs, layers.Dense(3, dtype="float64", name="head")(x))
    rng = np.random.default_rng(3)
    for v in model.weights:
        value = rng.normal(size=v.shape)
        v.assign(np.exp(value / 3) if "variance" in v.path else value)
    if isinstance(layer, layers.Embedding):
        return model, tf.constant(rng.integers(0, layer.input_dim, [P, *shape]), tf.int32)
    return model, tf.constant(rng.normal(size=[P, *shape]))


def check(model, inputs, select="all", path=None, **options):
    """Layerwise and ghost equal a loop of one; the rule taken is `path`."""
    network = Network(model, select)
    rng = np.random.default_rng(4)
    cotangent = tf.constant(rng.normal(size=[P, 3]))
    vector = [tf.constant(rng.normal(size=s)) for s in network.shapes]
    loop = tf.function(functools.partial(serial.gradients, network), autograph=False)
    expected = loop(inputs, cotangent)  # traced: Keras compiles a grouped convolution at every call
    found = layerwise.gradients(network, inputs, cotangent, **options)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    assert np.abs(expected[0]).max() > 1e-6
    dots = sum(np.reshape(g * v, [P, -1]).sum(1) for g, v in zip(expected, vector, strict=True))
    for engine in (ghost, layerwise):
        ours = engine.dot_products(network, inputs, cotangent, vector)
        np.testing.assert_allclose(ours, dots, rtol=1e-9, atol=1e-10)
    if path:
        with observe(network) as records:
            network(network.values(), inputs)
        rules = [rule_of(r, **options).__name__.rpartition(".")[2] for r in records]
        assert rules[0] == path, rules
