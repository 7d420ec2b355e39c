"""Layers that no rule was written for: right by the fallback, or refused by name."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from layer_rules import P, around, check

from ssl_weighting.models import wide_resnet
from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients import BY_LAYERS, ENGINES


def doubled(parent):
    """Return a subclass that computes something else than its parent."""

    def call(self, x, **options):
        return 2 * parent.call(self, x, **options)

    return type(f"Doubled{parent.__name__}", (parent,), {"call": call})


SUBCLASSES = {
    "dense": (layers.Dense, {"units": 3}, [4]),
    "conv2d": (layers.Conv2D, {"filters": 3, "kernel_size": 2}, [4, 4, 2]),
    "grouped": (layers.Conv2D, {"filters": 4, "kernel_size": 2, "groups": 2}, [4, 4, 2]),
    "batch_norm": (layers.BatchNormalization, {}, [4]),
    "embedding": (layers.Embedding, {"input_dim": 5, "output_dim": 3}, [6]),
}


@pytest.mark.parametrize("kind", SUBCLASSES)
def test_a_subclass_does_not_take_the_rule_of_its_parent(kind):
    parent, options, shape = SUBCLASSES[kind]
    check(*around(doubled(parent)(**options, dtype="float64"), shape), path="fallback")


def test_a_layer_that_is_called_by_keyword():
    class Model(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.below = layers.Dense(4, "tanh", dtype="float64")
            self.head = layers.Dense(3, dtype="float64")

        def call(self, x):
            return self.head(inputs=self.below(inputs=x))

    model = Model()
    model(np.ones([1, 4]))
    check(model, tf.constant(np.random.default_rng(0).normal(size=[P, 4])), path="fallback")


def test_ids_that_count_from_the_end():
    model, _ = around(layers.Embedding(5, 3, dtype="float64"), [3])
    check(model, tf.constant([[0, -1, 4], [-5, 1, -2], [3, 3, -2], [2, 0, 1]]), path="embedding")


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_loops_are_refused_by_name_and_forward_takes_them(kind):
    inputs = keras.Input([3, 2], dtype="float64")
    x = getattr(layers, kind)(3, dtype="float64", name="loop")(inputs)
    model = keras.Model(inputs, layers.Dense(3, dtype="float64")(x))
    network, x = Network(model), tf.constant(np.random.default_rng(0).normal(size=[P, 3, 2]))
    cotangent = tf.constant(np.random.default_rng(1).normal(size=[P, 3]))

    @functools.partial(tf.function, autograph=False)
    def dots(engine):
        return ENGINES[engine].dot_products(network, x, cotangent, network.values())

    np.testing.assert_allclose(dots("forward"), dots("serial"), rtol=1e-9, atol=1e-12)
    for engine in BY_LAYERS:
        with pytest.raises(ValueError, match=r"loop/.*--per_example_engine=forward"):
            dots(engine)


def test_what_tensorflow_cannot_vectorise_is_refused_by_name():
    layer = layers.Conv3D(4, 2, data_format="channels_first", dtype="float64", name="volumes")
    model, inputs = around(layer, [2, 3, 4, 3])
    network, cotangent = Network(model), tf.ones([P, 3], tf.float64)
    for engine in ("layerwise", "layerwise_vectorized"):
        with pytest.raises(ValueError, match=r"Layer volumes \(Conv3D\) .*engine=forward"):
            ENGINES[engine].gradients(network, inputs, cotangent)
    with pytest.raises(ValueError, match=r"another than \"vectorized_map\".*engine=forward"):
        ENGINES["vectorized_map"].gradients(network, inputs, cotangent)
    args = network, inputs, cotangent, network.values()
    found = [ENGINES[engine].dot_products(*args) for engine in ("forward", "ghost")]
    np.testing.assert_allclose(*found, rtol=1e-9)


class AsManyRows(keras.Model):
    """A layer is called on T rows of another kind, and T may be the number of examples."""

    def __init__(self, part):
        super().__init__(dtype="float64")
        self.part = part
        self.below = layers.Dense(3, "tanh", dtype="float64")
        self.table = layers.Embedding(P, 3, dtype="float64")
        self.head = layers.Dense(3, dtype="float64")

    def call(self, x):  # [P, T, 3]
        if self.part == "positions":
            return self.head(ops.mean(ops.tanh(x * self.table(ops.arange(x.shape[1]))), axis=1))
        if self.part == "places first":
            return self.head(ops.mean(self.below(ops.transpose(x, [1, 0, 2])), axis=0))
        joined = self.below(ops.reshape(x, [-1, 3]))
        return self.head(ops.mean(ops.reshape(joined, [-1, x.shape[1], 3]), axis=1))


@pytest.mark.parametrize("count", [P, None])
@pytest.mark.parametrize("part", ["positions", "places first", "joined"])
def test_rows_that_are_no_examples_are_refused_however_many_they_are(part, count):
    model, rng = AsManyRows(part), np.random.default_rng(0)
    x = tf.constant(rng.normal(size=[P, P, 3]))
    model(x)
    network, cotangent = Network(model), tf.constant(rng.normal(size=[P, 3]))
    shapes = [tf.TensorSpec([count, P, 3], tf.float64), tf.TensorSpec([count, 3], tf.float64)]

    def dots(engine):
        function = ENGINES[engine].dot_products
        traced = tf.function(
            lambda *args: function(network, *args, network.values()),
            autograph=False, input_signature=shapes,
        )  # fmt: skip
        return traced(x, cotangent)

    np.testing.assert_allclose(dots("forward"), dots("serial"), rtol=1e-9, atol=1e-12)
    for engine in BY_LAYERS:
        with pytest.raises(ValueError, match=r"must return one tensor whose first axis.*forward"):
            dots(engine)


class Placed(layers.Layer):
    """Reads a table of places, which has no row an example."""

    def build(self, x_shape, table_shape):
        self.gain = self.add_weight(shape=x_shape[-1:], initializer="ones", name="gain")

    def call(self, x, table):
        return ops.tanh(self.gain * x + table)


def test_an_argument_with_as_many_rows_as_there_are_examples():
    inputs, table = keras.Input([P, 3], dtype="float64"), np.arange(3.0 * P).reshape(P, 3) / 9
    x = Placed(dtype="float64")(inputs, ops.convert_to_tensor(table, "float64"))
    model = keras.Model(inputs, layers.Dense(3, dtype="float64")(ops.mean(x, axis=1)))
    x = tf.constant(np.random.default_rng(0).normal(size=[P, P, 3]))
    check(model, x, path="fallback")


def test_a_model_of_batches_of_one_size():
    inputs = keras.Input(batch_shape=[P, 4], dtype="float64")
    x = layers.Dense(4, "tanh", dtype="float64")(inputs)
    model = keras.Model(inputs, layers.Dense(3, dtype="float64")(x))
    network, x = Network(model), tf.constant(np.random.default_rng(0).normal(size=[P, 4]))
    cotangent = tf.constant(np.random.default_rng(1).normal(size=[P, 3]))
    args = network, x, cotangent, network.values()
    found = [ENGINES[engine].dot_products(*args) for engine in ("forward", *BY_LAYERS)]
    np.testing.assert_allclose(found, found[:1] * len(found), rtol=1e-9)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_in_the_dtype_of_the_parameters(precision):
    model = wide_resnet((8, 8, 3), 3, depth=10, width=1, precision=precision, seed=0)
    network, rng = Network(model), np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=[P, 8, 8, 3]), tf.float32)
    cotangent = tf.constant(rng.normal(size=[P, 3]), tf.float32)
    vector = [tf.constant(rng.normal(size=s), tf.float32) for s in network.shapes]
    args = network, inputs, cotangent, vector
    expected = ENGINES["forward"].dot_products(*args)
    for engine in BY_LAYERS:
        found = ENGINES[engine].dot_products(*args)
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
