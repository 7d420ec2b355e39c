"""FixMatch (Sohn et al. 2020): hard pseudo-labels from the weak view, loss on the strong view."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.algorithms.rows import softmax_rows
from ssl_weighting.algorithms.settings import Checked, Passes
from ssl_weighting.algorithms.targets import frozen_probabilities, hard_labels, ramp
from ssl_weighting.algorithms.views import forward_views, view_passes
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class FixMatch(Checked):
    """l_U(u) = 1[max q >= threshold] * CE(argmax q, z_strong), q = softmax(z_weak) frozen.

    Attributes:
        threshold: tau (0.95 upstream).
        wu: of the unlabeled loss (1 upstream), a mean over the whole unlabeled batch.
        ramp_steps: wu rises linearly from 0 over so many steps; 0 (upstream): no ramp.
        interleave, separate_weak: see `forward_views`.
    """

    threshold: float = 0.95
    wu: float = 1.0
    ramp_steps: int = 0
    interleave: bool = False
    separate_weak: bool = False
    uses_unlabeled = True

    def passes(self) -> Passes:
        """Return the views that each pass joins."""
        return view_passes(self.interleave, self.separate_weak)

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U rows: labels, then strong views towards the pseudo-labels of weak ones."""
        how = self.interleave, self.separate_weak
        weak, outputs, positions = forward_views(forward, labeled, unlabeled, *how)
        q = frozen_probabilities(weak["logits"])
        confidence = tf.reduce_max(q, axis=1)
        return softmax_rows(
            labeled,
            outputs,
            targets=hard_labels(q),
            ids=unlabeled.ids,
            mask=tf.cast(confidence >= self.threshold, tf.float32),
            confidence=confidence,
            wu=self.wu * ramp(step, self.ramp_steps),
            positions=positions,
        )
