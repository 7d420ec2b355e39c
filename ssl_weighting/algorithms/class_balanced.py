"""The control for labels of which some classes have few: labeled terms by inverse frequency.

Not in the paper. Where D's classes are not those of the task, weights of U may seem to help by
undoing that alone; this undoes it without them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms.settings import Passes
from ssl_weighting.structs import LabeledBatch, LossRows, UnlabeledBatch


def class_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return n / (C n_c), [C] float32, of which the mean over the labels is 1.

    Args:
        labels: [n] int, of the examples trained on, from every class.
        num_classes: C.

    Raises:
        ValueError: a class has no label.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise ValueError(
            "`class_balanced` must be false where a class has no label to weight. Received: no "
            f"label of class {np.flatnonzero(counts == 0).tolist()}"
        )
    return (len(labels) / (num_classes * counts)).astype(np.float32)


class ClassBalanced:
    """A base algorithm whose labeled rows count as much for each class.

    Args:
        algorithm: (forward, labeled, unlabeled, step) -> LossRows, one row for each example of the
            labeled batch, in its order, and no other without a parent in U.
        weights: [C] float32, factor of a labeled row of each class.
    """

    def __init__(self, algorithm, weights: np.ndarray):
        self.algorithm = algorithm
        self.uses_unlabeled = algorithm.uses_unlabeled
        self.weights = tf.constant(weights, tf.float32)

    def passes(self) -> Passes:
        """Return the views that each pass of the base algorithm joins."""
        return self.algorithm.passes()

    def __call__(self, forward, labeled: LabeledBatch, unlabeled: UnlabeledBatch, step) -> LossRows:
        """Return the algorithm's rows, the coefficient of labeled ones times their class's weight.

        Eq. 6's Hessian holds the factor too, since it is part of the coefficient.
        """
        rows = self.algorithm(forward, labeled, unlabeled, step)
        is_labeled = rows.ids[:, 0] < 0
        place = tf.maximum(tf.cumsum(tf.cast(is_labeled, tf.int32)) - 1, 0)
        weight = tf.gather(self.weights, tf.gather(labeled.label, place))
        factor = tf.where(is_labeled, weight, tf.ones_like(weight))
        without_wu = None if rows.without_wu is None else rows.without_wu * factor
        return rows._replace(coefficient=rows.coefficient * factor, without_wu=without_wu)
