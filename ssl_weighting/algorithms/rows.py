"""Assemble the loss rows that the base algorithms of this package share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.checks import one_hot_labels
from ssl_weighting.losses import SoftmaxCrossEntropy, Stacked
from ssl_weighting.structs import LabeledBatch, LossRows


def softmax_rows(
    labeled: LabeledBatch,
    outputs: dict[str, tf.Tensor],
    *,
    targets: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
    confidence: tf.Tensor | None = None,
    wu: tf.Tensor | float = 1.0,
    positions: tf.Tensor | None = None,
) -> LossRows:
    """Return B supervised rows, then U unlabeled rows trained towards frozen `targets`.

    Args:
        labeled: the labeled batch, B examples.
        outputs: {"features": [B + U, d], "logits": [B + U, C]} of labeled, then unlabeled inputs.
        targets: [U, C] float32, frozen.
        ids: [U] int64.
        mask: [U] float32; confidence: [U] float32.
        wu: scalar, weight of the mean unlabeled loss, times any ramp.
        positions: [B + U, K] int32, see `LossRows`; None where every input carries one row.
    """
    logits = outputs["logits"]
    one_hot = one_hot_labels(labeled, logits.shape[-1])
    ones = tf.ones_like(one_hot[:, 0])
    parents = -tf.ones_like(labeled.label, tf.int64)
    without_wu = ones / tf.reduce_sum(ones)
    coefficient, row_mask, certainty = without_wu, ones, ones
    if targets is not None:
        each = tf.ones_like(mask) / batch_size(ids)
        coefficient = tf.concat([without_wu, wu * each], 0)
        without_wu = tf.concat([without_wu, each], 0)
        row_mask = tf.concat([ones, mask], 0)
        parents = tf.concat([parents, ids], 0)
        certainty = tf.concat([ones, confidence], 0)
        one_hot = tf.concat([one_hot, targets], 0)
    loss = SoftmaxCrossEntropy(one_hot)
    return LossRows(
        loss=loss(logits),
        coefficient=coefficient,
        mask=tf.stop_gradient(row_mask),
        ids=alone(parents),
        share=tf.stack([tf.ones_like(coefficient), tf.zeros_like(coefficient)], axis=1),
        features=outputs.get("features"),  # read by the last layer's Eq. 6 only
        logits=logits,
        loss_of_logits=loss,
        confidence=both(certainty),
        positions=positions,
        without_wu=without_wu,
    )


class Block(NamedTuple):
    """Rows of one loss: n of them, one below the other."""

    loss: Callable[[tf.Tensor], tf.Tensor]  # [n, C] -> [n], targets frozen
    ids: tf.Tensor  # [n, 2] int64
    coefficient: tf.Tensor | float  # scalar: of each row, without `wu`
    wu: tf.Tensor | float = 1.0  # scalar: --wu with its ramp, where it multiplies this loss
    share: tf.Tensor | None = None  # [n, 2]; None: all to the first parent
    mask: tf.Tensor | None = None  # [n]; None: 1
    confidence: tf.Tensor | None = None  # [n, 2]; None: 1


def stack_blocks(
    outputs: dict[str, tf.Tensor],
    blocks: list[Block],
    positions: tf.Tensor | None = None,
    memory: tuple[tf.Tensor, ...] = (),
) -> LossRows:
    """Return the rows of all blocks.

    Args:
        outputs: {"features": [R, d], "logits": [R, C]}, row by row.
        blocks: R rows together.
        positions, memory: see `LossRows`.
    """
    counts = [tf.shape(block.ids)[0] for block in blocks]
    loss = Stacked(*((block.loss, n) for block, n in zip(blocks, counts, strict=True)))
    first = tf.constant([[1.0, 0.0]])
    filled = [
        (
            tf.ones([n]) * block.coefficient,
            tf.ones([n]) * block.wu,
            tf.ones([n]) if block.mask is None else block.mask,
            block.ids,
            tf.ones([n, 1]) * first if block.share is None else block.share,
            tf.ones([n, 2]) if block.confidence is None else block.confidence,
        )
        for block, n in zip(blocks, counts, strict=True)
    ]
    parts = (tf.concat(part, 0) for part in zip(*filled, strict=True))
    without_wu, wu, mask, ids, share, confidence = parts
    return LossRows(
        loss=loss(outputs["logits"]),
        coefficient=wu * without_wu,
        mask=tf.stop_gradient(mask),
        ids=ids,
        share=tf.stop_gradient(share),
        features=outputs.get("features"),
        logits=outputs["logits"],
        loss_of_logits=loss,
        confidence=tf.stop_gradient(confidence),
        positions=positions,
        memory=tuple(map(tf.stop_gradient, memory)),
        without_wu=without_wu,
    )


def labeled_block(labeled: LabeledBatch, num_classes: int) -> Block:
    """Return B rows of cross-entropy with coefficient 1/B."""
    one_hot = one_hot_labels(labeled, num_classes)
    ids = -tf.ones_like(labeled.label, tf.int64)
    return Block(SoftmaxCrossEntropy(one_hot), alone(ids), 1 / batch_size(ids))


def alone(ids: tf.Tensor) -> tf.Tensor:
    """Return ids [n, 2] of rows with one parent each."""
    return tf.stack([ids, -tf.ones_like(ids)], axis=1)


def both(values: tf.Tensor) -> tf.Tensor:
    """Return frozen [n, 2], the value [n] of a row for both of its parents."""
    return tf.stop_gradient(tf.stack([values, values], axis=1))


def batch_size(ids: tf.Tensor) -> tf.Tensor:
    """Return how many ids there are, float32."""
    return tf.cast(tf.size(ids), tf.float32)
