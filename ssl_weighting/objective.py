"""Eq. 2's inner objective on a batch, written once for the theta-step, the Hessian and Eq. 6."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.structs import LossRows


def row_weights(rows: LossRows, lam: tf.Tensor) -> tf.Tensor:
    """Return w_r = sum_k share_rk * lam_rk, [R]; `lam` [R, 2] holds the parents' weights."""
    return tf.reduce_sum(rows.share * lam, axis=1)


def row_coefficients(rows: LossRows, weights: tf.Tensor | None) -> tf.Tensor:
    """Return the factor of each row loss in the objective, [R].

    Args:
        rows: the batch's loss rows.
        weights: [R] from `row_weights`, or None for the base algorithm (all lambda = 1).
    """
    base = rows.coefficient * rows.mask
    return base if weights is None else base * weights


def weighted_objective(rows: LossRows, weights: tf.Tensor | None) -> tf.Tensor:
    """Return sum_r coefficient_r * mask_r * w_r * loss_r, a scalar.

    With coefficients 1/B and wu/U this is mean l_S + (wu/U) sum_u lambda_u l_U(u).
    DEVIATION: means where Eq. 2 writes sums, as all released code does; M-Adam does not see it.
    """
    return tf.reduce_sum(row_coefficients(rows, weights) * rows.loss)


def l2_penalty(decayed: list[tf.Variable]) -> tf.Tensor:
    """Return sum over `decayed` of 0.5 * ||K||^2, a scalar (see `weight_decay.is_decayed`)."""
    return tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(k)) for k in decayed])
