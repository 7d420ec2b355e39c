"""The rates of CTAugment in training: those that learn, and those that policies read."""

from __future__ import annotations

import keras
import tensorflow as tf
from ssl_weighting_upstream import fixmatch_ctaugment as cta

from ssl_weighting.checks import check_number
from ssl_weighting.structs import LabeledBatch


class CtaRates:
    """Rates that learn at every theta-step, and a published copy that policies read.

    Batches are made ahead, by as many steps as the machine is fast; if their policies read the
    learning rates, a run could not be repeated. So policies read a copy, which changes at multiples
    of `publish_every` steps, when the trainer throws away what was made ahead. (Pipelines that read
    variables are not made ahead at all under deterministic kernels.)

    DEVIATION: strong views lag behind the rates by up to `publish_every` steps; upstream, whose
    queues are short, by up to 4.

    Args:
        publish_every: steps between publications, at least 1.

    Raises:
        ValueError: if that is out of range.
    """

    def __init__(self, publish_every: int):
        check_number("publish_every", publish_every, 1, whole=True)
        self.publish_every = publish_every
        self.live, self._published = (
            keras.Variable(cta.initial_rates(), name=name, trainable=False)
            for name in ("live", "published")
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in a fixed order."""
        return [self.live, self._published]

    def published(self) -> tf.Tensor:
        """Return the rates that policies read, cta.RATES_SHAPE float32."""
        return tf.convert_to_tensor(self._published.value)

    def learn(self, batch: LabeledBatch, probabilities: tf.Tensor) -> None:
        """Move the learning rates by how well the probes of a batch were read.

        Args:
            batch: with probes of its B examples.
            probabilities: [B, C] float32, of the averaged network for the probes.
        """
        probe = batch.probe
        omega = cta.proximity(probabilities, batch.label)
        self.live.assign(cta.update_rates(self.live.value, probe.op, probe.level, omega))

    def publish_if_due(self, step: int) -> bool:
        """Publish the rates where theta-step `step` starts a new period; say whether it did."""
        due = step > 0 and step % self.publish_every == 0
        if due:
            self._published.assign(self.live.value)
        return due

    def next_publication(self, step: int) -> int:
        """Return the first step after `step` before which rates are published."""
        return (step // self.publish_every + 1) * self.publish_every

    def statistics(self) -> dict[str, float]:
        """Return mean and least of the learning rates, and the share of bins that they cut."""
        rates = self.live.numpy()[cta.EXISTS]
        shares = cta.bin_probabilities(self.live.value).numpy()[cta.EXISTS]
        return {
            "cta_rate_mean": float(rates.mean()),
            "cta_rate_min": float(rates.min()),
            "cta_bins_cut": float((shares == 0).mean()),
        }
