"""Assemble the loss rows that the base algorithms of this package share."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.structs import LabeledBatch, LossRows


def softmax_rows(
    labeled: LabeledBatch,
    outputs: dict[str, tf.Tensor],
    *,
    targets: tf.Tensor | None = None,
    index: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
    confidence: tf.Tensor | None = None,
    unlabeled_coefficient: tf.Tensor | float = 0.0,
    divergence: bool = False,
    positions: tf.Tensor | None = None,
) -> LossRows:
    """Return B supervised rows, then U unlabeled rows trained towards frozen `targets`.

    Args:
        labeled: the labeled batch, B examples.
        outputs: {"features": [B + U, d], "logits": [B + U, C]} of labeled, then unlabeled inputs.
        targets: [U, C] float32, frozen.
        index: [U] int64 ids.
        mask: [U] float32; confidence: [U] float32.
        unlabeled_coefficient: scalar, weight of the mean unlabeled loss (wu times any ramp).
        divergence: True makes the loss KL(target || prediction), False cross-entropy.
        positions: [B + U, K] int32, see `LossRows`; None where every input carries one row.
    """
    logits = outputs["logits"]
    one_hot = tf.one_hot(labeled.label, logits.shape[-1])
    ones = tf.ones_like(one_hot[:, 0])
    ids = -tf.ones_like(labeled.label, tf.int64)
    coefficient, row_mask, certainty = ones / tf.reduce_sum(ones), ones, ones
    if targets is not None:
        count = tf.cast(tf.size(index), tf.float32)
        share = tf.ones_like(mask) * unlabeled_coefficient / count
        coefficient = tf.concat([coefficient, share], 0)
        row_mask = tf.concat([ones, mask], 0)
        ids = tf.concat([ids, index], 0)
        certainty = tf.concat([ones, confidence], 0)
        one_hot = tf.concat([one_hot, targets], 0)
    loss = SoftmaxCrossEntropy(one_hot, subtract_entropy=divergence)
    return LossRows(
        loss=loss(logits),
        coefficient=coefficient,
        mask=tf.stop_gradient(row_mask),
        ids=tf.stack([ids, -tf.ones_like(ids)], axis=1),
        coef=tf.stack([tf.ones_like(coefficient), tf.zeros_like(coefficient)], axis=1),
        features=outputs.get("features"),  # read by the last layer's Eq. 6 only
        logits=logits,
        loss_of_logits=loss,
        confidence=tf.stop_gradient(certainty),
        positions=positions,
    )


def two_view_positions(labeled: LabeledBatch, index: tf.Tensor) -> tf.Tensor:
    """Return `LossRows.positions` of a forward of labeled, weak and strong inputs, [B + U, 2]."""
    b, u = tf.shape(labeled.label)[0], tf.size(index)
    rows = tf.range(b + u)
    first = tf.where(rows < b, rows, rows + u)
    return tf.stack([first, tf.where(rows < b, -1, rows)], axis=1)


def drop_rows(outputs: dict[str, tf.Tensor], start, stop) -> dict[str, tf.Tensor]:
    """Return the outputs without rows start..stop-1 (views that only make targets)."""
    return {k: tf.concat([v[:start], v[stop:]], axis=0) for k, v in outputs.items()}
