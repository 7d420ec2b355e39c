"""Koh & Liang's stochastic estimate after Agarwal et al. (LiSSA); "stochastic CG" in Table A1."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.neumann import step_size
from ssl_weighting.inverse_hessian.solution import (
    DIVERGED,
    TRUNCATED,
    Solution,
    diagonal_of,
    relative_residual,
    solution,
    system,
)

# A sample's largest eigenvalue lies above that of the whole, which sets alpha.
SAFETY = 0.5


def stochastic_cg(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Repeat x <- v + (I - alpha (H_k + c I)) x with sampled H_k; return the mean of alpha x.

    Reads `damping`, `iterations` (K, the recursion depth), `repeats`, `scale`, `seed`. As long as
    every sample contracts, ||x_K|| <= (K + 1) ||v||; anything beyond is divergence. The residual is
    that of the whole H.
    """
    dtype = vector.dtype
    matrix = system(curvature, options, dtype)
    alpha = step_size(matrix, vector, options, SAFETY)
    diagonal = diagonal_of(curvature, options, dtype)
    total = options.iterations * options.repeats
    first = tf.constant(options.seed, tf.int64) * 1_000_003

    def step(k, x, mean, far):
        sample = curvature.sampled_product(first + tf.cast(k, tf.int64), x) + diagonal * x
        x = vector + x - alpha * sample
        last = tf.equal((k + 1) % options.iterations, 0)
        mean = mean + tf.where(last, x, tf.zeros_like(x)) / options.repeats
        far = tf.maximum(far, tf.norm(x))
        return k + 1, tf.where(last, vector, x), mean, far

    start = (tf.constant(0), vector, tf.zeros_like(vector), tf.norm(vector))
    _, _, mean, far = tf.while_loop(lambda k, *_: k < total, step, start)
    x = alpha * mean
    bound = tf.cast(options.iterations + 1, dtype) * tf.norm(vector) * (1 + 1e-3)
    # Not `far > bound`: that would let NaN pass.
    status = tf.where(far <= bound, TRUNCATED, DIVERGED)
    residual = relative_residual(matrix, x, vector)
    return solution(x, vector, options, status, residual=residual, iterations=total)
