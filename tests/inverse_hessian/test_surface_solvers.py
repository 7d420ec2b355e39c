"""Whatever vector a solver is handed: right, or refused."""

import numpy as np
import pytest
import tensorflow as tf
from fuzz import fuzz
from hypothesis import strategies as st

from ssl_weighting.inverse_hessian import (
    DIVERGED,
    METHODS,
    Curvature,
    DiagonalBlock,
    SolveOptions,
    Unroll,
    solve,
)

P = 4
A = np.random.default_rng(3).normal(size=[7, P]) / 3


def curvature(dtype):
    """H_data = A^T A with all that a method may ask for."""
    a, ridge = tf.constant(A, dtype), tf.fill([P], tf.constant(0.25, dtype))
    h = tf.matmul(a, a, transpose_a=True)
    start = tf.zeros([P], dtype)
    return Curvature(
        P, ridge,
        product=lambda x: tf.linalg.matvec(h, x),
        dense=lambda: h,
        factor=lambda: a,
        factor_rows=7,
        gradients=lambda: (a, tf.ones([7], dtype)),
        sampled_product=lambda k, x: tf.linalg.matvec(h, x),
        kronecker=lambda: [DiagonalBlock(tf.range(P), tf.linalg.diag_part(h))],
        unroll=Unroll(
            200, lambda: start, lambda k, x, shift: x - 0.3 * (
                tf.linalg.matvec(h, x) + 0.75 * x + shift), lambda x: x,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solvers(method, dtype):
    known, how = curvature(dtype), SolveOptions(damping=0.5, iterations=200, tolerance=1e-7)
    run = tf.function(lambda v: solve(method, known, v, how), autograph=False)
    inverse = {"identity": np.eye(P)}.get(method, np.linalg.inv(A.T @ A + 0.75 * np.eye(P)))
    exact = method not in ("kfac", "ekfac", "stochastic_cg")
    wrong = (
        {"dtype": "float16"},
        {"dtype": "int32"},
        {"shape": [P, 1]},
        {"shape": [P - 1]},
        {"shape": []},
    )
    for change in wrong:
        with pytest.raises(ValueError, match=r"`vector` must be \[4\]"):
            solve(method, known, tf.ones(**{"shape": [P], "dtype": dtype} | change), how)

    vectors = st.lists(st.floats(-9, 9, width=16), min_size=P, max_size=P)
    trouble = st.sampled_from([None, None, np.nan, np.inf])

    @fuzz(15, v=vectors, scale=st.integers(-80, 80), spoilt=trouble)
    def check(v, scale, spoilt):
        v = np.array(v, dtype)
        if spoilt is not None:
            v[1] = spoilt
            assert run(tf.constant(v)).status == DIVERGED
            return
        found, scaled = run(tf.constant(v)), run(tf.constant(v * v.dtype.type(2.0**scale)))
        assert found.status != DIVERGED
        # In units of its own size a vector is solved for alike, bit for bit.
        np.testing.assert_array_equal(scaled.vector, found.vector.numpy() * 2.0**scale)
        if exact:
            np.testing.assert_allclose(found.vector, inverse @ v, atol=1e-5 * abs(v).max())

    check()
