"""The minimum of a softmax head's objective against independent solvers."""

import numpy as np
import pytest
import scipy.optimize
import threadpoolctl
from sklearn.linear_model import LogisticRegression

from ssl_weighting.theta.convex_head import Problem, minimum

RIDGE = 0.02


def problem(rows=60, features=4, classes=3, seed=0, soft=True):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(rows, features)), np.ones([rows, 1])], axis=1)
    q = rng.dirichlet(np.full(classes, 0.3), rows)
    q = q if soft else np.eye(classes)[rng.integers(classes, size=rows)]
    decay = np.full(features + 1, RIDGE)
    decay[-1] = 0
    return Problem(x, q, rng.uniform(0, 2 / rows, rows), decay)


def nothing(p):
    return np.zeros([p.features.shape[1], p.targets.shape[1]])


def test_value_and_gradient_are_those_of_the_formula():
    p = problem()
    theta = np.random.default_rng(1).normal(size=nothing(p).shape)
    value, gradient = p.value_and_gradient(theta)
    expected = 0.5 * RIDGE * (theta[:-1] ** 2).sum()
    for x, q, a in zip(p.features, p.targets, p.coefficients, strict=True):
        z = x @ theta
        expected += a * -(q * (z - np.log(np.exp(z).sum()))).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for place in np.ndindex(theta.shape):
        moved = [theta.copy() for _ in range(2)]
        moved[0][place] += 1e-5
        moved[1][place] -= 1e-5
        ends = [p.value_and_gradient(one)[0] for one in moved]
        np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-5, atol=1e-9)


def test_large_logits_neither_overflow_nor_vanish():
    p = problem()
    value, gradient = p.value_and_gradient(nothing(p) + 1e4 * np.eye(5, 3))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_the_search_takes_one_thread_and_gives_the_others_back(monkeypatch):
    def threads():
        pools = threadpoolctl.threadpool_info()
        return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}

    found, formula = [], Problem.value_and_gradient

    def spying(self, theta):
        found.append(threads())
        return formula(self, theta)

    monkeypatch.setattr(Problem, "value_and_gradient", spying)
    with threadpoolctl.threadpool_limits(2, "blas"):
        minimum(problem(), nothing(problem()), 1e-6)
        assert threads() == {2} and len(found) > 2 and all(one == {1} for one in found)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-9])
def test_the_minimum_is_that_of_a_trust_region_method(tolerance):
    p = problem()
    found = minimum(p, nothing(p), tolerance)
    assert found.gradient_norm < tolerance
    np.testing.assert_allclose(
        found.gradient_norm, np.linalg.norm(p.value_and_gradient(found.theta)[1]), rtol=1e-9
    )

    def flat(u):
        value, gradient = p.value_and_gradient(u.reshape(5, 3))
        return value, gradient.ravel()

    def product(u, v):
        return (flat(u + 1e-6 * v)[1] - flat(u - 1e-6 * v)[1]) / 2e-6

    independent = scipy.optimize.minimize(
        flat, np.zeros(15), jac=True, hessp=product, method="trust-krylov",
        options={"gtol": 1e-11},
    ).x.reshape(5, 3)  # fmt: skip
    # Strong convexity bounds the distance; the biases may all move together.
    distance = found.theta - independent
    distance[-1] -= distance[-1].mean()
    assert np.abs(distance).max() < tolerance / 1e-3


def test_the_minimum_is_scikit_learn_s():
    """Its C is 1 / ridge; a soft target is a row for each class with the target for weight."""
    p = problem()
    classes = p.targets.shape[1]
    x = np.repeat(p.features[:, :-1], classes, axis=0)
    y = np.tile(np.arange(classes), len(p.features))
    weights = (p.coefficients[:, None] * p.targets).ravel()
    peer = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10_000)
    peer.fit(x, y, sample_weight=weights)
    found = minimum(p, nothing(p), 1e-10).theta
    np.testing.assert_allclose(found[:-1].T, peer.coef_, atol=1e-5)
    bias = found[-1] - found[-1].mean()
    np.testing.assert_allclose(bias, peer.intercept_ - peer.intercept_.mean(), atol=1e-5)


def test_many_features_share_one_block_and_have_the_same_minimum(monkeypatch):
    p = problem(soft=False)
    each = minimum(p, nothing(p), 1e-10)
    monkeypatch.setattr("ssl_weighting.theta.convex_head._WIDE", 2)
    shared = minimum(p, nothing(p), 1e-10)
    assert shared.evaluations != each.evaluations
    np.testing.assert_allclose(shared.theta[:-1], each.theta[:-1], atol=1e-7)


def test_a_solution_is_left_at_once():
    p = problem()
    first = minimum(p, nothing(p), 1e-7)
    again = minimum(p, first.theta, 1e-7)
    assert again.evaluations == 1 and again.theta is first.theta


def test_what_has_no_minimum_says_so():
    p = problem(soft=False)
    labels = p.targets[:3] = np.eye(3)
    unbound = Problem(p.features[:3], labels, np.ones(3), np.zeros(5))
    # log(1 + e^-z) has no minimum; its gradient is below a tolerance all the same, if not below 0.
    assert not minimum(unbound, nothing(p), 1e-300).gradient_norm < 1e-300
