"""Lorraine et al.: a truncated Neumann series (Table A1)."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.solution import (
    CONVERGED,
    DIVERGED,
    TRUNCATED,
    Solution,
    largest_eigenvalue,
    solution,
    system,
)


def neumann(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Return alpha sum_{j<K} (I - alpha (H + c I))^j v.

    Reads `damping`, `iterations` (K), `tolerance`, `scale` (alpha; 0: one over the largest
    eigenvalue, by `power_iterations` products). What is left of v after K terms,
    (I - alpha A)^K v, is the residual; it shrinks at every term unless alpha is too large or the
    curvature is negative, so that a last term which grew means divergence.
    """
    matrix = system(curvature, options, vector.dtype)
    alpha = step_size(matrix, vector, options)
    goal = tf.constant(options.tolerance, vector.dtype) * tf.norm(vector)

    def more(k, x, rest, before):
        del x, before
        return (k < options.iterations) & (tf.norm(rest) > goal)

    def step(k, x, rest, before):
        del before
        return k + 1, x + alpha * rest, rest - alpha * matrix(rest), tf.norm(rest)

    start = (tf.constant(0), tf.zeros_like(vector), vector, tf.norm(vector))
    k, x, rest, before = tf.while_loop(more, step, start)
    left = tf.norm(rest)
    grew = left > before * (1 + 1e-6)
    status = tf.where(grew, DIVERGED, tf.where(left <= goal, CONVERGED, TRUNCATED))
    residual = tf.math.divide_no_nan(left, tf.norm(vector))
    return solution(x, vector, options, status, residual=residual, iterations=k)


def step_size(matrix, vector: tf.Tensor, options: SolveOptions, safety: float = 1.0) -> tf.Tensor:
    """Return alpha: `options.scale`, or safety / largest eigenvalue."""
    if options.scale:
        return tf.constant(options.scale, vector.dtype)
    largest = largest_eigenvalue(matrix, vector, options.power_iterations)
    return tf.math.divide_no_nan(tf.constant(safety, vector.dtype), largest)
