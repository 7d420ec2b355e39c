"""The engines on BERT: each against a loop of one; the last layer against autodiff."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from berts import SMALL, random_ids

from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.models import bert
from ssl_weighting.models.bert_weights import MINILM, bert_folder, load_weights, read_shape
from ssl_weighting.models.network import Network
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.per_example_gradients import (
    ENGINES,
    per_example_dot_products,
    per_example_gradients,
)
from ssl_weighting.structs import LabeledBatch, LossRows

SHAPE = dataclasses.replace(SMALL, num_layers=2)
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


def random_bert(dtype, reparam, **options):
    rng = np.random.default_rng(1)
    model = bert(SHAPE, 7, 2, reparam=reparam, dtype=dtype, **options)
    for variable in model.trainable_variables:
        base = 1.0 if variable.name == "gamma" else 0.0
        variable.assign(base + rng.normal(0, 0.3, variable.shape))
    return model, rng


def loop_of_one(network, inputs, cotangent):
    """Return the gradients by one reverse pass an example, [P, p]."""
    rows = []
    for k in range(len(inputs)):
        values = network.values()
        with tf.GradientTape() as tape:
            tape.watch(values)
            z = tf.reduce_sum(network(values, inputs[k : k + 1]) * cotangent[k : k + 1])
        found = tape.gradient(z, values, unconnected_gradients="zero")
        rows.append(network.flatten([tf.convert_to_tensor(g) for g in found]).numpy())
    return np.stack(rows)


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("dtype", "engines", "pooling"),
    [
        ("float32", ["forward"], "cls"),
        ("float64", ["forward"], "cls"),
        pytest.param("float64", list(ENGINES), "cls", marks=pytest.mark.slow),
        pytest.param("float64", list(ENGINES), "mean_query", marks=pytest.mark.slow),
    ],
)
def test_dot_products_of_the_whole_network_equal_a_loop_of_one(dtype, engines, pooling):
    model, rng = random_bert(dtype, "half", bert_pooling=pooling)
    network, inputs = Network(model), tf.constant(random_ids(rng))
    cotangent = tf.constant(rng.normal(size=[4, 2]), dtype)
    vector = rng.normal(size=network.size)
    expected = loop_of_one(network, inputs, cotangent)
    vectors = network.unflatten(tf.constant(vector, dtype))
    for engine in engines:
        found = per_example_dot_products(network, inputs, cotangent, vectors, engine=engine)
        assert relative(found.numpy(), expected @ vector) < TOLERANCE[dtype], engine
    assert np.abs(expected @ vector).max() > 0.1


def test_gradients_of_a_named_part_equal_a_loop_of_one():
    model, rng = random_bert("float64", "none")
    network = Network(model, "layer_1_|embeddings_word|pooler|head")
    inputs, cotangent = tf.constant(random_ids(rng)), tf.constant(rng.normal(size=[4, 2]))
    expected = loop_of_one(network, inputs, cotangent)
    paths = {v.path.split("/")[0] for v in network.variables}
    assert {"layer_1_query", "pooler", "head"} < paths and "layer_0_query" not in paths
    for engine in ("layerwise", "vectorized_map"):
        parts = per_example_gradients(network, inputs, cotangent, engine=engine)
        found = np.concatenate([np.reshape(p, [4, -1]) for p in parts], axis=1)
        assert relative(found, expected) < 1e-9, engine


@pytest.mark.parametrize("reparam", ["none", "half", "paper"])
def test_last_layer_in_closed_form_equals_autodiff(reparam):
    model, rng = random_bert("float64", reparam)
    inputs = tf.constant(random_ids(rng, 6))
    label = tf.constant([0, 1, 1, 0, 1, 0])
    closed, autodiff = LastLayer(model), Subnetwork(model, "head", engine="serial")
    assert closed.size == autodiff.size == 9 * (2 if reparam == "none" else 1)
    found = [s.validation_gradient(LabeledBatch(inputs, label)) for s in (closed, autodiff)]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)
    out = closed.forward(inputs)
    targets = tf.constant(rng.dirichlet([1, 1], 6))
    rows = _rows(out, SoftmaxCrossEntropy(targets))
    coefficient = tf.constant(rng.uniform(0.5, 1.5, 6))
    prepared = [s.prepare(rows, [inputs], coefficient) for s in (closed, autodiff)]
    vector = tf.constant(rng.normal(size=closed.size))
    scopes = list(zip((closed, autodiff), prepared, strict=True))
    for ask in (
        lambda s, p: s.dot_products(p, vector),
        lambda s, p: s.curvature(p).product(vector),
    ):
        ours, theirs = (ask(*scope).numpy() for scope in scopes)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
        assert np.abs(ours).max() > 1e-2


def _rows(out, loss):
    count = out["logits"].shape[0]
    nothing = [None] * 3
    return LossRows(
        loss(out["logits"]), *nothing, tf.ones([count, 2]), out["features"], out["logits"], loss,
        None,
    )  # fmt: skip


@pytest.mark.slow
def test_forward_dot_products_of_minilm_equal_a_loop_of_one():
    try:
        folder = bert_folder(MINILM)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    shape, rng = read_shape(folder), np.random.default_rng(0)
    model = bert(shape, 12, 2, reparam="half")
    load_weights(model, folder, shape.num_layers)
    network = Network(model)
    inputs = tf.constant(random_ids(rng, 3, 12, shape))
    cotangent = tf.constant(rng.normal(size=[3, 2]), "float32")
    vector = [tf.constant(rng.normal(size=s) * 1e-2, "float32") for s in network.shapes]
    expected = loop_of_one(network, inputs, cotangent) @ network.flatten(vector).numpy()
    found = per_example_dot_products(network, inputs, cotangent, vector, engine="forward")
    assert relative(found.numpy(), expected) < 1e-3
    assert np.abs(expected).max() > 1e-2
