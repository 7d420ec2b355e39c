"""Every engine against a loop of one example by plain reverse mode on the model itself."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import CLASSES, MODELS, WITH_BATCH_NORM, make

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients import (
    ENGINES,
    per_example_dot_products,
    per_example_gradients,
)

P = 5
BUILD = [name for name, engine in ENGINES.items() if engine.gradients]
TOLERANCE = {"float64": 1e-10, "float32": 2e-4}


def logits(model, inputs, training=False):
    out = model(inputs, training=training)
    return out["logits"] if isinstance(out, dict) else out


class Case:
    """A model, its inputs, a cotangent, a direction, and the rows of the Jacobian by autodiff."""

    def __init__(self, name, dtype="float64", batch_norm="moving", select="all", examples=P):
        self.model, inputs = make(name, dtype, examples)
        self.inputs = tf.nest.map_structure(tf.constant, inputs)
        self.network = Network(self.model, select, batch_norm=batch_norm)
        rng = np.random.default_rng(11)
        self.cotangent = tf.constant(rng.normal(size=[examples, CLASSES]).astype(dtype))
        self.vector = [tf.constant(rng.normal(size=s).astype(dtype)) for s in self.network.shapes]
        self.batch_norm, self.examples, self.tolerance = batch_norm, examples, TOLERANCE[dtype]

    @functools.cached_property
    def rows(self):
        """g_p, a list of [P, *shape]: one reverse pass per example, no `Network` involved."""
        # Traced once: at every plain call Keras compiles a grouped convolution anew.
        row = tf.function(self.row, autograph=False)
        kept = [(w, w.numpy()) for w in self.model.weights]
        each = []
        for p in range(self.examples):
            each.append([part.numpy() for part in row(tf.constant(p))])
            for variable, value in kept:
                variable.assign(value)
        return [np.stack(parts) for parts in zip(*each, strict=True)]

    def row(self, p):
        chosen = [v.value for v in self.network.variables]
        if hasattr(self.model, "dropout"):
            self.model.dropout.rate = 0.0
        with tf.GradientTape() as tape:
            if self.batch_norm == "batch":  # the whole batch sets the statistics
                z = logits(self.model, self.inputs, training=True)[p]
            else:
                one = tf.nest.map_structure(lambda x: x[p : p + 1], self.inputs)
                z = logits(self.model, one)[0]
            loss = tf.reduce_sum(z * self.cotangent[p])
        if hasattr(self.model, "dropout"):
            self.model.dropout.rate = 0.5
        found = tape.gradient(loss, chosen, unconnected_gradients="zero")
        return [tf.convert_to_tensor(g) for g in found]

    @property
    def products(self):
        pairs = zip(self.rows, self.vector, strict=True)
        return sum((g * v.numpy()).reshape(self.examples, -1).sum(1) for g, v in pairs)

    def gradients(self, engine):
        return per_example_gradients(self.network, self.inputs, self.cotangent, engine=engine)

    def dots(self, engine):
        return per_example_dot_products(
            self.network, self.inputs, self.cotangent, self.vector, engine=engine
        )

    def check(self, found, expected):
        for ours, theirs in zip(found, expected, strict=True):
            scale = max(np.abs(theirs).max(), 1e-3)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=self.tolerance * scale)


case = functools.cache(Case)


@functools.cache
def gradients_of(engine, name, dtype="float64"):
    return case(name, dtype).gradients(engine)


# The engines of whole passes have no rule of their own that could mix dtypes up.
RULES = [(engine, "float32") for engine in ("forward", "ghost", "layerwise")]
LOOPS = [(engine, "float32") for engine in ENGINES if (engine, "float32") not in RULES]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("engine", "dtype"),
    [(engine, "float64") for engine in ENGINES]
    + RULES
    + [pytest.param(*one, marks=pytest.mark.slow) for one in LOOPS],
)
def test_with_moving_statistics_all_engines_equal_the_loop_of_one(engine, name, dtype):
    c = case(name, dtype)
    c.check([c.dots(engine)], [c.products])
    if ENGINES[engine].gradients:
        found = gradients_of(engine, name, dtype)
        c.check(found, c.rows)
        assert [g.dtype.name for g in found] == [dtype] * len(found)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_sum_to_the_batch_gradient(name):
    c = case(name)

    @tf.function(autograph=False)  # as in `Case.rows`
    def gradient():
        chosen = [v.value for v in c.network.variables]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(logits(c.model, c.inputs) * c.cotangent)
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, chosen)]

    whole = [g.numpy() for g in gradient()]
    for engine in BUILD:
        c.check([np.sum(g, axis=0) for g in gradients_of(engine, name)], whole)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_with_batch_statistics_forward_gives_the_rows_of_the_jacobian(name, dtype):
    c = case(name, dtype, "batch")
    before = [w.numpy() for w in c.model.weights]
    c.check([c.dots("forward")], [c.products])
    assert np.abs(c.products - case(name, dtype).products).max() > 1e-2, "the mode has no effect"
    for kept, w in zip(before, c.model.weights, strict=True):
        np.testing.assert_array_equal(kept, w.numpy())  # no statistics have moved


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_with_batch_statistics_layerwise_and_ghost_have_the_right_sums(name):
    c = case(name, batch_norm="batch")
    c.check([np.sum(g, axis=0) for g in c.gradients("layerwise")], [g.sum(0) for g in c.rows])
    c.check([c.dots("ghost")], [c.dots("layerwise").numpy()])
    assert np.abs(c.dots("ghost") - c.products).max() > 1e-3  # columns, not rows


@pytest.mark.parametrize("engine", ["serial", "vectorized_map"])
def test_batch_statistics_need_a_batch(engine):
    c = case("conv", batch_norm="batch")
    for call in (c.gradients, c.dots):
        with pytest.raises(ValueError, match=r"`batch_norm` must be \"moving\".*batch of one"):
            call(engine)
    c = case("mlp", batch_norm="batch")  # has no statistics
    c.check([c.dots(engine)], [c.products])


def test_frozen_batch_normalization_ties_nothing():
    c = Case("conv", batch_norm="moving")
    for layer in c.model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    frozen = Network(c.model, batch_norm="batch")
    assert not frozen.ties_examples
    same = Network(c.model, batch_norm="moving")
    vector = [v for v, w in zip(c.vector, c.network.variables, strict=True) if w.trainable]
    found = [
        per_example_dot_products(n, c.inputs, c.cotangent, vector, engine=engine)
        for n, engine in ((frozen, "forward"), (frozen, "serial"), (same, "ghost"))
    ]
    c.check(found[1:], [found[0].numpy()] * 2)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(
    ("name", "engines"),
    [("conv", ["forward", "ghost"]), ("subclassed", list(ENGINES)), ("attention", ["forward"])],
)
def test_engines_inside_tf_function(name, engines, jit):
    c = case(name)

    @tf.function(autograph=False, jit_compile=jit)
    def run():
        return [c.dots(engine) for engine in engines], c.gradients("layerwise")

    dots, gradients = run()
    c.check(dots, [c.products] * len(dots))
    c.check(gradients, c.rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_of_one(engine):
    c = case("subclassed", examples=1)
    c.check([c.dots(engine)], [c.products])


@pytest.mark.parametrize("engine", ENGINES)
def test_no_cotangent_no_gradient(engine):
    c = Case("shared")
    c.cotangent = tf.zeros_like(c.cotangent)
    np.testing.assert_array_equal(c.dots(engine), np.zeros(P))
    if engine in BUILD:
        for g, shape in zip(c.gradients(engine), c.network.shapes, strict=True):
            np.testing.assert_array_equal(g, np.zeros([P, *shape]))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_input_breaks_its_own_example_alone(engine):
    c = Case("subclassed")
    broken = c.inputs.numpy()
    broken[2, 1] = np.nan
    c.inputs = tf.constant(broken)
    found = c.dots(engine).numpy()
    np.testing.assert_array_equal(np.isnan(found), np.arange(P) == 2)
    others = np.arange(P) != 2
    c.check([found[others]], [case("subclassed").products[others]])


@pytest.mark.parametrize(
    ("name", "select", "paths"),
    [
        ("conv", "last_layer", ["head/kernel", "head/bias"]),
        ("conv", "^groups/|depthwise", ["groups/kernel", "groups/bias", "depthwise/kernel"]),
        ("conv", "bias$|beta", ["stem/bias", "norm_1/beta", "groups/bias"]),
        ("conv", "norm_1/gamma", ["norm_1/gamma"]),
        ("attention", "query|embeddings", ["embedding/embeddings", "attention/query/kernel"]),
    ],
)
def test_selections(name, select, paths):
    c = case(name, select=select)
    found = [v.path for v in c.network.variables]
    assert found[: len(paths)] == paths
    for engine in ("forward", "ghost", "layerwise"):
        c.check([c.dots(engine)], [c.products])


@pytest.mark.parametrize("engine", ["forward", "serial", "vectorized_map"])
def test_number_of_examples_unknown_while_tracing(engine):
    c = case("mlp")
    run = tf.function(
        lambda x, cotangent: per_example_dot_products(
            c.network, x, cotangent, c.vector, engine=engine, max_memory=3_000
        ),
        autograph=False,
        input_signature=[tf.TensorSpec([None, 4], "float64"), tf.TensorSpec([None, 3], "float64")],
    )
    c.check([run(c.inputs, c.cotangent)], [c.products])
    c.check([run(c.inputs[:1], c.cotangent[:1])], [c.products[:1]])


def test_arguments_that_do_not_fit():
    c = case("mlp")
    run = functools.partial(per_example_dot_products, c.network, c.inputs)
    with pytest.raises(ValueError, match=r"`engine` must be one of forward, .*Received.*'typo'"):
        run(c.cotangent, c.vector, engine="typo")
    for engine in ("forward", "ghost"):
        with pytest.raises(ValueError, match=r"must be one of layerwise, layerwise_vec.*, serial"):
            c.gradients(engine)
    with pytest.raises(ValueError, match=r"`cotangent` must be \[P, C\].*\(2, 3\) for \[5\]"):
        run(c.cotangent[:2], c.vector)
    with pytest.raises(ValueError, match=r"`cotangent` must be \[P, C\]"):
        run(c.cotangent[:, 0], c.vector)
    for vector in (c.vector[:-1], [v[None] for v in c.vector]):
        with pytest.raises(ValueError, match=r"`vector` must be a list .*network\.unflatten"):
            run(c.cotangent, vector)
