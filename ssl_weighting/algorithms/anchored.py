"""A base algorithm whose targets are those of an earlier head, for theta that is solved in rounds.

Pseudo-labels that follow theta leave no objective to minimise. Here a round of theta-steps has the
targets, masks and confidences of the head as it was when the round began; logits and losses are the
current head's.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from ssl_weighting.structs import LabeledBatch, LossRows, UnlabeledBatch


class Anchored:
    """(forward, labeled, unlabeled, step) -> LossRows with the targets of the anchor.

    Args:
        algorithm: the base algorithm; each of its rows has "features" of the forward's.
        kernel, bias: variables [d, C] and [C] of the head, logits = features @ kernel + bias.

    Attributes:
        variables: the anchor, a copy of the head.
    """

    def __init__(self, algorithm, kernel, bias):
        self.algorithm, self.head = algorithm, (kernel, bias)
        self.variables = [
            # Through numpy: a Keras variable made from a tf.Variable would be that very variable.
            keras.Variable(v.numpy().copy(), dtype=v.dtype, trainable=False, name=f"anchor_{name}")
            for name, v in (("kernel", kernel), ("bias", bias))
        ]

    def renew(self) -> None:
        """Take the head as it is now for the anchor."""
        for anchor, variable in zip(self.variables, self.head, strict=True):
            anchor.assign(variable.value)

    def __call__(self, forward, labeled: LabeledBatch, unlabeled: UnlabeledBatch, step) -> LossRows:
        """Return the algorithm's rows at the anchor, with logits and loss of the current head."""

        def at_anchor(inputs, **how):
            outputs = forward(inputs, **how)
            return {**outputs, "logits": _logits(outputs["features"], self.variables)}

        rows = self.algorithm(at_anchor, labeled, unlabeled, step)
        logits = _logits(rows.features, self.head)
        return rows._replace(logits=logits, loss=rows.loss_of_logits(logits))


def _logits(features, head):
    kernel, bias = head
    return tf.matmul(features, kernel.value) + bias.value
