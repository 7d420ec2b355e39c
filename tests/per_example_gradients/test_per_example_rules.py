"""Each layer's rule against a loop of one example by plain reverse mode, on whole tiny models."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from layer_rules import P, around, check
from nets import MODELS, make

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.engines import ghost, layerwise
from ssl_weighting.per_example_gradients.observe import observe
from ssl_weighting.per_example_gradients.plan import bytes_per_example, layer_plan, plan_text

GRID = [
    dict(zip(("strides", "padding", "dilation_rate", "groups", "kernel_size"), row, strict=True))
    for row in itertools.product([1, 2], ["same", "valid"], [1, 2], [1, 2], [3, (2, 1)])
    if not (row[0] > 1 and row[2] > 1)
]


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(map(str, o.values())))
def test_closed_form_of_conv2d(options):
    layer = layers.Conv2D(
        4, use_bias=options["groups"] == 1, activation="tanh", dtype="float64", **options
    )
    check(*around(layer, [7, 6, 2]), path="conv")


def test_conv2d_by_vectorized_map():
    layer = layers.Conv2D(4, 3, 2, "same", activation="gelu", dtype="float64")
    check(*around(layer, [7, 6, 2]), path="conv_vectorized_map", convolutions="vectorized_map")


def test_closed_form_never_loops():
    model, inputs = around(layers.Conv2D(4, 3, groups=2, dtype="float64"), [5, 5, 2])
    network = Network(model)
    call = tf.function(
        lambda x: layerwise.gradients(network, x, tf.ones([P, 3], tf.float64)), autograph=False
    )
    graph = call.get_concrete_function(inputs).graph
    kinds = {op.type for op in graph.get_operations()}
    assert not {k for k in kinds if "While" in k or "Map" in k}, kinds


LAYERS = {
    "dense": (lambda: layers.Dense(3, "gelu", dtype="float64"), [4], "dense"),
    "dense_rank_4": (lambda: layers.Dense(3, "tanh", dtype="float64"), [2, 3, 4], "dense"),
    "dense_without_bias": (lambda: layers.Dense(3, use_bias=False, dtype="float64"), [4], "dense"),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(
            3, 2, "same", depth_multiplier=2, activation="tanh", dtype="float64"
        ),
        [5, 5, 3],
        "depthwise_conv2d",
    ),
    "depthwise_dilated": (
        lambda: layers.DepthwiseConv2D(2, dilation_rate=2, dtype="float64"),
        [5, 5, 3],
        "depthwise_conv2d",
    ),
    "batch_norm": (lambda: layers.BatchNormalization(dtype="float64"), [4, 4, 3], "normalization"),
    "batch_norm_without_scale": (
        lambda: layers.BatchNormalization(scale=False, dtype="float64"), [3], "normalization"
    ),
    "batch_norm_first_axis": (
        lambda: layers.BatchNormalization(axis=1, dtype="float64"), [3, 4], "fallback"
    ),
    "layer_norm": (
        lambda: layers.LayerNormalization(dtype="float64", epsilon=0.1), [4, 3], "normalization"
    ),
    "layer_norm_two_axes": (
        lambda: layers.LayerNormalization(axis=[1, 2], dtype="float64"), [4, 3], "fallback"
    ),
    "einsum_dense": (
        lambda: layers.EinsumDense(
            "abc,cde->abde", [4, 2, 3], bias_axes="de", activation="tanh", dtype="float64"
        ),
        [4, 5],
        "einsum_dense",
    ),
    "einsum_dense_back": (
        lambda: layers.EinsumDense("abcd,cde->abe", [4, 3], bias_axes="e", dtype="float64"),
        [4, 2, 5],
        "einsum_dense",
    ),
    "einsum_dense_dots": (
        lambda: layers.EinsumDense("...x,xy->...y", 4, dtype="float64"), [2, 3], "fallback"
    ),
    "embedding": (lambda: layers.Embedding(5, 3, dtype="float64"), [6], "embedding"),
    "conv1d": (lambda: layers.Conv1D(3, 2, activation="tanh", dtype="float64"), [5, 2], "conv"),
    "conv1d_grouped": (lambda: layers.Conv1D(4, 2, 2, groups=2, dtype="float64"), [5, 2], "conv"),
    "conv1d_causal": (
        lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2, dtype="float64"),
        [6, 2],
        "conv",
    ),
    "conv3d": (
        lambda: layers.Conv3D(3, (2, 1, 3), (1, 2, 1), "same", dtype="float64"),
        [3, 4, 3, 2],
        "conv",
    ),
    "conv3d_grouped": (
        lambda: layers.Conv3D(4, 2, groups=2, dilation_rate=(1, 2, 1), dtype="float64"),
        [3, 4, 3, 2],
        "conv",
    ),
    "transposed": (
        lambda: layers.Conv2DTranspose(3, 3, 2, "same", dtype="float64"), [3, 3, 2], "fallback"
    ),
    "separable": (
        lambda: layers.SeparableConv2D(3, 2, 2, depth_multiplier=2, dtype="float64"),
        [5, 5, 2],
        "fallback",
    ),
    "depthwise_1d": (lambda: layers.DepthwiseConv1D(3, dtype="float64"), [5, 2], "fallback"),
    "depthwise_channels_first": (
        lambda: layers.DepthwiseConv2D(2, data_format="channels_first", dtype="float64"),
        [2, 4, 4],
        "fallback",
    ),
    "time_distributed": (
        lambda: layers.TimeDistributed(layers.Dense(3, dtype="float64")), [4, 2], "dense"
    ),
    "group_norm": (lambda: layers.GroupNormalization(2, dtype="float64"), [3, 4], "fallback"),
    "prelu": (lambda: layers.PReLU(dtype="float64"), [5], "fallback"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(LAYERS))
def test_each_type_of_layer(name):
    layer, shape, path = LAYERS[name]
    model, inputs = around(layer(), shape)
    check(model, inputs, path=path)
    if "conv" in name:  # other layers have one rule for both engines
        check(model, inputs, convolutions="vectorized_map")


@pytest.mark.parametrize("name", list(MODELS))
def test_whole_models(name):
    model, inputs = make(name, examples=P)
    check(model, tf.nest.map_structure(tf.constant, inputs))


@pytest.mark.parametrize("select", ["bias$", "kernel$", "last_layer", "twice"])
def test_selections(select):
    model, inputs = make("shared", examples=P)
    check(model, tf.constant(inputs), select)


@pytest.mark.parametrize("name", ["conv", "subclassed"])
def test_batch_statistics_have_equal_sums(name):
    model, inputs = make(name, examples=P)
    network = Network(model, batch_norm="batch")
    rng = np.random.default_rng(4)
    cotangent = tf.constant(rng.normal(size=[P, 3]))
    vector = [tf.constant(rng.normal(size=s)) for s in network.shapes]
    values, inputs = network.values(), tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(values)
        z = network(values, inputs)
    whole = tape.gradient(z, values, output_gradients=cotangent)
    each = layerwise.gradients(network, inputs, cotangent)
    for ours, theirs in zip(each, whole, strict=True):
        np.testing.assert_allclose(tf.reduce_sum(ours, 0), theirs, rtol=1e-9, atol=1e-11)
    dots = ghost.dot_products(network, inputs, cotangent, vector)
    total = sum(np.sum(g * v) for g, v in zip(whole, vector, strict=True))
    np.testing.assert_allclose(tf.reduce_sum(dots), total, rtol=1e-9)
    moving = ghost.dot_products(Network(model), inputs, cotangent, vector)
    assert np.abs(dots - moving).max() > 1e-3


@pytest.mark.parametrize("axis", [1, -1])
def test_batch_statistics_of_another_axis_are_refused_where_examples_pass_alone(axis):
    layer = layers.BatchNormalization(axis=axis, dtype="float64", name="norm")
    model, inputs = around(layer, [3, 5])
    network = Network(model, batch_norm="batch")
    cotangent = tf.ones([P, 3], tf.float64)
    if axis == -1:
        layerwise.gradients(network, inputs, cotangent)
        return
    with pytest.raises(ValueError, match=r"Layer norm must normalise the last axis.*axis=1"):
        layerwise.gradients(network, inputs, cotangent)
    dots = ghost.dot_products(network, inputs, cotangent, network.values())  # needs no statistics
    values = network.values()
    with tf.GradientTape() as tape:
        tape.watch(values)
        z = network(values, inputs)
    whole = tape.gradient(z, values, output_gradients=cotangent)
    total = sum(np.sum(g * v) for g, v in zip(whole, values, strict=True))
    np.testing.assert_allclose(tf.reduce_sum(dots), total, rtol=1e-9)


def test_what_takes_no_part_has_zero_gradient():
    inputs = keras.Input([2], dtype="float64")
    idle = layers.Dense(3, dtype="float64", name="idle")(inputs)
    z = layers.Dense(3, dtype="float64", name="head")(inputs)
    model = keras.Model(inputs, {"logits": z, "other": idle})
    network, ones = Network(model), tf.ones([P, 3], tf.float64)
    found = layerwise.gradients(network, ones[:, :2], ones)
    for variable, g in zip(network.variables, found, strict=True):
        assert (np.abs(g).max() > 0) == ("head" in variable.path)


def test_a_layer_without_an_axis_of_examples_is_refused():
    inputs = keras.Input([2], dtype="float64")
    x = layers.Dense(2, dtype="float64", name="mixed")(keras.ops.reshape(inputs, [1, -1, 2]))
    z = layers.Dense(3, dtype="float64", name="head")(keras.ops.reshape(x, [-1, 2]))
    network = Network(keras.Model(inputs, z))
    with pytest.raises(ValueError, match="mixed must return one tensor whose first axis"):
        layerwise.gradients(network, tf.ones([P, 2], tf.float64), tf.ones([P, 3], tf.float64))


def test_layers_are_themselves_again_afterwards():
    model, inputs = make("conv", examples=P)
    network = Network(model, batch_norm="batch")
    before = model(inputs).numpy()
    layerwise.gradients(network, tf.constant(inputs), tf.ones([P, 3], tf.float64))
    with pytest.raises(RuntimeError, match="stop"), observe(network):
        raise RuntimeError("stop")
    assert all("call" not in vars(layer) for layer in model.layers)
    np.testing.assert_array_equal(model(inputs), before)


def test_plan_names_each_layers_path_and_memory():
    model, inputs = make("conv", examples=P)
    network = Network(model)
    rows = layer_plan(network, inputs)
    assert sum(r.parameters for r in rows) == network.size
    paths = {r.layer.rpartition("/")[2]: r.path for r in rows}
    assert paths["stem"] == "conv" and paths["norm_1"] == "normalization"
    assert {r.path for r in layer_plan(network, inputs, "layerwise_vectorized")} >= {
        "conv_vectorized_map"
    }
    assert {r.path for r in layer_plan(network, inputs, "serial")} == {"serial"}
    paths = {r.layer.rpartition("/")[2]: r.path for r in layer_plan(network, inputs, "forward")}
    assert (paths["stem"], paths["norm_1"]) == ("forward, affine", "forward, batch_normalization")
    attention, ids = make("attention", examples=P)
    paths = {r.layer: r.path for r in layer_plan(Network(attention), ids, "forward")}
    assert paths["norm"] == paths["embedding"] == "forward, accumulator"
    stem = next(r for r in rows if r.layer.endswith("stem"))
    assert stem.bytes_per_example == 8 * (3 * 3 * 2 * 8 + 8 + 2 * 6 * 6 * 8)
    need = {e: bytes_per_example(network, inputs, e) for e in ("serial", "layerwise", "ghost")}
    assert need["serial"] == 8 * network.size
    assert need["layerwise"] == need["serial"] + need["ghost"] > need["ghost"] > 0
    text = plan_text(rows)
    assert "depthwise" in text and f"{network.size}" in text and "kB an example" in text
