"""Eq. 6 against re-solving the head; curvature and closed forms against autodiff."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting import losses, objective
from ssl_weighting.influence import influence, lam_gradient
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.structs import LabeledBatch, LossRows

B, U, V, D, C = 12, 20, 15, 4, 3
RIDGE = 0.05


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class Problem:
    """A convex head on fixed features, with frozen soft targets, solved by Newton in float64."""

    def __init__(self, rng, divergence=False):
        self.phi = rng.normal(size=(B + U + V, D))
        self.y = rng.integers(0, C, B)
        self.yv = rng.integers(0, C, V)
        self.q = rng.dirichlet(np.ones(C), U)
        self.lam = rng.uniform(0.2, 2.0, U)
        self.mask = (rng.uniform(size=U) < 0.8).astype(float)
        self.loss = losses.SoftmaxCrossEntropy(
            tf.constant(np.concatenate([np.eye(C)[self.y], self.q])), divergence
        )
        self.coefficient = np.concatenate([np.full(B, 1 / B), np.full(U, 0.7 / U)])

    def rows(self, theta):
        phi = tf.constant(self.phi[: B + U])
        z = tf.matmul(phi, theta[:-1]) + theta[-1]
        ids = np.stack([np.r_[-np.ones(B), np.arange(U)], -np.ones(B + U)], 1)
        ones = np.ones(B + U)
        return LossRows(
            loss=self.loss(z),
            coefficient=tf.constant(self.coefficient),
            mask=tf.constant(np.r_[np.ones(B), self.mask]),
            ids=tf.constant(ids, tf.int64),
            share=tf.constant(np.stack([ones, 0 * ones], 1)),
            features=phi,
            logits=z,
            loss_of_logits=self.loss,
            confidence=tf.constant(np.stack([ones, ones], 1)),
        )

    def weights(self, rows, lam):
        table = tf.constant(np.stack([np.r_[np.ones(B), lam], np.ones(B + U)], 1))
        return objective.row_weights(rows, table)

    def total(self, theta, lam):
        rows = self.rows(theta)
        data = objective.weighted_objective(rows, self.weights(rows, lam))
        return data + RIDGE / 2 * tf.reduce_sum(theta**2)

    def derivatives(self, theta, lam):
        theta = tf.constant(theta)
        with tf.GradientTape() as outer:
            outer.watch(theta)
            with tf.GradientTape() as inner:
                inner.watch(theta)
                value = self.total(theta, lam)
            gradient = inner.gradient(value, theta)
        size = (D + 1) * C
        hessian = tf.reshape(outer.jacobian(gradient, theta), [size, size])
        return gradient.numpy().ravel(), hessian.numpy()

    def solve(self, lam, theta=None):
        """Newton in numpy with derivatives written out by hand: nothing of the library in it."""
        phi = np.c_[self.phi[: B + U], np.ones(B + U)]
        targets = np.concatenate([np.eye(C)[self.y], self.q])
        factor = self.coefficient * np.r_[np.ones(B), self.mask * lam]
        theta = np.zeros((D + 1, C)) if theta is None else theta
        for _ in range(50):
            p = softmax(phi @ theta)
            g = (phi.T @ (factor[:, None] * (p - targets)) + RIDGE * theta).ravel()
            if np.abs(g).max() < 1e-15:
                break
            s = np.einsum("rc,cd->rcd", p, np.eye(C)) - p[:, :, None] * p[:, None]
            h = np.einsum("r,ri,rj,rcd->icjd", factor, phi, phi, s).reshape(g.size, g.size)
            theta = theta - np.linalg.solve(h + RIDGE * np.eye(g.size), g).reshape(theta.shape)
        assert np.abs(g).max() < 1e-13
        return theta

    def validation_loss(self, theta):
        p = softmax(self.phi[B + U :] @ theta[:-1] + theta[-1])
        return -np.log(p[np.arange(V), self.yv]).mean()


def model_at(theta):
    """The head alone as a Keras model: features in, logits out."""
    inputs = keras.Input([D], dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(C, dtype="float64", name="head")(inputs))
    model.layers[-1].set_weights([theta[:-1], theta[-1]])
    return model


KINDS = {
    "last_layer": LastLayer,
    "forward": Subnetwork,
    "ghost": lambda model, **options: Subnetwork(model, engine="ghost", **options),
}


def influence_of(problem, theta, kind="last_layer", method="exact", damping=RIDGE, **options):
    parameters = KINDS[kind](model_at(theta), **options)
    inputs = tf.constant(problem.phi[: B + U])
    out = parameters.forward(inputs)
    rows = problem.rows(tf.constant(theta))
    rows = rows._replace(features=out.get("features"), logits=out["logits"])
    coefficients = objective.row_coefficients(rows, problem.weights(rows, problem.lam))
    prepared = parameters.prepare(rows, [inputs], coefficients)
    validation = LabeledBatch(tf.constant(problem.phi[B + U :]), tf.constant(problem.yv))
    found = influence(parameters, prepared, validation, method, SolveOptions(damping=damping))
    return found, rows, parameters, prepared


@pytest.mark.parametrize("divergence", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_central_differences_of_the_resolved_head(rng, divergence, kind):
    problem = Problem(rng, divergence)
    optimum = problem.solve(problem.lam)
    assert np.abs(problem.derivatives(optimum, problem.lam)[0]).max() < 1e-13
    found, rows, *_ = influence_of(problem, optimum, kind)
    ids, ours = lam_gradient(rows, found.scores, U)
    np.testing.assert_array_equal(ids, np.arange(U))
    ours = ours.numpy() / U  # reported per d l_U
    step, numeric = 1e-4, np.zeros(U)
    for u in range(U):
        values = []
        for sign in (1, -1):
            lam = problem.lam.copy()
            lam[u] += sign * step
            values.append(problem.validation_loss(problem.solve(lam, optimum)))
        numeric[u] = (values[0] - values[1]) / (2 * step)
    error = np.linalg.norm(ours - numeric) / np.linalg.norm(numeric)
    assert error < 1e-6, error
    assert np.abs(numeric).max() > 1e-4  # the comparison is about something
    masked = problem.mask == 0
    assert masked.any() and (ours[masked] == 0).all()


@pytest.mark.parametrize("kind", ["last_layer", "forward"])
def test_curvature_and_validation_gradient_equal_autodiff_through_the_objective(rng, kind):
    problem = Problem(rng)
    theta = rng.normal(size=(D + 1, C))
    _, dense = problem.derivatives(theta, problem.lam)
    dense = dense - RIDGE * np.eye(len(dense))
    found, rows, parameters, prepared = influence_of(problem, theta, kind)
    curvature = parameters.curvature(prepared)
    np.testing.assert_allclose(curvature.dense(), dense, atol=1e-13)
    x = rng.normal(size=len(dense))
    np.testing.assert_allclose(curvature.product(tf.constant(x)), dense @ x, atol=1e-13)
    factor = curvature.factor().numpy()
    np.testing.assert_allclose(factor.T @ factor, dense, atol=1e-13)
    gradients, coefficients = curvature.gradients()
    with tf.GradientTape() as tape:
        variable = tf.Variable(theta)
        each = problem.rows(variable).loss
    each = tape.jacobian(each, variable).numpy().reshape(B + U, -1)
    np.testing.assert_allclose(gradients, each, atol=1e-13)
    factors = objective.row_coefficients(rows, problem.weights(rows, problem.lam))
    np.testing.assert_allclose(coefficients, factors)
    draws = [
        curvature.sampled_product(tf.constant(k, tf.int64), tf.constant(x)) for k in range(400)
    ]
    spread = np.std(draws, axis=0) / 20
    assert (np.abs(np.mean(draws, axis=0) - dense @ x) < 5 * spread).all() and spread.max() > 0

    variable = tf.Variable(theta)
    phi = tf.constant(problem.phi[B + U :])
    with tf.GradientTape() as tape:
        z = tf.matmul(phi, variable[:-1]) + variable[-1]
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant(problem.yv), z)
        )
    expected = tape.gradient(loss, variable).numpy().ravel()
    np.testing.assert_allclose(found.val_gradient, expected, atol=1e-15)
    np.testing.assert_allclose(found.validation_loss, loss, atol=1e-15)


def test_without_the_bias_its_part_is_left_out(rng):
    problem = Problem(rng)
    theta = rng.normal(size=(D + 1, C))
    _, _, parameters, prepared = influence_of(problem, theta)
    whole = parameters.curvature(prepared).dense().numpy()
    _, _, parameters, prepared = influence_of(problem, theta, include_bias=False)
    assert parameters.size == D * C and len(parameters.variables) == 1
    part = parameters.curvature(prepared).dense()
    np.testing.assert_allclose(part, whole[: D * C, : D * C], atol=1e-15)


@pytest.mark.parametrize("divergence", [False, True])
def test_closed_forms_equal_autodiff(rng, divergence):
    z = tf.constant(rng.normal(size=(7, 5)) * 3)
    loss = losses.SoftmaxCrossEntropy(tf.constant(rng.dirichlet(np.ones(5), 7)), divergence)
    plain = lambda logits: loss(logits)  # noqa: E731  hides the closed forms
    np.testing.assert_allclose(
        losses.logit_gradient(loss, z), losses.logit_gradient(plain, z), atol=1e-14
    )
    for curvature in ("hessian", "gauss_newton"):
        np.testing.assert_allclose(
            losses.logit_hessian(loss, z, curvature),
            losses.logit_hessian(plain, z, curvature),
            atol=1e-13,
        )


def test_losses_equal_scipy(rng):
    from scipy.special import rel_entr

    z, q = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(4), 6)
    p = softmax(z)
    kl = losses.SoftmaxCrossEntropy(tf.constant(q), True)(tf.constant(z))
    np.testing.assert_allclose(kl, rel_entr(q, p).sum(1), rtol=1e-12)
    ce = losses.SoftmaxCrossEntropy(tf.constant(q))(tf.constant(z))
    np.testing.assert_allclose(ce, -(q * np.log(p)).sum(1), rtol=1e-12)


def test_indefinite_losses_become_positive_semi_definite_under_gauss_newton(rng):
    q = tf.constant(np.eye(4)[rng.integers(0, 4, 30)])
    brier = lambda z: tf.reduce_sum((tf.nn.softmax(z) - q) ** 2, -1)  # noqa: E731
    z = tf.constant(rng.normal(size=(30, 4)) * 2)
    raw = np.linalg.eigvalsh(losses.logit_hessian(brier, z, "hessian").numpy())
    psd = np.linalg.eigvalsh(losses.logit_hessian(brier, z, "gauss_newton").numpy())
    assert raw.min() < -1e-2
    assert psd.min() > -1e-12
    np.testing.assert_allclose(psd.max(1), raw.max(1), atol=1e-12)
    with pytest.raises(ValueError, match="must be one of hessian, gauss_newton"):
        losses.logit_hessian(brier, z, "fisher")


def test_undamped_softmax_hessian_is_singular_and_the_report_says_how_far_from_identity(rng):
    problem = Problem(rng)
    theta = problem.solve(problem.lam)
    found, _, parameters, prepared = influence_of(problem, theta)
    assert 0 < float(found.cosine) < 1
    hessian = parameters.curvature(prepared).dense().numpy()
    assert np.linalg.matrix_rank(hessian) == (D + 1) * (C - 1)
    same = influence_of(problem, theta, method="identity")[0]
    np.testing.assert_allclose(same.cosine, 1)


@pytest.mark.parametrize(
    "method", ["conjugate_gradient", "neumann", "outer_product", "kfac", "ekfac", "stochastic_cg"]
)
@pytest.mark.parametrize("kind", ["last_layer", "forward"])
def test_every_method_runs_on_both_kinds_and_they_agree(rng, method, kind):
    problem = Problem(rng)
    theta = problem.solve(problem.lam)
    found, _, parameters, prepared = influence_of(problem, theta, kind, method)
    assert np.isfinite(found.scores).all() and np.abs(found.scores).max() > 0
    x = found.val_direction.numpy()
    if method == "outer_product":
        gradients, c = parameters.curvature(prepared).gradients()
        h = np.einsum("n,np,nq->pq", c, gradients, gradients)
    else:
        h = parameters.curvature(prepared).dense().numpy()
    truth = np.linalg.solve(h + RIDGE * np.eye(len(h)), found.val_gradient)
    error = np.linalg.norm(x - truth) / np.linalg.norm(truth)
    limit = {"conjugate_gradient": 1e-5, "outer_product": 1e-9, "neumann": 0.5}.get(method, 0.9)
    assert error < limit, error
