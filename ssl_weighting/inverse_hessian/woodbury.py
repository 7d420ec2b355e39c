"""(A^T A + D)^-1 v in example space, for n rows and many more parameters."""

from __future__ import annotations

import tensorflow as tf


def woodbury(factor: tf.Tensor, diagonal: tf.Tensor, vector: tf.Tensor):
    """Solve (A^T A + diag(d)) x = v as x = D^-1 v - D^-1 A^T (I + A D^-1 A^T)^-1 A D^-1 v.

    Args:
        factor: A [n, p]; diagonal: d [p], > 0; vector: v [p].

    Returns:
        x [p] in the dtype of v, solved in float64; the relative residual. Not finite where d is 0.
    """
    a, d, v = (tf.cast(t, tf.float64) for t in (factor, diagonal, vector))
    scaled = a / d
    start = v / d
    inner = tf.linalg.matmul(scaled, a, transpose_b=True)
    inner = tf.linalg.set_diag(inner, tf.linalg.diag_part(inner) + 1)
    right = tf.linalg.matvec(a, start)[:, None]
    y = tf.linalg.cholesky_solve(tf.linalg.cholesky(inner), right)[:, 0]
    x = start - tf.linalg.matvec(scaled, y, transpose_a=True)
    again = tf.linalg.matvec(a, tf.linalg.matvec(a, x), transpose_a=True) + d * x
    residual = tf.math.divide_no_nan(tf.norm(again - v), tf.norm(v))
    return tf.cast(x, vector.dtype), residual
