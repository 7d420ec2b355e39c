"""K-FAC (Martens & Grosse): a Kronecker product for each layer; beyond the paper."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, DiagonalBlock, SolveOptions
from ssl_weighting.inverse_hessian.solution import (
    TRUNCATED,
    Solution,
    diagonal_of,
    relative_residual,
    solution,
    system,
)


def kfac(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Solve (a (x) g + d I) x = v for every layer in the eigenbasis of a and g; reads `damping`.

    d is ridge + c, averaged over the layer where its bias has another ridge than its kernel.
    Parameters without Kronecker structure get their diagonal, those in no block ridge + c. The
    residual is that of the true H: how good the approximation is.
    """
    return solve_blocks(curvature, vector, options, lambda block, q_a, q_g, values: values)


def solve_blocks(curvature: Curvature, vector, options: SolveOptions, eigenvalues) -> Solution:
    """Solve block by block.

    Args:
        eigenvalues: (block, Q_a, Q_g, values [i, o] of a (x) g) -> the [i, o] to use instead.
    """
    diagonal = diagonal_of(curvature, options, vector.dtype)
    x = vector / diagonal
    for block in curvature.kronecker():
        at = tf.convert_to_tensor(block.index)[..., None]
        v, d = tf.gather_nd(vector, at), tf.gather_nd(diagonal, at)
        if isinstance(block, DiagonalBlock):
            part = v / (tf.cast(block.diagonal, v.dtype) + d)
        else:
            part = _solve(block, v, tf.reduce_mean(d), eigenvalues)
        x = tf.tensor_scatter_nd_update(x, at, part)
    residual = relative_residual(system(curvature, options, vector.dtype), x, vector)
    # An approximation without an iteration that could be carried further.
    return solution(x, vector, options, TRUNCATED, residual=residual)


def _solve(block, v, damping, eigenvalues):
    lam_a, q_a = tf.linalg.eigh(tf.cast(block.a, v.dtype))
    lam_g, q_g = tf.linalg.eigh(tf.cast(block.g, v.dtype))
    product = tf.nn.relu(lam_a)[:, None] * tf.nn.relu(lam_g)[None, :]
    values = eigenvalues(block, q_a, q_g, product) + damping
    inside = tf.matmul(tf.matmul(q_a, v, transpose_a=True), q_g) / values
    return tf.matmul(tf.matmul(q_a, inside), q_g, transpose_b=True)
