"""Row losses as functions of the logits alone, with targets frozen, and their derivatives.

Eq. 6 needs the gradient and the Hessian of each row loss with respect to its logits. A row loss is
any callable [R, C] -> [R] whose row r reads row r only; autodiff serves them all.
`SoftmaxCrossEntropy` brings its closed forms along.
"""

from __future__ import annotations

import functools

import tensorflow as tf


def frozen(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return `targets` [R, C] in the dtype of `logits` [R, C].

    Raises:
        ValueError: another shape, which would be broadcast.
    """
    if not targets.shape.is_compatible_with(logits.shape):
        raise ValueError(
            f"`targets` must have a row for each row of the logits, {logits.shape}. "
            f"Received: {targets.shape}"
        )
    return tf.cast(targets, logits.dtype)


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
        targets = frozen(self.targets, logits)
        loss = -tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=-1)
        if self.subtract_entropy:
            loss += tf.reduce_sum(tf.math.xlogy(targets, targets), axis=-1)
        return loss

    def gradient(self, logits: tf.Tensor) -> tf.Tensor:
        """Return softmax(z) - q, [R, C] (q sums to 1)."""
        return tf.nn.softmax(logits) - frozen(self.targets, logits)

    def hessian(self, logits: tf.Tensor) -> tf.Tensor:
        """Return diag(p) - p p^T, [R, C, C]: independent of q and never indefinite."""
        p = tf.nn.softmax(logits)
        return tf.linalg.diag(p) - p[:, :, None] * p[:, None, :]


class Brier:
    """mean_c (softmax(z)_c - q_c)^2 (Mean-Teacher, MixMatch): indefinite in z.

    Args:
        targets: [R, C] float, frozen distributions.
    """

    def __init__(self, targets: tf.Tensor):
        self.targets = tf.stop_gradient(targets)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, [R]."""
        difference = tf.nn.softmax(logits) - frozen(self.targets, logits)
        return tf.reduce_mean(difference**2, axis=-1)


class ReverseKL:
    """KL(softmax(z) || q), the prediction first (VAT as FixMatch's authors have it).

    Args:
        log_targets: [R, C] float, log q, frozen.
    """

    def __init__(self, log_targets: tf.Tensor):
        self.log_targets = tf.stop_gradient(log_targets)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, [R]; indefinite in z."""
        log_p = tf.nn.log_softmax(logits)
        return tf.reduce_sum(tf.exp(log_p) * (log_p - frozen(self.log_targets, logits)), -1)


def entropy(logits: tf.Tensor) -> tf.Tensor:
    """Return the entropy of softmax(z) of each row, [R]; a row loss without targets."""
    log_p = tf.nn.log_softmax(logits)
    return -tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)


class Stacked:
    """Row losses of several kinds, one block of rows below the other.

    Args:
        parts: pairs (row loss, its number of rows).
    """

    def __init__(self, *parts):
        self.losses, self.sizes = zip(*parts, strict=True)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, [R]."""
        return self.each(lambda loss, z: loss(z), logits)

    def each(self, function, logits: tf.Tensor) -> tf.Tensor:
        """Return function(loss, its logits) of every block, joined along the rows."""
        blocks = tf.split(logits, self.sizes, num=len(self.sizes))
        return tf.concat([function(*pair) for pair in zip(self.losses, blocks, strict=True)], 0)


def targets_of(loss) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the targets q [R, C] of cross-entropies, and what each loss adds to -q . log p [R].

    Raises:
        ValueError: a row loss of another kind.
    """
    if isinstance(loss, Stacked):
        parts = zip(*map(targets_of, loss.losses), strict=True)
        return tuple(tf.concat(part, 0) for part in parts)
    if not isinstance(loss, SoftmaxCrossEntropy):
        raise ValueError(f"`loss` must be of SoftmaxCrossEntropy alone. Received: {loss}")
    q = loss.targets
    added = tf.reduce_sum(tf.math.xlogy(q, q), axis=-1)
    return q, added if loss.subtract_entropy else tf.zeros_like(added)


def logit_gradient(loss, logits: tf.Tensor) -> tf.Tensor:
    """Return d loss_r / d z_r, [R, C], in closed form where `loss` brings one, else by autodiff."""
    if isinstance(loss, Stacked):
        return loss.each(logit_gradient, logits)
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
    if isinstance(loss, Stacked):
        return loss.each(functools.partial(logit_hessian, curvature=curvature), logits)
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
