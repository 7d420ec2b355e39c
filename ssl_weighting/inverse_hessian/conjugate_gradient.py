"""Martens: conjugate gradient on Hessian-vector products (Table A1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.solution import (
    CONVERGED,
    DIVERGED,
    NEGATIVE_CURVATURE,
    TRUNCATED,
    Solution,
    relative_residual,
    solution,
    system,
)

# Times machine epsilon times the largest curvature: curvature below that counts as zero.
ROUNDING = 8


class _State(NamedTuple):
    k: tf.Tensor
    x: tf.Tensor
    r: tf.Tensor  # v - A x
    d: tf.Tensor  # search direction
    least: tf.Tensor  # least Rayleigh quotient met
    most: tf.Tensor  # largest |Rayleigh quotient| met
    bent: tf.Tensor  # bool: met negative curvature


def conjugate_gradient(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Solve (H + c I) x = v; reads `damping`, `iterations`, `tolerance`.

    Stops at a direction of negative curvature with the iterate reached before it, and counts as
    such what rounding cannot tell from zero, where a step would have no bound. Without an iterate,
    or with one that is worse than none (residual above 1), that is DIVERGED. `least_eigenvalue` is
    the least Rayleigh quotient met, an upper bound of it. The residual is computed anew at the end.
    """
    matrix = system(curvature, options, vector.dtype)
    # Influences may be so small that their squares are zero.
    scale = tf.reduce_max(tf.abs(vector))
    v = tf.math.divide_no_nan(vector, scale)
    goal = tf.constant(options.tolerance, vector.dtype) * tf.norm(v)

    def more(s):
        return (s.k < options.iterations) & (tf.norm(s.r) > goal) & ~s.bent

    zero = tf.zeros_like(v)
    infinite = tf.constant(float("inf"), vector.dtype)
    none = tf.constant(0, vector.dtype)
    state = _State(tf.constant(0), zero, v, v, infinite, none, tf.constant(False))
    (end,) = tf.while_loop(lambda s: more(s), lambda s: (_step(matrix, s),), (state,))
    unknown = tf.constant(float("nan"), vector.dtype)
    residual = relative_residual(matrix, end.x, v)
    status = tf.where(tf.norm(end.r) <= goal, CONVERGED, TRUNCATED)
    useful = (end.k > 0) & (residual <= 1)
    status = tf.where(end.bent, tf.where(useful, NEGATIVE_CURVATURE, DIVERGED), status)
    return solution(
        scale * end.x, vector, options, status, residual=residual, iterations=end.k,
        least=tf.where(tf.math.is_inf(end.least), unknown, end.least),
    )  # fmt: skip


def _step(matrix, s):
    product = matrix(s.d)
    bend, length = tf.reduce_sum(s.d * product), tf.reduce_sum(s.d * s.d)
    quotient = bend / length
    most = tf.maximum(s.most, tf.abs(quotient))
    bent = quotient <= ROUNDING * np.finfo(product.dtype.as_numpy_dtype).eps * most
    alpha = tf.where(bent, tf.zeros_like(bend), tf.reduce_sum(s.r * s.r) / bend)
    r = s.r - alpha * product
    beta = tf.reduce_sum(r * r) / tf.reduce_sum(s.r * s.r)
    k = s.k + tf.cast(~bent, tf.int32)
    least = tf.minimum(s.least, quotient)
    return _State(k, s.x + alpha * s.d, r, r + beta * s.d, least, most, bent)
