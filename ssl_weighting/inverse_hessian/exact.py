"""The paper's method: the exact inverse Hessian of the last layer (Sec. 3.1), by Cholesky."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.solution import Solution


def exact(hessian: tf.Tensor, vector: tf.Tensor) -> Solution:
    """Solve H x = v without forming an inverse.

    Args:
        hessian: [p, p] float64, symmetric positive definite, damping included.
        vector: [p] float64.

    Returns:
        The solution; all NaN where H is not positive definite (the caller refuses it).
    """
    factor = tf.linalg.cholesky(hessian)
    x = tf.linalg.cholesky_solve(factor, vector[:, None])[:, 0]
    difference = tf.linalg.matvec(hessian, x) - vector
    residual = tf.math.divide_no_nan(tf.norm(difference), tf.norm(vector))
    return Solution(x, residual, tf.constant(0))
