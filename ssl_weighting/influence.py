"""Eq. 6: how the validation loss moves with each example weight.

    dL_S(V, theta*) / d lambda_u = - grad L_S(V)^T H^-1 grad l_U(u)

One solve on the validation side gives v = H^-1 grad L_S(V); then every row costs one dot product
with v, and no gradient has to be built. The parameters of Eq. 6 (`Parameters`) know their
validation gradient, their curvature and their dot products.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.inverse_hessian import Solution, SolveOptions, solve, unit_of
from ssl_weighting.parameters import Parameters
from ssl_weighting.structs import LabeledBatch, LossRows


class Influence(NamedTuple):
    """The influences of a batch and what the log tells about it."""

    scores: tf.Tensor  # [R]: -v . grad l_r, per d l_r: without coefficient, mask and 1/U
    val_direction: tf.Tensor  # [p]: v
    val_gradient: tf.Tensor  # [p]: grad L_S(V)
    validation_loss: tf.Tensor  # scalar
    solution: Solution
    cosine: tf.Tensor  # scalar: between v and grad L_S(V), which stands for H = I


def influence(
    parameters: Parameters,
    rows,
    validation: LabeledBatch,
    method: str,
    options: SolveOptions,
    unroll=None,
) -> Influence:
    """Solve once, then contract once for every row.

    Args:
        parameters: what Eq. 6 speaks of, a `LastLayer` or a `Subnetwork`.
        rows: from `parameters.prepare`.
        validation: V'.
        method: a name in `inverse_hessian.METHODS`.
        options: `SolveOptions`, damping included.
        unroll: the last theta-steps (`inverse_hessian.Unroll`), for method "unrolled" only.

    Returns:
        The influence; not finite where the method found no solution (see `Solution.status`).
    """
    loss, gradient = parameters.validation_gradient(validation)
    solution = solve(method, parameters.curvature(rows, unroll), gradient, options)
    v = solution.vector
    scores = row_scores(parameters, rows, v)
    a, b = v / unit_of(v), gradient / unit_of(gradient)  # squares of small numbers are 0
    cosine = tf.math.divide_no_nan(tf.reduce_sum(a * b), tf.norm(a) * tf.norm(b))
    return Influence(scores, v, gradient, loss, solution, cosine)


def row_scores(parameters: Parameters, rows, direction: tf.Tensor) -> tf.Tensor:
    """Return - grad l_r . v of each of R prepared rows, [R]; `direction` is v [p]."""
    return -parameters.dot_products(rows, direction)


def lam_gradient(rows: LossRows, scores: tf.Tensor, count, infl_mask_grad: bool = True):
    """Carry the scores of rows to the weights of their parents: A^T s with A = dw/dlambda.

    Args:
        rows: [R] loss rows; scores: [R] from `influence`.
        count: U, the number of unlabeled examples: Eq. 6 is reported per d l_U, without 1/U.
        infl_mask_grad: whether the confidence mask is part of l_U (the paper).

    Returns:
        ids [K] int64 (duplicates allowed) and dL_S(V)/d lambda_id [K] float32.
    """
    base = rows.coefficient * tf.cast(count, rows.coefficient.dtype)
    base = base * rows.mask if infl_mask_grad else base
    place = tf.where(rows.ids >= 0)
    factor = tf.gather(base, place[:, 0]) * tf.gather_nd(rows.share, place)
    # The scores may be float64, and far below what float32 resolves beside the coefficient.
    s = tf.gather(scores, place[:, 0]) * tf.cast(factor, scores.dtype)
    return tf.gather_nd(rows.ids, place), tf.cast(s, tf.float32)
