"""From a configuration to the views that batches show, and to the rates of CTAugment."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream import fixmatch_ctaugment

from experiments.options.algorithm import TWO_VIEWS
from experiments.options.config import Config
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.features import views
from ssl_weighting.data.features.statistics import feature_statistics
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.theta.ctaugment_rates import CtaRates


def rates_of(config: Config) -> CtaRates | None:
    """Return the rates of CTAugment where they learn."""
    return CtaRates(config.publish_every) if config.learns_rates else None


def augmentation_of(config: Config, splits: DataSplits, rates: CtaRates | None) -> Augmentation:
    """Return how the run's views are made."""
    if config.model == "features":
        return _feature_views(config, splits)
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


def given_views(config: Config, splits: DataSplits) -> np.ndarray | None:
    """Return the strong views [|U|, K, d] that the data brings; None where views are made.

    Raises:
        ValueError: they are asked for by name, and there are none.
    """
    wanted = config.model == "features" and config.feature_views in ("auto", "given")
    if not wanted or config.algorithm not in TWO_VIEWS:
        return None
    found = splits.unlabeled.views
    if found is None and config.feature_views == "given":
        raise ValueError(
            "--feature_views=given needs x_train or x_unlabeled of shape [n, 1 + K, d] with K "
            f"views of each example. Received: {splits.source}, which has none. Leave it out"
        )
    return found


def _feature_views(config, splits):
    if config.algorithm not in TWO_VIEWS or config.feature_views == "none":
        return Augmentation.none()
    if config.feature_views == "mixed":
        return views.mixed(splits.unlabeled.inputs, config.feature_mixing)
    statistics = feature_statistics(splits)
    return views.perturbed(statistics, config.feature_dropout, config.feature_noise)
