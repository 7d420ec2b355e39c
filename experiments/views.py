"""From a configuration to the views that batches show, and to the rates of CTAugment."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from experiments.config import Config
from ssl_weighting.ctaugment_rates import CtaRates
from ssl_weighting.data.augmentation import Augmentation
from ssl_weighting.data.examples import DataSplits
from third_party import fixmatch_ctaugment, uda_randaugment

# Upstream's constants; other sets take those of their own U.
_STATISTICS = {
    "cifar10": uda_randaugment.CIFAR10,
    "svhn_cropped": uda_randaugment.SVHN,
    "svhn_cropped_extra": uda_randaugment.SVHN,
}
_ROWS = 1000  # images at a time


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
        return Augmentation.uda(config.flip, statistics_of(config.dataset, splits))
    if kind == "ctaugment":
        return _ctaugment(config, rates)
    return Augmentation.weak_only(flip=config.flip)


def statistics_of(dataset: str, splits: DataSplits) -> uda_randaugment.Statistics:
    """Return mean and standard deviation of the channels of a data set, in [0, 1]."""
    images = splits.unlabeled.inputs
    if dataset in _STATISTICS and images.shape[-1] == 3:
        return _STATISTICS[dataset]
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(images), _ROWS):
        values = images[start : start + _ROWS].reshape(-1, images.shape[-1]).astype(np.float64)
        count += len(values)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # at least one level
    return uda_randaugment.Statistics(tuple(mean / 255), tuple(std / 255))


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
