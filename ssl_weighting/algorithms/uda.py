"""UDA (Xie et al. 2019): soft targets from the weak view, KL divergence on the strong view."""

from __future__ import annotations

import dataclasses

import tensorflow as tf
from ssl_weighting_upstream.uda_tsa import tsa_mask, tsa_threshold

from ssl_weighting.algorithms.rows import (
    Block,
    alone,
    batch_size,
    both,
    labeled_block,
    stack_blocks,
)
from ssl_weighting.algorithms.settings import Checked, Passes
from ssl_weighting.algorithms.targets import frozen_probabilities, ramp
from ssl_weighting.algorithms.views import forward_views, view_passes
from ssl_weighting.losses import SoftmaxCrossEntropy, entropy
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class UDA(Checked):
    """l_U(u) = 1[max p > threshold] * KL(softmax(z_weak / T) || softmax(z_strong)).

    Attributes:
        threshold: on the un-tempered p; 0 keeps all (the 2019 recipe; 0.8 in the 2020 one).
        strict: whether p must exceed it (UDA) or may equal it (UDA as FixMatch's authors have it).
        temperature: T (1 in the 2019 recipe; 0.4 in the 2020 one).
        wu: coefficient of the unlabeled loss.
        ramp_steps: wu rises linearly from 0 over so many steps; 0: no ramp.
        entropy_coefficient: of the mean entropy of softmax(z_weak), which then learns too; lambda_u
            multiplies it like every unlabeled term.
        tsa: "none", "linear", "log" or "exp": labeled examples that are surer than a rising
            threshold do not teach, and the mean is over the others.
        num_steps: steps over which that threshold rises to 1, for `tsa` alone.
        interleave, separate_weak: see `forward_views`; the latter not where weak views learn.
    """

    threshold: float = 0.0
    strict: bool = True
    temperature: float = 1.0
    wu: float = 1.0
    ramp_steps: int = 0
    entropy_coefficient: float = 0.0
    tsa: str = "none"
    num_steps: int = 1
    interleave: bool = False
    separate_weak: bool = False
    uses_unlabeled = True

    def __post_init__(self):
        """Check the options.

        Raises:
            ValueError: weak views learn and are passed frozen.
        """
        super().__post_init__()
        if self.separate_weak and self.entropy_coefficient:
            raise ValueError(
                "`separate_weak` must be False where weak views learn. "
                f"Received: entropy_coefficient={self.entropy_coefficient}"
            )

    def passes(self) -> Passes:
        """Return the views that each pass joins."""
        return view_passes(self.interleave, self.separate_weak)

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U rows (and U of entropy): labels, strong views, weak views."""
        how = self.interleave, self.separate_weak
        weak, outputs, places = forward_views(forward, labeled, unlabeled, *how)
        ids = unlabeled.ids
        b, n = tf.shape(labeled.label)[0], batch_size(ids)
        confidence = tf.reduce_max(frozen_probabilities(weak["logits"]), axis=1)
        targets = frozen_probabilities(weak["logits"] / self.temperature)
        consistency = Block(
            SoftmaxCrossEntropy(targets, subtract_entropy=True),
            alone(ids),
            1 / n,
            wu=self.wu * ramp(step, self.ramp_steps),
            mask=self._sure(confidence),
            confidence=both(confidence),
        )
        blocks = [self._labeled(labeled, outputs["logits"][:b], step), consistency]
        if self.entropy_coefficient:
            weight = self.entropy_coefficient / n
            blocks.append(Block(entropy, alone(ids), weight, confidence=both(confidence)))
            outputs = {k: tf.concat([v, weak[k]], 0) for k, v in outputs.items()}
            own = places[b:, 1]  # where the weak view stands
            places = tf.concat([places, tf.stack([own, -tf.ones_like(own)], axis=1)], 0)
        return stack_blocks(outputs, blocks, places)

    def _sure(self, confidence):
        compare = tf.greater if self.strict else tf.greater_equal
        return tf.cast(compare(confidence, self.threshold), tf.float32)

    def _labeled(self, labeled, logits, step):
        block = labeled_block(labeled, logits.shape[-1])
        if self.tsa == "none":
            return block
        p = frozen_probabilities(logits)
        threshold = tsa_threshold(self.tsa, step, self.num_steps, p.shape[-1])
        label = tf.clip_by_value(labeled.label, 0, p.shape[-1] - 1)  # the block has refused others
        mask = tsa_mask(tf.gather(p, label, batch_dims=1), threshold)
        return block._replace(mask=mask, coefficient=1 / tf.maximum(tf.reduce_sum(mask), 1.0))
