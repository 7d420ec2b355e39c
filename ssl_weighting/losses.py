"""Row losses as functions of the logits alone, with targets frozen, and their derivatives.

Eq. 6 needs the gradient and the Hessian of each row loss with respect to its logits. A row loss is
any callable [R, C] -> [R] whose row r reads row r only; autodiff serves them all.
`SoftmaxCrossEntropy` brings its closed forms along.
"""

from __future__ import annotations

import tensorflow as tf


class SoftmaxCrossEntropy:
    """-sum_c q_c log softmax(z)_c, or KL(q || softmax(z)): they differ by a constant in z.

    Args:
        targets: [R, C] float, frozen distributions (one-hot or soft).
        subtract_entropy: True for the KL divergence (UDA), False for cross-entropy (FixMatch).
    """

    def __init__(self, targets: tf.Tensor, subtract_entropy: bool = False):
        self.targets = tf.stop_gradient(targets)
        self.subtract_entropy = subtract_entropy

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, [R], in the dtype of `logits` [R, C]."""
        targets = tf.cast(self.targets, logits.dtype)
        loss = -tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=-1)
        if self.subtract_entropy:
            loss += tf.reduce_sum(tf.math.xlogy(targets, targets), axis=-1)
        return loss

    def gradient(self, logits: tf.Tensor) -> tf.Tensor:
        """Return softmax(z) - q, [R, C] (q sums to 1)."""
        return tf.nn.softmax(logits) - tf.cast(self.targets, logits.dtype)

    def hessian(self, logits: tf.Tensor) -> tf.Tensor:
        """Return diag(p) - p p^T, [R, C, C]: independent of q and never indefinite."""
        p = tf.nn.softmax(logits)
        return tf.linalg.diag(p) - p[:, :, None] * p[:, None, :]


def logit_gradient(loss, logits: tf.Tensor) -> tf.Tensor:
    """Return d loss_r / d z_r, [R, C], in closed form where `loss` brings one, else by autodiff."""
    if hasattr(loss, "gradient"):
        return loss.gradient(logits)
    return autodiff_gradient(loss, logits)


def logit_hessian(loss, logits: tf.Tensor, curvature: str = "hessian") -> tf.Tensor:
    """Return d^2 loss_r / d z_r^2, [R, C, C].

    Args:
        loss: row loss, [R, C] -> [R].
        logits: [R, C] float.
        curvature: "hessian", or "gauss_newton": its positive semi-definite part. They are identical
            for cross-entropy and KL rows; Brier, entropy and other losses are indefinite in z.

    Raises:
        ValueError: unknown `curvature`.
    """
    if curvature not in ("hessian", "gauss_newton"):
        raise ValueError(
            f"`curvature` must be one of hessian, gauss_newton. Received: curvature={curvature!r}"
        )
    if hasattr(loss, "hessian"):
        return loss.hessian(logits)
    hessian = autodiff_hessian(loss, logits)
    return hessian if curvature == "hessian" else _positive_part(hessian)


def autodiff_gradient(loss, logits: tf.Tensor) -> tf.Tensor:
    """Return d loss_r / d z_r by one reverse pass, [R, C]."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(logits))
    return tape.gradient(total, logits, unconnected_gradients="zero")


def autodiff_hessian(loss, logits: tf.Tensor) -> tf.Tensor:
    """Return d^2 loss_r / d z_r^2 by reverse over reverse, [R, C, C]."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        gradient = autodiff_gradient(loss, logits)
    return tape.batch_jacobian(gradient, logits, unconnected_gradients="zero")


def _positive_part(hessian):
    values, vectors = tf.linalg.eigh(hessian)
    return tf.einsum("rce,re,rde->rcd", vectors, tf.nn.relu(values), vectors)
