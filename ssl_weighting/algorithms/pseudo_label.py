"""Pseudo-Label (Lee 2013; the base algorithm of the synthetic experiments, Sec. 4.1)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.algorithms.rows import softmax_rows
from ssl_weighting.algorithms.settings import Checked, Passes
from ssl_weighting.algorithms.targets import frozen_probabilities, hard_labels, ramp
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class PseudoLabel(Checked):
    """l_U(u) = 1[max p > threshold] * CE(argmax p, z), target and loss on one weak view.

    Attributes:
        threshold: confidence below which a row is masked out; 0 keeps all (upstream 0.95).
        wu: coefficient of the unlabeled loss.
        ramp_steps: wu rises linearly from 0 over so many steps (upstream 0.4 of the run); 0: none.
        broadcast_mask: the release's bug: a (B,1) mask times a (B,) loss, whose mean is the mean
            of the mask times the mean of the loss; every row gets the mean mask.
    """

    threshold: float = 0.95
    wu: float = 1.0
    ramp_steps: int = 0
    broadcast_mask: bool = False
    uses_unlabeled = True

    def passes(self) -> Passes:
        """Return the views that each pass joins."""
        return (("labeled", "weak"),)

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U rows.

        DEVIATION: one forward of both batches where upstream makes two, so BatchNorm sees both.
        """
        outputs = forward(tf.concat([labeled.inputs, unlabeled.weak], axis=0))
        p = frozen_probabilities(outputs["logits"][tf.shape(labeled.label)[0] :])
        confidence = tf.reduce_max(p, axis=1)
        mask = tf.cast(confidence > self.threshold, tf.float32)
        if self.broadcast_mask:
            mask = tf.ones_like(mask) * tf.reduce_mean(mask)
        return softmax_rows(
            labeled,
            outputs,
            targets=hard_labels(p),
            ids=unlabeled.ids,
            mask=mask,
            confidence=confidence,
            wu=self.wu * ramp(step, self.ramp_steps),
        )
