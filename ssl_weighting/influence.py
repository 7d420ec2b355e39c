"""Eq. 6: how the validation loss moves with each example weight, through the last layer.

    dL_S(V, theta*) / d lambda_u = - grad L_S(V)^T H^-1 grad l_U(u)

One solve on the validation side gives v = H^-1 grad L_S(V); then every unlabeled row costs one
contraction with v and no gradient is ever built (z = phi W + b makes grad l_r = phi_r (x) delta_r).
Parameters of the last layer are flattened row-major over (feature, class); with the bias included
the features carry a trailing 1.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.inverse_hessian import METHODS
from ssl_weighting.losses import SoftmaxCrossEntropy, logit_gradient, logit_hessian


class HeadRows(NamedTuple):
    """What Eq. 6 needs of a set of loss rows, in float64."""

    features: tf.Tensor  # [R, i] float64: phi, with a trailing 1 where the bias takes part
    gradient: tf.Tensor  # [R, c] float64: d loss_r / d z_r
    hessian: tf.Tensor  # [R, c, c] float64: d^2 loss_r / d z_r^2


class Direction(NamedTuple):
    """v = H^-1 grad L_S(V) and what the log tells about the solve."""

    val_direction: tf.Tensor  # [i, c] float64
    val_gradient: tf.Tensor  # [i, c] float64
    hessian_over_damping: (
        tf.Tensor
    )  # scalar: ||H_data||_F / ||H - H_data||_2; how far from identity
    cosine_exact_identity: tf.Tensor  # scalar: cosine between v and grad L_S(V)
    residual: tf.Tensor  # scalar, of the solve


def head_rows(features, logits, loss, *, include_bias: bool, curvature: str) -> HeadRows:
    """Collect features and logit derivatives of loss rows in float64.

    Args:
        features: [R, d] float; logits: [R, C] float; loss: row loss [R, C] -> [R].
        include_bias: whether the last layer's bias is among the parameters of Eq. 6.
        curvature: "hessian" or "gauss_newton" (see `losses.logit_hessian`).
    """
    phi, z = tf.cast(features, tf.float64), tf.cast(logits, tf.float64)
    if include_bias:
        phi = tf.concat([phi, tf.ones_like(phi[:, :1])], axis=1)
    return HeadRows(phi, logit_gradient(loss, z), logit_hessian(loss, z, curvature))


def validation_gradient(features, logits, labels, *, include_bias: bool) -> tf.Tensor:
    """Return the last layer's gradient of the mean validation cross-entropy, [i, c] float64."""
    loss = SoftmaxCrossEntropy(tf.one_hot(labels, logits.shape[-1], dtype=tf.float64))
    rows = head_rows(features, logits, loss, include_bias=include_bias, curvature="hessian")
    total = tf.einsum("vi,vc->ic", rows.features, rows.gradient)
    return total / tf.cast(tf.shape(logits)[0], tf.float64)


def data_hessian(rows: HeadRows, coefficients: tf.Tensor) -> tf.Tensor:
    """Return sum_r coefficient_r phi_r phi_r^T (x) d^2 loss_r/dz^2, [p, p] float64, p = i * c."""
    scaled = tf.cast(coefficients, tf.float64)[:, None, None] * rows.hessian
    count = tf.shape(rows.features)[1] * tf.shape(scaled)[1]
    # One matrix product of [i, R] with [R, i*c*c] instead of a five-letter contraction.
    right = tf.einsum("rj,rcd->rjcd", rows.features, scaled)
    block = tf.einsum("ri,rjcd->icjd", rows.features, right)
    return tf.reshape(block, [count, count])


def ridge(num_features: int, num_classes: int, l2: float, damping: float, include_bias: bool):
    """Return the diagonal that weight decay (kernel only) and damping add to H, [p] float64."""
    kernel = tf.fill([num_features * num_classes], tf.constant(l2 + damping, tf.float64))
    bias = tf.fill([num_classes if include_bias else 0], tf.constant(damping, tf.float64))
    return tf.concat([kernel, bias], axis=0)


def solve_direction(hessian, diagonal, val_gradient, method: str = "exact") -> Direction:
    """Solve (H_data + diag) v = grad L_S(V).

    Args:
        hessian: [p, p] float64 from `data_hessian`; diagonal: [p] float64 from `ridge`.
        val_gradient: [i, c] float64.
        method: a name in `inverse_hessian.METHODS`.

    Returns:
        The direction; NaN where the method found H not positive definite.
    """
    flat = tf.reshape(val_gradient, [-1])
    full = tf.linalg.set_diag(hessian, tf.linalg.diag_part(hessian) + diagonal)
    solution = METHODS[method](full, flat)
    norms = tf.norm(solution.vector) * tf.norm(flat)
    return Direction(
        tf.reshape(solution.vector, tf.shape(val_gradient)),
        val_gradient,
        tf.math.divide_no_nan(tf.norm(hessian), tf.reduce_max(diagonal)),
        tf.math.divide_no_nan(tf.reduce_sum(solution.vector * flat), norms),
        solution.residual,
    )


def influence(rows: HeadRows, val_direction: tf.Tensor) -> tf.Tensor:
    """Return -v . grad loss_r for every row, [R] float64 (Eq. 6 per d loss_r, without 1/U)."""
    per_class = tf.einsum("ri,ic->rc", rows.features, val_direction)
    return -tf.einsum("rc,rc->r", rows.gradient, per_class)
