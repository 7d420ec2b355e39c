"""All of D and all of U as one batch, which every step has: for theta that is solved exactly."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch


class WholeSource:
    """D' = D, and U' = U once for each given strong view; stands where a `BatchSource` does.

    Args:
        splits: the sets, of points.
        uses_unlabeled: whether U is in the batch.
        views: [|U|, K, ...], K strong views of each example; None: the example itself is its only
            strong view.

    Attributes:
        views: K, how often the batch has each id: one below the other.
    """

    def __init__(self, splits: DataSplits, uses_unlabeled: bool, views: np.ndarray | None = None):
        self.views = 1 if views is None else views.shape[1]
        labeled, unlabeled = loaded(splits.labeled.inputs), loaded(splits.unlabeled.inputs)
        u = unlabeled if uses_unlabeled else unlabeled[:0]
        strong = u if views is None else views[: len(u)].reshape(-1, *u.shape[1:])
        self.unlabeled_batch = len(strong)
        self._first = unlabeled if views is None else views[:, 0]
        with tf.device("CPU:0"):
            weak = tf.repeat(tf.constant(u), self.views, axis=0)
            ids = tf.repeat(tf.range(len(u), dtype=tf.int64), self.views)
            self._batch = (
                LabeledBatch(tf.constant(labeled), tf.constant(splits.labeled.labels)),
                UnlabeledBatch(ids, weak, weak if views is None else tf.constant(strong)),
            )

    def at(self, step: int | tf.Tensor) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return the batch of any step."""
        del step
        return self._batch

    def strong_views(self, ids: np.ndarray) -> tf.Tensor:
        """Return the first strong view of each id [N] int64, [N, ...] float32, for reports."""
        return tf.constant(self._first[np.asarray(ids)])
