"""App. D's head for two classes: f -> (f/2, -f/2), the paper's (f, -f), and what Eq. 6 gains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.influence import influence, lam_gradient
from ssl_weighting.inverse_hessian import CONVERGED, DIVERGED, SolveOptions, solve
from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.models import LOGIT_MAPS, split_head
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.structs import LabeledBatch, LossRows

SCALE = {"half": 1.0, "paper": 2.0}  # P(class 0) = sigma(scale * f)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def model_of(d, reparam, seed=0):
    """A head alone: features in; random kernel and bias."""
    inputs = keras.Input([d], dtype="float64")
    features = keras.layers.Identity(dtype="float64")(inputs)
    init = keras.initializers.TruncatedNormal(stddev=0.5, seed=seed)
    model = split_head(inputs, features, 2, init, "net", reparam=reparam, dtype="float64")
    model.get_layer("head").bias.assign(np.full(model.get_layer("head").bias.shape, 0.3))
    return model


class Problem:
    """B labeled and U unlabeled rows with soft targets, V validation rows, on fixed features."""

    def __init__(self, rng, b=8, u=12, v=10, d=3):
        self.b, self.u, self.d = b, u, d
        self.phi, self.phi_v = rng.normal(size=(b + u, d)), rng.normal(size=(v, d))
        self.q = np.r_[
            rng.integers(0, 2, b).astype(float), rng.uniform(0.05, 0.95, u)
        ]  # of class 0
        self.label_v = rng.integers(0, 2, v)
        self.lam = rng.uniform(0.3, 2.0, u)
        self.coefficient = np.r_[np.full(b, 1 / b), np.full(u, 0.8 / u)]

    def factor(self, lam):
        return self.coefficient * np.r_[np.ones(self.b), lam]

    def solve(self, lam, scale, ridge):
        """Newton on f = phi w + c in numpy, with derivatives by hand: the library is not in it."""
        x, theta = np.c_[self.phi, np.ones(len(self.phi))], np.zeros(self.d + 1)
        for _ in range(60):
            p = sigma(scale * x @ theta)
            g = scale * x.T @ (self.factor(lam) * (p - self.q)) + ridge * theta
            h = scale**2 * (x.T * (self.factor(lam) * p * (1 - p))) @ x
            theta = theta - np.linalg.solve(h + ridge * np.eye(len(theta)), g)
        assert np.abs(g).max() < 1e-12
        return theta

    def validation_loss(self, theta, scale):
        p = sigma(scale * (self.phi_v @ theta[:-1] + theta[-1]))
        return -np.log(np.where(self.label_v == 0, p, 1 - p)).mean()

    def rows(self, parameters):
        out = parameters.forward(tf.constant(self.phi))
        loss = SoftmaxCrossEntropy(tf.constant(np.stack([self.q, 1 - self.q], 1)))
        n, ones = len(self.phi), np.ones(len(self.phi))
        ids = np.r_[-np.ones(self.b), np.arange(self.u)]
        return LossRows(
            loss=loss(out["logits"]),
            coefficient=tf.constant(self.coefficient),
            mask=tf.constant(ones),
            ids=tf.constant(np.stack([ids, -np.ones(n)], 1), tf.int64),
            share=tf.constant(np.stack([ones, 0 * ones], 1)),
            features=out["features"],
            logits=out["logits"],
            loss_of_logits=loss,
            confidence=tf.constant(np.stack([ones, ones], 1)),
        )

    def prepared(self, parameters):
        rows = self.rows(parameters)
        return rows, parameters.prepare(rows, [], tf.constant(self.factor(self.lam)))

    def validation(self):
        return LabeledBatch(tf.constant(self.phi_v), tf.constant(self.label_v))


def test_half_is_the_loss_of_two_logits_and_the_papers_is_twice_as_steep(rng):
    phi = rng.normal(size=(6, 3))
    two, half, paper = (model_of(3, name) for name in ("none", "half", "paper"))
    kernel, bias = two.get_layer("head").get_weights()
    for model, share in ((half, 1.0), (paper, 0.5)):
        head = model.get_layer("head")
        head.set_weights([share * (kernel[:, :1] - kernel[:, 1:]), share * (bias[:1] - bias[1:])])
    f = half.get_layer("head")(phi).numpy()[:, 0]
    np.testing.assert_allclose(half(phi)["logits"], np.stack([f / 2, -f / 2], 1), rtol=1e-14)
    target = tf.constant(rng.dirichlet([1, 1], 6))
    losses = [SoftmaxCrossEntropy(target)(m(phi)["logits"]).numpy() for m in (two, half, paper)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-12)  # at half the parameters
    paper.get_layer("head").set_weights(half.get_layer("head").get_weights())
    for model, scale in ((half, 1.0), (paper, 2.0)):
        p = tf.nn.softmax(model(phi)["logits"])[:, 0].numpy()
        np.testing.assert_allclose(p, sigma(scale * f), rtol=1e-12)
    assert np.abs(f).max() > 0.5
    assert half.get_layer("logit_map").kernel.numpy().tolist() == LOGIT_MAPS["half"]
    assert len(half.trainable_variables) == 2


@pytest.mark.parametrize("reparam", ["half", "paper"])
def test_eq_6_equals_central_differences_of_the_resolved_head(rng, reparam):
    problem, scale, ridge = Problem(rng), SCALE[reparam], 0.02
    theta = problem.solve(problem.lam, scale, ridge)
    model = model_of(problem.d, reparam)
    model.get_layer("head").set_weights([theta[:-1, None], theta[-1:]])
    parameters = LastLayer(model)
    rows, prepared = problem.prepared(parameters)
    options = SolveOptions(damping=ridge)
    found = influence(parameters, prepared, problem.validation(), "exact", options)
    _, ours = lam_gradient(rows, found.scores, problem.u)
    numeric, step = np.zeros(problem.u), 1e-4
    for u in range(problem.u):
        pair = []
        for sign in (1, -1):
            lam = problem.lam + sign * step * np.eye(problem.u)[u]
            pair.append(problem.validation_loss(problem.solve(lam, scale, ridge), scale))
        numeric[u] = (pair[0] - pair[1]) / (2 * step)
    error = np.linalg.norm(ours.numpy() / problem.u - numeric) / np.linalg.norm(numeric)
    assert error < 1e-6 and np.abs(numeric).max() > 1e-4
    np.testing.assert_allclose(found.validation_loss, problem.validation_loss(theta, scale))


def test_more_rows_than_features_two_logits_have_a_null_space_one_has_not(rng):
    problem = Problem(rng)
    for reparam, size, nullity in (("none", 8, 4), ("half", 4, 0), ("paper", 4, 0)):
        parameters = LastLayer(model_of(problem.d, reparam))
        curvature = parameters.curvature(problem.prepared(parameters)[1])
        values = np.linalg.eigvalsh(curvature.dense().numpy())
        assert parameters.size == len(values) == size
        assert (values < 1e-12 * values.max()).sum() == nullity
        _, gradient = parameters.validation_gradient(problem.validation())
        found = solve("exact", curvature, gradient, SolveOptions(damping=0.0))
        if nullity:
            assert found.status == DIVERGED or found.condition > 1e12
        else:
            assert found.status == CONVERGED and found.condition < 1e4


@pytest.mark.parametrize("reparam", ["none", "half"])
def test_fewer_rows_than_features_need_damping_and_are_solved_in_example_space(rng, reparam):
    problem = Problem(rng, b=4, u=6, d=30)
    parameters = LastLayer(model_of(problem.d, reparam))
    curvature = parameters.curvature(problem.prepared(parameters)[1])
    hessian = curvature.dense().numpy()
    assert np.linalg.matrix_rank(hessian, tol=1e-10) == 10 < parameters.size
    _, v = parameters.validation_gradient(problem.validation())
    bare = solve("exact", curvature, v, SolveOptions(damping=0.0))
    assert bare.status == DIVERGED or bare.condition > 1e12
    expected = np.linalg.solve(hessian + 0.1 * np.eye(parameters.size), v.numpy())
    for limit in (4096, curvature.factor_rows):  # a matrix of parameters, or one of examples
        found = solve("exact", curvature, v, SolveOptions(damping=0.1, dense_limit=limit))
        np.testing.assert_allclose(found.vector, expected, rtol=1e-9)
        assert found.status == CONVERGED
        assert np.isnan(found.condition) == (limit < parameters.size)  # the dense route knows it


def test_stale_scores_go_through_the_logit_map(rng):
    problem = Problem(rng)
    parameters = LastLayer(model_of(problem.d, "paper"))
    rows, prepared = problem.prepared(parameters)
    direction = tf.constant(rng.normal(size=parameters.size))
    _, expected = lam_gradient(rows, -parameters.dot_products(prepared, direction), problem.u)
    scores = StaleScores(problem.u, parameters.size, logit_map=parameters.logit_map)
    scores.direction.assign(tf.cast(direction, "float32"))
    scores.ready.assign(1)
    as_trained = {
        name: tf.cast(getattr(rows, name), "float32")
        for name in ("coefficient", "mask", "share", "features", "logits")
    }
    scores.add(rows._replace(**as_trained), problem.u)
    np.testing.assert_allclose(scores.total.value, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 0.1
