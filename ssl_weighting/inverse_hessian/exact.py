"""The paper's method: the exact inverse Hessian (Sec. 3.1), without ever forming the inverse.

Three routes, chosen by sizes alone: a float64 Cholesky factor while p <= `dense_limit`; Woodbury in
example space while there are few rows and every parameter has a ridge or damping; else conjugate
gradient, matrix-free, until it has converged.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.inverse_hessian.conjugate_gradient import conjugate_gradient
from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.solution import (
    CONVERGED,
    DIVERGED,
    NEGATIVE_CURVATURE,
    Solution,
    diagonal_of,
    solution,
)
from ssl_weighting.inverse_hessian.woodbury import woodbury

FACTOR_BYTES = 2 * 10**9  # the largest A [n, p] in float64
MATRIX_FREE_ITERATIONS = 2000


def exact(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Solve (H + c I) x = v; reads `damping` and `dense_limit`.

    Returns:
        The solution. DIVERGED, with the least eigenvalue (matrix-free: a bound of it), where the
        matrix is not positive definite: the caller leaves the weights alone.
    """
    route = {"dense": _dense, "woodbury": _woodbury, "matrix_free": _matrix_free}
    return route[route_of(curvature, options)](curvature, vector, options)


def route_of(curvature: Curvature, options: SolveOptions) -> str:
    """Return "dense", "woodbury" or "matrix_free"."""
    if curvature.dense and curvature.size <= options.dense_limit:
        return "dense"
    rows = curvature.factor_rows
    small = rows and rows <= options.dense_limit and 8 * rows * curvature.size <= FACTOR_BYTES
    if curvature.factor and small and options.damping > 0:
        return "woodbury"
    return "matrix_free"


def _dense(curvature, vector, options):
    hessian, v = tf.cast(curvature.dense(), tf.float64), tf.cast(vector, tf.float64)
    diagonal = diagonal_of(curvature, options, tf.float64)
    full = tf.linalg.set_diag(hessian, tf.linalg.diag_part(hessian) + diagonal)
    factor = tf.linalg.cholesky(full)  # NaN, not an error, where it fails
    x = tf.linalg.cholesky_solve(factor, v[:, None])[:, 0]
    definite = tf.reduce_all(tf.math.is_finite(factor))
    residual = tf.math.divide_no_nan(tf.norm(tf.linalg.matvec(full, x) - v), tf.norm(v))
    pivots = tf.linalg.diag_part(factor)
    # The spread of the pivots bounds the condition from below and costs nothing.
    condition = tf.square(tf.reduce_max(pivots) / tf.reduce_min(pivots))
    readable = tf.reduce_all(tf.math.is_finite(full))
    least = tf.cond(
        readable & ~definite,
        lambda: tf.reduce_min(tf.linalg.eigvalsh(full)),
        lambda: tf.constant(float("nan"), tf.float64),
    )
    status = tf.where(definite, CONVERGED, DIVERGED)
    return solution(
        tf.cast(x, vector.dtype), vector, options, status,
        residual=residual, least=least, condition=condition,
    )  # fmt: skip


def _woodbury(curvature, vector, options):
    diagonal = diagonal_of(curvature, options, tf.float64)
    x, residual = woodbury(curvature.factor(), diagonal, vector)
    return solution(x, vector, options, CONVERGED, residual=residual)


def _matrix_free(curvature, vector, options):
    # What "exact" can mean in the dtype of the products.
    tolerance = 1e-11 if vector.dtype == tf.float64 else 1e-5
    tight = dataclasses.replace(options, tolerance=tolerance, iterations=MATRIX_FREE_ITERATIONS)
    found = conjugate_gradient(curvature, vector, tight)
    # There is no exact answer where H + c I is not positive definite, as in `_dense`.
    refused = tf.equal(found.status, NEGATIVE_CURVATURE)
    return found._replace(status=tf.where(refused, DIVERGED, found.status))
