"""The control that knows the true labels: what could weights gain at most?

Not in the paper. It drops exactly the rows whose pseudo-label is wrong: a mark to measure learned
weights by, no bound (dropping right rows too could balance the classes, say).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms.settings import Passes
from ssl_weighting.structs import LabeledBatch, LossRows, UnlabeledBatch

ORACLE = "oracle"
ORACLE_ALGORITHMS = ("pseudo_label", "uda", "fixmatch")  # their rows pull towards one class each


class Oracle:
    """A base algorithm whose unlabeled rows are masked where their pseudo-label is wrong.

    Args:
        algorithm: (forward, labeled, unlabeled, step) -> LossRows, one unlabeled parent a row.
        true_labels: [|U|] int32, -1 where there is none or none of the C classes is right: such
            examples never pass.

    Raises:
        ValueError: no true label is known.
    """

    uses_unlabeled = True

    def __init__(self, algorithm, true_labels: np.ndarray):
        if not (np.asarray(true_labels) >= 0).any():
            raise ValueError(
                "`true_labels` must be known for some of U: the oracle compares pseudo-labels with "
                f"them. Received: {len(true_labels)} unlabeled examples, none with a label"
            )
        self.algorithm = algorithm
        with tf.device("CPU:0"):
            self.true_labels = tf.constant(true_labels, tf.int64)

    def passes(self) -> Passes:
        """Return the views that each pass of the base algorithm joins."""
        return self.algorithm.passes()

    def __call__(self, forward, labeled: LabeledBatch, unlabeled: UnlabeledBatch, step) -> LossRows:
        """Return the algorithm's rows with the mask times 1 where the pseudo-label is right."""
        rows = self.algorithm(forward, labeled, unlabeled, step)
        ids = rows.ids[:, 0]
        truth = tf.gather(self.true_labels, tf.maximum(ids, 0))
        right = (ids < 0) | (truth == pseudo_labels(rows))
        return rows._replace(mask=rows.mask * tf.cast(right, rows.mask.dtype))


def pseudo_labels(rows: LossRows) -> tf.Tensor:
    """Return the class that each row's loss pulls up most, [R] int64.

    Read off the loss at uniform logits, whose gradient of a cross-entropy is 1/C - target.
    """
    uniform = tf.zeros_like(rows.logits)
    with tf.GradientTape() as tape:
        tape.watch(uniform)
        loss = rows.loss_of_logits(uniform)
    return tf.argmin(tape.gradient(loss, uniform), axis=1)
