"""Parameters that are read in two places: engines, methods and `LastLayer` are right or refuse."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from second_uses import CLASSES, F64, KINDS, P, make
from tiny import make_trainer

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.inverse_hessian import DiagonalBlock, SolveOptions, solve
from ssl_weighting.models.network import Network
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.parameters.subnetwork_curvature import subnetwork_curvature
from ssl_weighting.per_example_gradients import (
    BY_LAYERS,
    ENGINES,
    per_example_dot_products,
    per_example_gradients,
)
from ssl_weighting.structs import LabeledBatch, QuadraticRows

ELSEWHERE = [name for name, (_, path) in KINDS.items() if path]
OTHERS = [name for name in KINDS if name not in ELSEWHERE]


class Case:
    """A model of one kind; its per-example gradients by plain reverse mode on the model itself."""

    def __init__(self, name):
        self.model, self.inputs = make(name)
        self.network = Network(self.model)
        rng = np.random.default_rng(1)
        self.cotangent = tf.constant(rng.normal(size=[P, CLASSES]))
        self.vector = [tf.constant(rng.normal(size=s)) for s in self.network.shapes]
        self.path = re.escape(KINDS[name][1] or "")

    @functools.cached_property
    def rows(self):
        """[P, p]: no `Network` and no scope involved."""
        variables = [v.value for v in self.model.trainable_variables]
        rows = []
        for p in range(P):
            with tf.GradientTape() as tape:
                z = tf.reduce_sum(self.model(self.inputs[p : p + 1]) * self.cotangent[p])
            found = tape.gradient(z, variables, unconnected_gradients="zero")
            rows.append(np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in found]))
        return np.stack(rows)

    def dots(self, engine):
        return per_example_dot_products(
            self.network, self.inputs, self.cotangent, self.vector, engine=engine
        )

    def quadratic(self):
        eye = tf.eye(CLASSES, batch_shape=[P], dtype=tf.float64)
        zeros, ones = tf.zeros([P, CLASSES], tf.float64), tf.ones([P], tf.float64)
        return QuadraticRows(self.inputs, zeros, self.cotangent, eye, ones)

    def curvature(self):
        ridge = tf.ones([self.network.size], tf.float64)
        return subnetwork_curvature(self.network, self.quadratic(), ridge)


case = functools.cache(Case)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", KINDS)
def test_every_engine_is_right_or_names_the_parameter_and_forward(name, engine):
    c = case(name)
    if name in ELSEWHERE and engine in BY_LAYERS:
        message = rf"nowhere else.*{c.path}.*--per_example_engine=forward"
        with pytest.raises(ValueError, match=message):
            c.dots(engine)
        with pytest.raises(ValueError, match=message):
            Subnetwork(c.model, "all", engine=engine).plan(c.inputs[:1])
        return
    expected = c.rows @ c.network.flatten(c.vector).numpy()
    np.testing.assert_allclose(c.dots(engine), expected, rtol=1e-9, atol=1e-10)
    if ENGINES[engine].gradients:
        each = per_example_gradients(c.network, c.inputs, c.cotangent, engine=engine)
        found = np.concatenate([np.reshape(g, [P, -1]) for g in each], axis=1)
        np.testing.assert_allclose(found, c.rows, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", ["kfac", "ekfac"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_kronecker_factors_are_refused_where_they_would_miss_a_use(name, method):
    c = case(name)
    with pytest.raises(ValueError, match=rf"{c.path}.*forward.*--inverse_hessian=conj"):
        solve(method, c.curvature(), c.network.flatten(c.vector), SolveOptions(damping=0.1))


@pytest.mark.parametrize("name", OTHERS)
def test_kronecker_factors_have_the_true_diagonal_elsewhere(name):
    c = case(name)
    expected = np.diag(c.curvature().dense())
    found = np.full_like(expected, np.nan)
    for block in c.curvature().kronecker():
        if isinstance(block, DiagonalBlock):
            found[block.index] = block.diagonal
        else:
            eyes = [tf.eye(size, dtype=tf.float64) for size in np.shape(block.index)]
            found[block.index] = block.moments(*eyes)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_curvature_by_gradients_follows_every_use(name):
    c = case(name)
    each, _ = c.curvature().gradients()
    np.testing.assert_allclose(each, c.rows, rtol=1e-9, atol=1e-10)
    factor = c.curvature().factor()
    along = c.network.flatten(c.vector)
    product = tf.linalg.matvec(factor, tf.linalg.matvec(factor, along), transpose_a=True)
    np.testing.assert_allclose(c.curvature().product(along), product, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", KINDS)
def test_the_last_layer_is_right_or_refused(name):
    model, inputs = make(name)
    batch = LabeledBatch(inputs, tf.constant([0, 1, 2, 1]))
    if name in ("tied_output", "held", "read_below", "bias_twice", "scale_twice", "times_zero",
                "dead_relu", "frozen_twice", "stopped"):  # fmt: skip
        # Features that depend on the head, or logits that are not its output.
        with pytest.raises(ValueError, match=r"--influence_params='.+/' with --per_example_eng"):
            LastLayer(model).validation_gradient(batch)
        return
    found = LastLayer(model).validation_gradient(batch)
    expected = Subnetwork(model, "head").validation_gradient(batch)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-12)


def test_the_last_layer_is_checked_once_and_without_running():
    model, inputs = make("read_below")
    last = LastLayer(model)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"not depend on them\. Received: head/kernel"):
            last.check(inputs[:1])


@pytest.mark.parametrize("mode", ["score_every_step", "infl_own_features"])
@pytest.mark.parametrize("right", [True, False])
def test_theta_steps_are_scored_by_the_inputs_of_the_last_layer(mode, right):
    inputs = keras.Input([2])
    below = layers.Dense(4, "tanh")(inputs)
    logits = layers.Dense(2, name="head")(below)
    features = below if right else layers.Dense(4)(inputs)
    model = keras.Model(inputs, {"features": features, "logits": logits})
    own = {"stale_w": True, "infl_fresh_batch": False} if mode == "infl_own_features" else {}
    settings = BilevelSettings(inner_steps=2, **own, **{mode: True})
    trainer = make_trainer(settings=settings, model=model)
    if right:
        list(trainer.steps(3))
        return
    with pytest.raises(ValueError, match=r"features those that the last layer is called on"):
        list(trainer.steps(3))


class ScaledDense(layers.Dense):
    """A layer of which phi W + b is not the output."""

    def call(self, x):
        return ops.matmul(x, ops.tanh(self.kernel)) + self.bias


def test_a_subclass_of_dense_is_no_last_layer():
    inputs = keras.Input([4], **F64)
    model = keras.Model(inputs, ScaledDense(CLASSES, name="head", **F64)(inputs))
    with pytest.raises(ValueError, match=r"last Dense layer returns.*\(ScaledDense\).*forward"):
        LastLayer(model).forward(tf.ones([P, 4], tf.float64))


@pytest.mark.parametrize(
    "options", [{"trainable": True, "use_bias": False}, {"trainable": False, "use_bias": True}]
)
def test_the_name_of_the_fixed_layer_is_taken(options):
    inputs = keras.Input([4], **F64)
    x = layers.Dense(1, name="head", **F64)(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="logit_map", **F64, **options)(x))
    with pytest.raises(ValueError, match='"logit_map" must be a Dense layer without bias'):
        LastLayer(model)


def test_only_the_fixed_layer_may_stand_behind_the_last_one():
    inputs = keras.Input([4], **F64)
    x = layers.Dense(1, name="head", **F64)(inputs)
    fixed = layers.Dense(2, name="logit_map", use_bias=False, trainable=False, **F64)
    model = keras.Model(inputs, ops.tanh(fixed(x)))
    with pytest.raises(ValueError, match="logits must be what the last Dense layer returns"):
        LastLayer(model).forward(tf.ones([P, 4], tf.float64))


class PastKeras(keras.Model):
    """Keeps the `tf.Variable` beneath a kernel and reads it beside the layer."""

    def __init__(self, part):
        super().__init__(**F64)
        self.below = layers.Dense(4, name="below", **F64)
        self.head = layers.Dense(CLASSES, name="head", **F64)
        for layer in (self.below, self.head):
            layer.build([None, 4])
        self.kept = {"part": getattr(self, part).kernel.value}

    def call(self, x):
        return self.head(self.below(x) + tf.reduce_sum(self.kept["part"]))


def test_what_is_read_past_keras_is_refused_by_all():
    model, x = PastKeras("head"), tf.ones([P, 4], tf.float64)
    model(x)
    network = Network(model)
    for engine in ENGINES:
        with pytest.raises(ValueError, match=r"as Keras variables.*head/kernel"):
            per_example_dot_products(
                network, x, tf.ones([P, CLASSES], tf.float64), network.values(), engine=engine
            )
    with pytest.raises(ValueError, match=r"as Keras variables.*head/kernel"):
        LastLayer(model).forward(x)
    other = PastKeras("below")  # not of the last layer
    other(x)
    LastLayer(other).forward(x)
