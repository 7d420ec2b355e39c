"""Every method of Table A1 against matrices whose inverse is known."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse.linalg
import tensorflow as tf

from ssl_weighting.inverse_hessian import (
    CONVERGED,
    DIVERGED,
    METHODS,
    NEGATIVE_CURVATURE,
    TRUNCATED,
    Curvature,
    DiagonalBlock,
    SolveOptions,
    Unroll,
    exact,
    solve,
)
from ssl_weighting.inverse_hessian.exact import route_of

P = 12
ITERATIVE = ("conjugate_gradient", "neumann")


def random_factor(rng, n=20, p=P):
    return rng.normal(size=[n, p]) / np.sqrt(n)


def curvature_of(a, ridge=None, dtype="float64", **more):
    """H_data = A^T A with every part a method may ask for; rows of A are the gradients."""
    n, p = a.shape
    a = tf.constant(a, dtype)
    ridge = np.zeros(p) if ridge is None else ridge

    def sampled(k, x):
        chosen = tf.random.stateless_uniform([4], [k, 1], maxval=n, dtype=tf.int32)
        rows = tf.gather(a, chosen)
        return tf.linalg.matvec(rows, tf.linalg.matvec(rows, x), transpose_a=True) * n / 4

    parts = {
        "size": p,
        "ridge": tf.constant(ridge, dtype),
        "product": lambda x: tf.linalg.matvec(a, tf.linalg.matvec(a, x), transpose_a=True),
        "dense": lambda: tf.matmul(a, a, transpose_a=True),
        "factor": lambda: a,
        "factor_rows": n,
        "gradients": lambda: (a, tf.ones([n], dtype)),
        "sampled_product": sampled,
        "kronecker": lambda: [
            DiagonalBlock(tf.range(p), tf.linalg.diag_part(tf.matmul(a, a, transpose_a=True)))
        ],
        "unroll": descent(a, ridge, 0.05, 30),
    }
    return Curvature(**parts | more)


def descent(a, ridge, rate, count):
    """K steps of gradient descent on 0.5 x^T (A^T A + diag(ridge)) x."""

    def step(k, x, shift):
        del k
        gradient = tf.linalg.matvec(a, tf.linalg.matvec(a, x), transpose_a=True)
        return x - rate * (gradient + tf.constant(ridge, a.dtype) * x + shift)

    return Unroll(count, lambda: tf.ones([a.shape[1]], a.dtype), step, lambda x: x)


def matrix_of(a, ridge, damping):
    return a.T @ a + np.diag(ridge + damping)


def indefinite():
    h = tf.constant(np.diag([3.0, 1.0, -2.0]))
    return Curvature(
        size=3,
        ridge=tf.zeros([3], tf.float64),
        product=lambda x: tf.linalg.matvec(h, x),
        dense=lambda: h,
    )


def run(name, curvature, v, jit_compile=False, **options):
    call = tf.function(
        lambda x: solve(name, curvature, x, SolveOptions(**options)),
        autograph=False,
        jit_compile=jit_compile,
    )
    return call(tf.constant(v, curvature.ridge.dtype))


@pytest.mark.parametrize("n", [5, 20])
@pytest.mark.parametrize("limits", [{"dense_limit": 100}, {"dense_limit": 11}, {"dense_limit": 0}])
def test_every_route_of_exact_equals_numpy(rng, n, limits):
    a, v = random_factor(rng, n), rng.normal(size=P)
    ridge = rng.uniform(0, 0.5, P)
    curvature = curvature_of(a, ridge)
    options = SolveOptions(damping=0.1, **limits)
    route = {100: "dense", 11: "woodbury" if n == 5 else "matrix_free", 0: "matrix_free"}
    assert route_of(curvature, options) == route[limits["dense_limit"]]
    found = exact(curvature, tf.constant(v), options)
    np.testing.assert_allclose(
        found.vector, np.linalg.solve(matrix_of(a, ridge, 0.1), v), rtol=1e-9, atol=1e-12
    )
    assert found.status == CONVERGED and found.residual < 1e-10 and found.damping == 0.1


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converged_iterations_equal_numpy(rng, name, dtype):
    a, v, ridge = random_factor(rng), rng.normal(size=P), rng.uniform(0, 0.5, P)
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    found = run(name, curvature_of(a, ridge, dtype), v, damping=0.1, iterations=3000,
                tolerance=tolerance)  # fmt: skip
    expected = np.linalg.solve(matrix_of(a, ridge, 0.1), v)
    error = np.linalg.norm(found.vector - expected) / np.linalg.norm(expected)
    assert error < 30 * tolerance and found.status == CONVERGED
    assert found.vector.dtype == dtype and 0 < found.iterations < 3000


def test_conjugate_gradient_takes_the_steps_of_scipy(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    for steps in (1, 3, 6):
        found = run("conjugate_gradient", curvature_of(a), v, damping=0.05, iterations=steps)
        theirs, _ = scipy.sparse.linalg.cg(
            matrix_of(a, 0 * v, 0.05), v, maxiter=steps, rtol=0, atol=0
        )
        np.testing.assert_allclose(found.vector, theirs, rtol=1e-9)
        assert found.status == TRUNCATED and found.iterations == steps
        truth = np.linalg.norm(matrix_of(a, 0 * v, 0.05) @ theirs - v) / np.linalg.norm(v)
        np.testing.assert_allclose(found.residual, truth, rtol=1e-9)


def test_neumann_is_its_formula_and_its_error_falls_with_k(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    h, alpha = matrix_of(a, 0 * v, 0.1), 0.3
    expected, term = np.zeros(P), v.copy()
    for _ in range(5):
        expected, term = expected + alpha * term, term - alpha * h @ term
    found = run("neumann", curvature_of(a), v, damping=0.1, iterations=5, scale=alpha)
    np.testing.assert_allclose(found.vector, expected, rtol=1e-12)
    np.testing.assert_allclose(found.residual, np.linalg.norm(h @ expected - v) / np.linalg.norm(v))
    truth = np.linalg.solve(h, v)
    errors = [
        np.linalg.norm(run("neumann", curvature_of(a), v, damping=0.1, iterations=k).vector - truth)
        for k in (5, 20, 100, 400)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3 * errors[0]


def test_the_largest_eigenvalue_sets_the_step(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    one = run("neumann", curvature_of(a), v, damping=0.1, iterations=1, power_iterations=200)
    alpha = 1 / np.linalg.eigvalsh(matrix_of(a, 0 * v, 0.1)).max()
    np.testing.assert_allclose(one.vector, alpha * v, rtol=1e-6)


def test_neumann_says_that_it_diverges(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    assert run("neumann", curvature_of(a), v, iterations=50, scale=50.0).status == DIVERGED
    assert run("neumann", indefinite(), [1.0, 1.0, 1.0], iterations=50).status == DIVERGED


def test_stochastic_cg_with_the_whole_as_sample_is_neumann_and_its_error_falls_with_k(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    whole = curvature_of(a)
    whole = dataclasses.replace(whole, sampled_product=lambda k, x: whole.product(x))
    options = {"damping": 0.1, "scale": 0.3}
    lissa = run("stochastic_cg", whole, v, iterations=6, **options)
    series = run("neumann", whole, v, iterations=7, **options)
    np.testing.assert_allclose(lissa.vector, series.vector, rtol=1e-12)
    truth = np.linalg.solve(matrix_of(a, 0 * v, 0.1), v)

    def error(iterations, repeats):
        found = run("stochastic_cg", curvature_of(a), v, damping=0.1, scale=0.05,
                    iterations=iterations, repeats=repeats)  # fmt: skip
        assert found.status == TRUNCATED and found.iterations == iterations * repeats
        return np.linalg.norm(found.vector - truth) / np.linalg.norm(truth)

    errors = [error(k, 8) for k in (10, 100, 1000)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.2
    assert error(300, 64) < error(300, 1)  # repeats average the noise away
    seeds = [run("stochastic_cg", whole and curvature_of(a), v, damping=0.1, scale=0.05, seed=s,
                 iterations=50).vector.numpy() for s in (0, 0, 1)]  # fmt: skip
    assert (seeds[0] == seeds[1]).all() and (seeds[0] != seeds[2]).any()


def test_stochastic_cg_says_that_it_diverges(rng):
    a, v = random_factor(rng), rng.normal(size=P)
    found = run("stochastic_cg", curvature_of(a), v, iterations=200, scale=20.0)
    assert found.status == DIVERGED


def test_identity_and_outer_product_are_their_formulas(rng):
    a, v, ridge = random_factor(rng, 7), rng.normal(size=P), rng.uniform(0, 0.5, P)
    found = run("identity", curvature_of(a, ridge), v, damping=0.3)
    np.testing.assert_array_equal(found.vector, v)
    assert found.status == CONVERGED
    g, c = rng.normal(size=[7, P]), rng.uniform(0, 2, 7)
    curvature = curvature_of(a, ridge, gradients=lambda: (tf.constant(g), tf.constant(c)))
    found = run("outer_product", curvature, v, damping=0.3)
    expected = np.linalg.solve((g.T * c) @ g + np.diag(ridge + 0.3), v)
    np.testing.assert_allclose(found.vector, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="`damping` must be greater than 0 for outer_product"):
        run("outer_product", curvature, v)


def test_negative_curvature_stops_conjugate_gradient_with_what_it_has():
    found = run("conjugate_gradient", indefinite(), [1.0, 1.0, 0.1], iterations=10)
    assert found.status == NEGATIVE_CURVATURE and found.iterations > 0
    assert np.isfinite(found.vector).all() and found.least_eigenvalue <= 0
    first = run("conjugate_gradient", indefinite(), [0.0, 0.0, 1.0], iterations=10)
    assert first.status == DIVERGED and first.iterations == 0
    np.testing.assert_allclose(first.least_eigenvalue, -2.0)


def test_exact_refuses_what_is_not_positive_definite_with_its_least_eigenvalue():
    found = run("exact", indefinite(), [1.0, 1.0, 1.0])
    assert found.status == DIVERGED
    np.testing.assert_allclose(found.least_eigenvalue, -2.0)
    damped = run("exact", indefinite(), [1.0, 1.0, 1.0], damping=3.0)
    assert damped.status == CONVERGED
    np.testing.assert_allclose(damped.vector, [1 / 6, 1 / 4, 1], rtol=1e-12)
    assert 1 < damped.condition <= 6 + 1e-9


@pytest.mark.parametrize("limit", [10, 0], ids=["dense", "matrix_free"])
@pytest.mark.parametrize("h", [[3.0, 1.0, -2.0], [3.0, 1.0, 0.0]], ids=["indefinite", "singular"])
def test_exact_refuses_at_any_size(h, limit):
    matrix = tf.constant(np.diag(h))
    curvature = dataclasses.replace(
        indefinite(), product=lambda x: tf.linalg.matvec(matrix, x), dense=lambda: matrix
    )
    v = tf.constant([1.0, 1.0, 1.0], tf.float64)
    found = solve("exact", curvature, v, SolveOptions(damping=0.0, dense_limit=limit))
    assert found.status == DIVERGED
    assert found.least_eigenvalue <= 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conjugate_gradient_refuses_where_there_is_no_solution(rng, dtype):
    q = np.linalg.qr(rng.normal(size=[P, P]))[0]
    null = (q[:, :6] * np.geomspace(1, 10, 6)) @ q[:, :6].T
    matrix = tf.constant((null + null.T) / 2, dtype)
    curvature = dataclasses.replace(
        curvature_of(random_factor(rng), dtype=dtype), product=lambda x: tf.linalg.matvec(matrix, x)
    )
    v = tf.constant(q.sum(1), dtype)
    options = SolveOptions(damping=0.0, iterations=50, tolerance=1e-12)
    found = solve("conjugate_gradient", curvature, v, options)
    assert found.status == DIVERGED  # the part of v in the null space cannot be reached


def test_conjugate_gradient_scales_with_a_vector_whose_square_is_zero(rng):
    curvature, v = curvature_of(random_factor(rng), dtype="float32"), rng.normal(size=P)
    options = SolveOptions(damping=0.1, iterations=50, tolerance=1e-5)
    tiny = 2.0**-83  # a power of two, so that nothing is rounded differently
    whole, small = (
        solve("conjugate_gradient", curvature, tf.constant(v, tf.float32) * factor, options)
        for factor in (1.0, tiny)
    )
    assert small.status == CONVERGED and small.iterations == whole.iterations > 3
    np.testing.assert_array_equal(small.vector.numpy() / tiny, whole.vector.numpy())


@pytest.mark.parametrize("name", list(METHODS))
def test_zero_stays_zero_and_nan_is_never_a_solution(rng, name):
    curvature = curvature_of(random_factor(rng), np.full(P, 0.1))
    options = {"damping": 0.1, "iterations": 30}
    zero = run(name, curvature, np.zeros(P), **options)
    assert (zero.vector.numpy() == 0).all() and zero.status in (CONVERGED, TRUNCATED)
    v = np.ones(P)
    v[3] = np.nan
    assert run(name, curvature, v, **options).status == DIVERGED


@pytest.mark.parametrize("name", [n for n in METHODS if n != "identity"])
def test_nan_in_the_curvature_is_never_a_solution(rng, name):
    a = random_factor(rng)
    a[2, 1] = np.nan
    found = run(name, curvature_of(a), np.ones(P), damping=0.1, iterations=30)
    assert found.status == DIVERGED


@pytest.mark.parametrize("name", list(METHODS))
def test_one_parameter(name):
    a = np.array([[2.0]])
    found = run(name, curvature_of(a, np.array([0.5])), [3.0], damping=0.5, iterations=500,
                scale=0.1 if name in ("neumann", "stochastic_cg") else 0.0)  # fmt: skip
    expected = {"identity": 3.0, "unrolled": 3 / 4.5}.get(name, 3 / 5)
    np.testing.assert_allclose(found.vector, [expected], rtol=2e-3)


@pytest.mark.parametrize(
    "name", ["exact", "identity", "outer_product", "conjugate_gradient", "neumann", "kfac"]
)
def test_xla_gives_the_same(rng, name):
    curvature, v = curvature_of(random_factor(rng), np.full(P, 0.1)), rng.normal(size=P)
    options = {"damping": 0.1, "iterations": 15}
    plain, compiled = (run(name, curvature, v, jit_compile=j, **options) for j in (False, True))
    np.testing.assert_allclose(compiled.vector, plain.vector, rtol=1e-9)
    assert compiled.status == plain.status


def test_bad_requests_are_refused(rng):
    curvature = curvature_of(random_factor(rng))
    with pytest.raises(
        ValueError, match=r"must be one of exact, identity.*Received: name='cholesk"
    ):
        run("cholesky", curvature, np.ones(P))
    with pytest.raises(ValueError, match=r"`vector` must be \[12\]"):
        run("exact", curvature, np.ones(3))
    with pytest.raises(ValueError, match="must have unroll for method unrolled"):
        run("unrolled", dataclasses.replace(curvature, unroll=None), np.ones(P))
    for name in ("damping", "tolerance", "scale"):
        with pytest.raises(ValueError, match=f"`{name}` must be >= 0"):
            SolveOptions(**{name: -1.0})
    with pytest.raises(ValueError, match="`iterations` must be >= 1"):
        SolveOptions(iterations=0)
