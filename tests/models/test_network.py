"""A Keras model as a function of its parameters: selection, batch statistics, refusals; chunks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from nets import make

from ssl_weighting.models.network import Network, replaced_calls, sublayers
from ssl_weighting.per_example_gradients import (
    ENGINES,
    per_example_dot_products,
    per_example_gradients,
)
from ssl_weighting.per_example_gradients.chunking import chunk_size, in_chunks
from ssl_weighting.per_example_gradients.plan import bytes_per_example


def test_values_are_watched_and_differ_from_the_variables():
    model, x = make("subclassed")
    network = Network(model, "block")
    values = [v + 0.1 for v in network.values()]
    moved = network(values, x)
    for variable, value in zip(network.variables, values, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(moved, model(x, training=False)["logits"])
    with tf.autodiff.ForwardAccumulator(values, values) as forward, tf.GradientTape() as tape:
        tape.watch(values)
        z = network(values, x)
    assert all(g is not None for g in tape.gradient(z, values))
    assert forward.jvp(z) is not None


def test_flatten_and_unflatten_are_inverses():
    network = Network(make("conv")[0])
    flat = network.flatten(network.values())
    assert flat.shape == [network.size] and network.dtype == "float64"
    for part, value in zip(network.unflatten(flat), network.values(), strict=True):
        np.testing.assert_array_equal(part, value)


def test_batch_statistics_are_those_of_training_and_dropout_stays_off():
    model, x = make("subclassed")
    network = Network(model, batch_norm="batch")
    found = [network(network.values(), x) for _ in range(2)]
    np.testing.assert_array_equal(*found)  # no dropout
    model.dropout.rate = 0.0
    np.testing.assert_allclose(found[0], model(x, training=True)["logits"], rtol=1e-12)
    assert "call" not in vars(model.norm)  # left as it was


def test_output_picks_the_logits():
    inputs = keras.Input([4])
    a, b = layers.Dense(3)(inputs), layers.Dense(2)(inputs)
    model = keras.Model(inputs, [a, b])
    x = tf.ones([2, 4])
    network = Network(model, output=lambda out: out[1])
    np.testing.assert_array_equal(network(network.values(), x), model(x)[1])
    network = Network(model)
    with pytest.raises(ValueError, match=r"`output` must pick one \[P, C\] tensor"):
        network(network.values(), x)
    image = keras.Model(inputs, layers.Reshape([3, 1])(a))
    network = Network(image)
    with pytest.raises(ValueError, match=r"`output` must pick .*3, 1"):
        network(network.values(), x)


def test_refusals_say_what_to_do():
    model = make("mlp")[0]
    with pytest.raises(ValueError, match=r"`model` must be built: call it once"):
        Network(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"find a trainable.*'stem'.*first/kernel, first/bias"):
        Network(model, "stem")
    with pytest.raises(ValueError, match=r"regular expression. Received: '\('"):
        Network(model, "(")
    with pytest.raises(ValueError, match=r"`batch_norm` must be one of moving, batch.*'none'"):
        Network(model, batch_norm="none")
    for layer in model.layers:
        layer.trainable = False
    for select in ("all", "last_layer", "head"):
        with pytest.raises(ValueError, match="Their paths: none"):
            Network(model, select)


def test_variables_of_two_dtypes_are_refused():
    inputs = keras.Input([4])
    x = layers.Dense(3, dtype="float64")(layers.Dense(3)(inputs))
    with pytest.raises(ValueError, match=r"variables of one dtype\. Received: float32, float64"):
        Network(keras.Model(inputs, x))


def test_sublayers_are_found_at_any_depth():
    model = make("subclassed")[0]
    names = [layer.name for layer in sublayers(model)]
    assert {"block", "norm", "head"} <= set(names)
    assert len(names) == len(set(map(id, sublayers(model))))
    assert sum(isinstance(layer, layers.Dense) for layer in sublayers(model)) == 3


def test_a_replaced_call_comes_back_after_an_error():
    layer = layers.Dense(2)
    first = layer.call
    with pytest.raises(RuntimeError), replaced_calls({layer: lambda x: x}):
        with replaced_calls({layer: lambda x: x + 1}):
            assert layer(tf.zeros([1, 2]))[0, 0] == 1
        assert layer(tf.zeros([1, 2]))[0, 0] == 0
        raise RuntimeError
    assert layer.call == first


@pytest.mark.parametrize(
    ("count", "need", "memory", "size"),
    [
        *((7, 10, None, 7), (7, 10, 70, 7), (7, 10, 69, 4), (7, 10, 30, 3), (7, 10, 19, 1)),
        *((None, 10, 39, 3), (8, 10, 50, 4)),
    ],
)
def test_chunks_are_few_and_even(count, need, memory, size):
    assert chunk_size(count, need, memory) == size


def test_one_example_has_to_fit():
    with pytest.raises(ValueError, match=r"`max_memory` must be at least 10 bytes.*Received: .*=9"):
        chunk_size(7, 10, 9)


@pytest.mark.parametrize("size", [1, 3, 7, 9])
def test_chunks_cover_every_example_once(size):
    inputs = {"a": tf.range(7), "b": tf.random.normal([7, 2])}
    cotangent = tf.random.normal([7, 3])
    shapes = []

    def function(inputs, cotangent):
        shapes.append(cotangent.shape[0])
        return [inputs["b"] + cotangent[:, :1], tf.cast(inputs["a"], tf.float32)]

    like = [tf.TensorSpec([2], "float32"), tf.TensorSpec([], "float32")]
    run = tf.function(lambda: in_chunks(function, inputs, cotangent, size, like), autograph=False)
    first, second = run()
    np.testing.assert_array_equal(first, inputs["b"] + cotangent[:, :1])
    np.testing.assert_array_equal(second, np.arange(7))
    assert set(shapes) == {min(size, 7)}


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_answer_does_not_depend_on_the_chunks(engine, size):
    model, x = make("subclassed", examples=7)
    network = Network(model)
    rng = np.random.default_rng(0)
    cotangent = rng.normal(size=[7, 3])
    vector = network.unflatten(tf.constant(rng.normal(size=network.size)))
    memory = size * bytes_per_example(network, x, engine)
    options = {"engine": engine, "max_memory": memory}
    args = (network, x, cotangent)
    found = per_example_dot_products(*args, vector, **options)
    whole = per_example_dot_products(*args, vector, engine=engine)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12)
    if ENGINES[engine].gradients:
        parts = per_example_gradients(*args, **options)
        for part, g in zip(parts, per_example_gradients(*args, engine=engine), strict=True):
            np.testing.assert_allclose(part, g, rtol=0, atol=1e-12)


def test_batch_statistics_are_never_those_of_a_chunk():
    model, x = make("conv", examples=7)
    network = Network(model, batch_norm="batch")
    need = bytes_per_example(network, x, "forward")
    args = (network, x, np.ones([7, 3]), network.values())
    with pytest.raises(ValueError, match=r"`max_memory` must be None, or enough.*chunks would"):
        per_example_dot_products(*args, max_memory=6 * need)
    found = per_example_dot_products(*args, max_memory=7 * need)
    np.testing.assert_array_equal(found, per_example_dot_products(*args))
