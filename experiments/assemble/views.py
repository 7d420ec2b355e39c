"""From a configuration to the views that batches show, and to the rates of CTAugment."""

from __future__ import annotations

import tensorflow as tf
from ssl_weighting_upstream import fixmatch_ctaugment

from experiments.options.config import Config
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.theta.ctaugment_rates import CtaRates


def rates_of(config: Config) -> CtaRates | None:
    """Return the rates of CTAugment where they learn."""
    return CtaRates(config.publish_every) if config.learns_rates else None


def augmentation_of(config: Config, splits: DataSplits, rates: CtaRates | None) -> Augmentation:
    """Return how the run's views are made."""
    if splits.labeled.inputs.ndim != 4:
        return Augmentation.none()
    kind = config.strong_views
    if kind == "randaugment":
        return Augmentation.fixmatch(flip=config.flip)
    if kind == "uda_randaugment":
        statistics = pixel_statistics(config.dataset, splits.unlabeled.inputs)
        return Augmentation.uda(config.flip, statistics)
    if kind == "ctaugment":
        return _ctaugment(config, rates)
    return Augmentation.weak_only(flip=config.flip)


def _ctaugment(config, rates):
    ones = tf.constant(fixmatch_ctaugment.initial_rates())
    made = Augmentation.ctaugment(
        config.flip,
        rates.published if rates else lambda: ones,
        probes=rates is not None,
        # As upstream's CTA variants of the two.
        labeled=config.algorithm in ("mixmatch", "remixmatch"),
    )
    return made.strong_everywhere() if config.algorithm == "mixmatch" else made
