"""The one forward of labeled, weak and strong inputs, and where each row stands in its batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from third_party.fixmatch_interleave import interleave_order


def forward_views(
    forward, labeled: LabeledBatch, unlabeled: UnlabeledBatch, interleave: bool
) -> tuple[dict[str, tf.Tensor], np.ndarray | None]:
    """Run B labeled, U weak and U strong inputs through the net together.

    Args:
        forward: see `structs.Forward`.
        interleave: deal the rows out like cards, so that each contiguous slice of the batch holds
            a mix of all three; on one device it changes nothing but the order of sums. Batches of
            static sizes, B dividing 2 U.

    Returns:
        The outputs in the order labeled, weak, strong; the place of each in the forward's batch,
        [B + 2 U] int32, or None where that is its own.

    Raises:
        ValueError: sizes that do not fit.
    """
    inputs = tf.concat([labeled.inputs, unlabeled.weak, unlabeled.strong], axis=0)
    if not interleave:
        return forward(inputs), None
    b, rows = labeled.inputs.shape[0], inputs.shape[0]
    if not b or not rows or rows % b:
        raise ValueError(
            "Interleaved views need batches of known sizes, B dividing 2 U. "
            f"Received: B={b}, B + 2 U={rows}. Change --lambda_batch or --unlabeled_ratio, or use "
            "--interleave=false"
        )
    order = interleave_order(rows, rows // b)
    places = np.argsort(order).astype(np.int32)
    outputs = forward(tf.gather(inputs, order))
    return {k: tf.gather(v, places) for k, v in outputs.items()}, places


def placed(positions: tf.Tensor, places: np.ndarray | None) -> tf.Tensor:
    """Return `LossRows.positions` [R, K] in the forward's batch; -1 (none) stays."""
    if places is None:
        return positions
    return tf.where(positions < 0, positions, tf.gather(places, tf.maximum(positions, 0)))
