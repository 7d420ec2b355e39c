"""The forward of labeled, weak and strong inputs: its outputs, and where each row stands in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream.fixmatch_interleave import interleave_order

from ssl_weighting.algorithms.settings import Passes
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch


class Views(NamedTuple):
    """What the net makes of a batch.

    Attributes:
        weak: {"features": [U, d], "logits": [U, C]} of the weak views.
        rows: the same of B labeled, then U strong inputs, [B + U, ..].
        positions: [B + U, 2] int32, see `LossRows`; None: row r is input r of the pass of rows.
    """

    weak: dict[str, tf.Tensor]
    rows: dict[str, tf.Tensor]
    positions: tf.Tensor | None


def view_passes(interleave: bool, separate_weak: bool) -> Passes:
    """Return `Checked.passes` of an algorithm that calls `forward_views`."""
    if interleave:  # another order than theirs
        return None
    return (("weak",), ("labeled", "strong")) if separate_weak else (("labeled", "weak", "strong"),)


def forward_views(
    forward,
    labeled: LabeledBatch,
    unlabeled: UnlabeledBatch,
    interleave: bool = False,
    separate_weak: bool = False,
) -> Views:
    """Run B labeled, U weak and U strong inputs through the net, together unless told otherwise.

    Args:
        forward: see `structs.Forward`.
        interleave: deal the rows out like cards, so that each contiguous slice of the batch holds
            a mix of all three; on one device it changes nothing but the order of sums. Batches of
            static sizes, B dividing 2 U.
        separate_weak: pass the weak views by themselves, frozen. In a net whose layers see one
            example at a time the same up to the draws of dropout, without the backward pass of
            views that do not teach; BatchNorm would see other statistics.

    Raises:
        ValueError: sizes that do not fit, or both options.
    """
    if separate_weak:
        if interleave:
            raise ValueError("`interleave` and `separate_weak` must not both be given.")
        weak = forward(unlabeled.weak, makes_rows=False)
        weak = {k: tf.stop_gradient(v) for k, v in weak.items()}
        return Views(weak, forward(tf.concat([labeled.inputs, unlabeled.strong], axis=0)), None)
    outputs, places = _together(forward, labeled, unlabeled, interleave)
    b, u = tf.shape(labeled.label)[0], tf.size(unlabeled.ids)
    weak = {k: v[b : b + u] for k, v in outputs.items()}
    rows = {k: tf.concat([v[:b], v[b + u :]], axis=0) for k, v in outputs.items()}
    return Views(weak, rows, _positions(b, u, places))


def _together(forward, labeled, unlabeled, interleave):
    """Return the outputs of labeled, weak, strong, and the place of each in the pass or None."""
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


def _positions(b, u, places):
    rows = tf.range(b + u)
    first = tf.where(rows < b, rows, rows + u)
    positions = tf.stack([first, tf.where(rows < b, -1, rows)], axis=1)
    if places is None:
        return positions
    return tf.where(positions < 0, positions, tf.gather(places, tf.maximum(positions, 0)))
