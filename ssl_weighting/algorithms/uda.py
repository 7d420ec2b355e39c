"""UDA (Xie et al. 2019): soft targets from the weak view, KL divergence on the strong view."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.algorithms.rows import drop_rows, softmax_rows, two_view_positions
from ssl_weighting.algorithms.targets import frozen_probabilities, ramp
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class UDA:
    """l_U(u) = 1[max p > threshold] * KL(softmax(z_weak / T) || softmax(z_strong)).

    Attributes:
        threshold: on the un-tempered p; 0 keeps all (the 2019 recipe; 0.8 in the 2020 one).
        temperature: T (1 in the 2019 recipe; 0.4 in the 2020 one).
        unlabeled_coefficient: wu.
        ramp_steps: wu rises linearly from 0 over so many steps; 0: no ramp.
    """

    threshold: float = 0.0
    temperature: float = 1.0
    unlabeled_coefficient: float = 1.0
    ramp_steps: int = 0
    uses_unlabeled = True

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U rows from one forward of labeled, weak and strong inputs together."""
        inputs = tf.concat([labeled.inputs, unlabeled.weak, unlabeled.strong], axis=0)
        outputs, b, u = forward(inputs), tf.shape(labeled.label)[0], tf.size(unlabeled.index)
        weak_logits = outputs["logits"][b : b + u]
        confidence = tf.reduce_max(frozen_probabilities(weak_logits), axis=1)
        return softmax_rows(
            labeled,
            drop_rows(outputs, b, b + u),
            targets=frozen_probabilities(weak_logits / self.temperature),
            index=unlabeled.index,
            mask=tf.cast(confidence > self.threshold, tf.float32),
            confidence=confidence,
            unlabeled_coefficient=self.unlabeled_coefficient * ramp(step, self.ramp_steps),
            positions=two_view_positions(labeled, unlabeled.index),
            divergence=True,
        )
