"""Lambda-steps as a library meets them: one example, none, zero, NaN, heads that are not logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from ssl_weighting.algorithms import FixMatch
from ssl_weighting.inverse_hessian import METHODS, SolveOptions
from ssl_weighting.lambda_step import LambdaStep, LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.parameters import last_layer_curvature
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.weight_store import WeightStore

DAMPING = 0.3


def model_of(*stack):
    inputs = x = keras.Input([4])
    for layer in stack:
        x = layer(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape) / 2)
    return model


def net():
    return model_of(layers.Dense(5, "tanh", name="hidden"), layers.Dense(3, name="head"))


def batches(labeled=4, unlabeled=6, validation=5):
    rng = np.random.default_rng(1)

    def inputs(count):
        return tf.constant(rng.normal(size=[count, 4]), tf.float32)

    def labeled_of(count):
        return LabeledBatch(inputs(count), tf.constant(rng.integers(0, 3, count), tf.int32))

    ids = tf.range(unlabeled, dtype=tf.int64)
    return (
        labeled_of(labeled),
        UnlabeledBatch(ids, inputs(unlabeled), inputs(unlabeled)),
        labeled_of(validation),
    )


def step_of(model, threshold=0.0, iterations=500, dense_limit=4096, **settings):
    solve = SolveOptions(damping=DAMPING, iterations=iterations, dense_limit=dense_limit)
    settings = LambdaStepSettings(infl_bn="moving", solve=solve, **settings)
    store = WeightStore(8, "per_example", MAdam(0.01))
    return LambdaStep(model, FixMatch(threshold=threshold), store, settings)


@pytest.mark.parametrize("params", ["last_layer", "all"])
def test_one_example_of_each_kind(params):
    """One labeled, one unlabeled, one validation example: every method, against numpy."""
    model, found = net(), {}
    labeled, unlabeled, validation = batches(1, 1, 1)
    for method in [m for m in METHODS if m != "unrolled"]:
        step = step_of(model, inverse_hessian=method, influence_params=params)
        measured = step.measure(labeled, unlabeled, validation, 0)
        step.apply(measured)
        found[method] = float(measured.lam_gradient[0])
        moved = step.store.table().numpy() - 1
        np.testing.assert_allclose(moved[0], -0.01 * np.sign(found[method]), rtol=1e-4)
        assert not moved[1:].any()
    variables = step.parameters.variables
    target = tf.one_hot(tf.argmax(model(unlabeled.weak), -1), 3)

    def gradient(inputs, one_hot):
        with tf.GradientTape() as tape:
            loss = tf.nn.softmax_cross_entropy_with_logits(one_hot, model(inputs))[0]
        return step.parameters.network.flatten(tape.gradient(loss, [v.value for v in variables]))

    def half(inputs):
        """S^(1/2) J of one example, [C, p]."""
        with tf.GradientTape(persistent=True) as tape:
            z = tf.unstack(model(inputs)[0])
        each = [tape.gradient(part, [v.value for v in variables]) for part in z]
        jacobian = np.stack([step.parameters.network.flatten(part) for part in each])
        p = np.asarray(tf.nn.softmax(tf.stack(z)), np.float64)
        values, vectors = np.linalg.eigh(np.diag(p) - np.outer(p, p))
        return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T @ jacobian

    a, b = half(labeled.inputs), half(unlabeled.strong)
    h = a.T @ a + b.T @ b + DAMPING * np.eye(a.shape[1])
    g = gradient(unlabeled.strong, target).numpy()
    v = gradient(validation.inputs, tf.one_hot(validation.label, 3)).numpy()
    for method in ("exact", "conjugate_gradient", "neumann"):
        np.testing.assert_allclose(found[method], -g @ np.linalg.solve(h, v), rtol=1e-3)
    np.testing.assert_allclose(found["identity"], -g @ v, rtol=1e-4)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "unrolled"])
def test_what_has_no_gradient_leaves_lambda_alone(method):
    step = step_of(net(), threshold=1.0, inverse_hessian=method, iterations=3)
    measured = step.measure(*batches(), 0)  # every row is masked
    step.apply(measured)
    assert not measured.lam_gradient.numpy().any() and measured.report["finite"]
    np.testing.assert_array_equal(step.store.table(), np.ones(8))
    assert not step.store.visits.value.numpy().any()


@pytest.mark.parametrize("where", ["unlabeled", "validation"])
@pytest.mark.parametrize("method", ["exact", "identity"])
def test_what_is_not_finite_is_an_error_and_leaves_lambda_alone(method, where):
    step = step_of(net(), inverse_hessian=method)
    labeled, unlabeled, validation = batches()
    bad = tf.constant([[np.nan]] + [[0.0]] * 5)
    if where == "unlabeled":
        unlabeled = unlabeled._replace(strong=unlabeled.strong + bad)
    if where == "validation":
        validation = validation._replace(inputs=validation.inputs + bad[:5])
    state = [np.array(v.value) for v in step.store.variables]
    measured = step.measure(labeled, unlabeled, validation, 0)
    with pytest.raises(FloatingPointError, match=r"met a non-finite value: .*is untouched"):
        step.apply(measured)
    for before, after in zip(state, step.store.variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_no_unlabeled_examples_move_nothing():
    step = step_of(net())
    step.apply(step.measure(*batches(unlabeled=0), 0))
    np.testing.assert_array_equal(step.store.table(), np.ones(8))


def twice():
    head, inputs = layers.Dense(4, name="head"), keras.Input([4])
    return keras.Model(inputs, head(head(inputs)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_of(layers.Dense(3, "softmax")),
        lambda: model_of(layers.Dense(3), layers.Rescaling(0.5)),
        twice,
    ],
    ids=["activation", "scaled", "called twice"],
)
def test_a_last_layer_whose_output_is_not_the_logits_is_refused(make):
    parameters = LastLayer(make())
    with pytest.raises(ValueError, match="The logits must be what the last Dense layer returns"):
        parameters.forward(tf.zeros([2, 4]))


def test_features_are_those_of_the_head_where_the_model_tells_none():
    model = net()
    features = model.get_layer("hidden").output
    told = keras.Model(model.input, {"logits": model.output, "features": features})
    silent = keras.Model(model.input, {"logits": model.output})
    found = [step_of(m).measure(*batches(), 0).lam_gradient for m in (model, told, silent)]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    assert np.abs(found[0]).max() > 1e-3


def test_a_last_layer_too_large_for_a_matrix_never_forms_one(monkeypatch):
    dense = step_of(net()).measure(*batches(), 0)
    assert dense.report["hessian_over_damping"] > 0

    def refuse(rows):
        raise AssertionError("a matrix of p x p")

    monkeypatch.setattr(last_layer_curvature, "data_hessian", refuse)
    # p = 18; 10 rows of 3 classes are too many for Woodbury, 2 rows are not.
    for sizes, limit in ((batches(), 17), (batches(1, 1), 17)):
        found = step_of(net(), dense_limit=limit).measure(*sizes, 0)
        assert found.report["solve"] == "converged"
        assert "hessian_over_damping" not in found.report
        assert (found.report["iterations"] > 0) == (len(sizes[0].label) == 4)
        if len(sizes[0].label) == 4:
            np.testing.assert_allclose(found.lam_gradient, dense.lam_gradient, rtol=1e-6)


def test_unrolled_needs_the_steps_to_look_back_on():
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`replay` must be given .*inverse_hessian='unrolled'"):
        step_of(model, inverse_hessian="unrolled")
