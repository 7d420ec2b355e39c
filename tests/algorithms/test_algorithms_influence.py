"""Eq. 6 on the rows of every algorithm with mixed, multi-view or indefinite rows."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import tensorflow as tf
from linear_net import (
    MAKERS,
    C,
    D,
    U,
    W,
    cross_entropy,
    rows_of,
)

from ssl_weighting import objective
from ssl_weighting.influence import influence, lam_gradient
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.structs import LabeledBatch

# Eq. 6 on mixed and multi-view rows: the head re-solved with lambda_u +- a little, in float64.
# The losses are not convex in the logits. The ridge bounds the objective's minima, and Eq. 6 holds
# at each that is strict, which the Cholesky factor in `solve` requires.
RIDGE = 2.0


class Resolved:
    """A batch's frozen rows as a function of a head [D + 1, C]."""

    def __init__(self, rows):
        self.rows, self.phi = rows, tf.cast(rows.features, tf.float64)

    def total(self, theta, lam):
        z = tf.matmul(self.phi, theta[:-1]) + theta[-1]
        parents = tf.gather(lam, tf.maximum(self.rows.ids, 0))
        parents = tf.where(self.rows.ids < 0, tf.ones_like(parents), parents)
        weights = tf.reduce_sum(tf.cast(self.rows.share, tf.float64) * parents, 1)
        factor = tf.cast(self.rows.coefficient * self.rows.mask, tf.float64) * weights
        loss = self.rows.loss_of_logits(z)
        return tf.reduce_sum(factor * loss) + RIDGE / 2 * tf.reduce_sum(theta**2)

    @tf.function(autograph=False)
    def derivatives(self, theta, lam):
        with tf.GradientTape() as outer:
            outer.watch(theta)
            with tf.GradientTape() as inner:
                inner.watch(theta)
                value = self.total(theta, lam)
            gradient = tf.reshape(inner.gradient(value, theta), [-1])
        return value, gradient, tf.reshape(outer.jacobian(gradient, theta), [tf.size(theta)] * 2)

    def solve(self, lam, theta):
        """Return the strict local minimum that a trust-region descent from `theta` leads to."""

        def derivatives(flat):
            found = self.derivatives(tf.constant(flat.reshape(theta.shape)), lam)
            return [part.numpy() for part in found]

        descent = scipy.optimize.minimize(
            lambda flat: derivatives(flat)[0],
            np.ravel(theta),
            jac=lambda flat: derivatives(flat)[1],
            hess=lambda flat: derivatives(flat)[2],
            method="trust-exact",
            options={"gtol": 1e-6},
        )
        assert descent.success, descent.message
        flat = descent.x
        for _ in range(3):  # a trust region cannot see a decrease that rounding hides; Newton can
            _, gradient, hessian = derivatives(flat)
            flat = flat - scipy.linalg.cho_solve(scipy.linalg.cho_factor(hessian), gradient)
        assert np.abs(derivatives(flat)[1]).max() < 1e-13
        return tf.constant(flat.reshape(theta.shape))


def numeric_changes(problem, lam, theta, validation_loss):
    """d L_S(V) / d lambda_u by central differences of the re-solved head, [U]."""
    delta, numeric = 1e-3, np.zeros(U)
    for u in range(U):
        ends = [
            validation_loss(
                problem.solve(lam + sign * delta * tf.one_hot(u, U, dtype=tf.float64), theta)
            )
            for sign in (1, -1)
        ]
        numeric[u] = (ends[0] - ends[1]) / (2 * delta)
    return numeric


@pytest.mark.parametrize("name", list(MAKERS))
def test_eq_6_on_mixed_and_multi_view_rows_equals_central_differences(name):
    rows, _ = rows_of(name)
    problem = Resolved(rows)
    draw = np.random.default_rng(1)
    lam = tf.constant(draw.uniform(0.5, 1.5, U))
    start = tf.constant(np.r_[W, np.zeros([1, C])] * 0.1)
    theta = problem.solve(lam, start)
    validation = LabeledBatch(tf.constant(draw.normal(size=(9, D))), tf.constant([0, 1, 2] * 3))
    one_hot = np.eye(C)[validation.label]

    def validation_loss(theta):
        theta = np.asarray(theta)
        return cross_entropy(one_hot, validation.inputs.numpy() @ theta[:-1] + theta[-1]).mean()

    inputs = keras.Input([D], dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(C, dtype="float64", name="head")(inputs))
    model.layers[-1].set_weights([theta[:-1].numpy(), theta[-1].numpy()])
    parameters = LastLayer(model, curvature="hessian")
    out = parameters.forward(problem.phi)
    at = rows._replace(features=out["features"], logits=out["logits"])
    parents = tf.where(
        rows.ids < 0, 1.0, tf.gather(tf.cast(lam, tf.float32), tf.maximum(rows.ids, 0))
    )
    coefficients = objective.row_coefficients(rows, objective.row_weights(rows, parents))
    prepared = parameters.prepare(at, [], coefficients)
    found = influence(parameters, prepared, validation, "exact", SolveOptions(damping=RIDGE))
    ids, gradient = lam_gradient(at, found.scores, U)
    ours = np.zeros(U)
    np.add.at(ours, ids.numpy(), gradient.numpy() / U)
    numeric = numeric_changes(problem, lam, theta, validation_loss)
    np.testing.assert_allclose(ours, numeric, rtol=2e-4, atol=1e-5 * np.abs(numeric).max())
    assert np.abs(numeric).max() > 0
