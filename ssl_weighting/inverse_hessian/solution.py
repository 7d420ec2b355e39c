"""What every inverse-Hessian method returns, and what they share in reaching it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions

STATUS = ("converged", "truncated", "negative curvature", "diverged")
CONVERGED, TRUNCATED, NEGATIVE_CURVATURE, DIVERGED = range(4)


class Solution(NamedTuple):
    """An approximation of (H + c I)^-1 v and how it was reached.

    Truncation is reported and usable; with status DIVERGED the vector must not be used.
    """

    vector: tf.Tensor  # [p], dtype of v
    residual: tf.Tensor  # scalar: ||(H + c I) x - v|| / ||v||; NaN where the method has no product
    iterations: tf.Tensor  # scalar int32, 0 for direct methods
    damping: tf.Tensor  # scalar: c
    least_eigenvalue: tf.Tensor  # scalar, of H + c I or an upper bound of it; NaN: not known
    condition: tf.Tensor  # scalar, of H + c I or a lower bound of it; NaN: not known
    status: tf.Tensor  # scalar int32, a place in `STATUS`


def system(curvature: Curvature, options: SolveOptions, dtype) -> Callable:
    """Return x [p] -> (H_data + diag(ridge) + c I) x."""
    diagonal = diagonal_of(curvature, options, dtype)
    return lambda x: curvature.product(x) + diagonal * x


def diagonal_of(curvature: Curvature, options: SolveOptions, dtype) -> tf.Tensor:
    """Return ridge + c, [p]."""
    return tf.cast(curvature.ridge, dtype) + tf.constant(options.damping, dtype)


def relative_residual(matrix: Callable, x: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    """Return ||A x - v|| / ||v||, 0 for v = 0 and x = 0."""
    return tf.math.divide_no_nan(tf.norm(matrix(x) - v), tf.norm(v))


def solution(
    x, v, options: SolveOptions, status, *, residual=None, iterations=0, least=None, condition=None
) -> Solution:
    """Return the Solution with NaN for what is not known; DIVERGED where x or v is not finite."""
    dtype = v.dtype
    finite = tf.reduce_all(tf.math.is_finite(x)) & tf.reduce_all(tf.math.is_finite(v))
    if residual is not None:
        finite &= tf.math.is_finite(residual)
    known = [
        tf.constant(float("nan"), dtype) if value is None else tf.cast(value, dtype)
        for value in (residual, least, condition)
    ]
    return Solution(
        vector=x,
        residual=known[0],
        iterations=tf.cast(iterations, tf.int32),
        damping=tf.constant(options.damping, dtype),
        least_eigenvalue=known[1],
        condition=known[2],
        status=tf.where(finite, tf.cast(status, tf.int32), DIVERGED),
    )


def unit_of(vector: tf.Tensor) -> tf.Tensor:
    """Return the power of two at or below the largest |v|, a scalar; 1 where v is 0.

    To divide by it, and to multiply again, rounds nothing.
    """
    largest = tf.reduce_max(tf.abs(vector))
    wide = vector.dtype == tf.float64
    bits = tf.bitcast(largest, tf.int64 if wide else tf.int32)  # sign, exponent, fraction
    exponent = tf.constant(0x7FF0000000000000 if wide else 0x7F800000, bits.dtype)
    unit = tf.bitcast(tf.bitwise.bitwise_and(bits, exponent), vector.dtype)
    return tf.where(unit > 0, unit, tf.ones_like(unit))


def largest_eigenvalue(matrix: Callable, v: tf.Tensor, iterations: int) -> tf.Tensor:
    """Return |lambda|_max of a symmetric matrix by power iteration, from below.

    The start is v itself with a fixed random part, so that it cannot be orthogonal by design.
    """
    noise = tf.random.stateless_normal(tf.shape(v), [3, 5], dtype=v.dtype, alg="philox")
    start = _unit(_unit(v) + _unit(noise))

    def step(k, x, _):
        y = matrix(x)
        return k + 1, _unit(y), tf.norm(y)

    norm = tf.constant(0, v.dtype)
    return tf.while_loop(lambda k, *_: k < iterations, step, (0, start, norm))[2]


def _unit(x):
    return tf.math.divide_no_nan(x, tf.norm(x))
