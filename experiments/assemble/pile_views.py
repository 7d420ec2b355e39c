"""The views of examples that a run has never seen: as in training, made without its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream import uda_randaugment

from experiments.assemble.build import settings_of
from experiments.assemble.views import augmentation_of
from experiments.options.config import Config
from experiments.options.kinds import FEATURE_ROWS, KINDS, TEXTS
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.features import views
from ssl_weighting.data.features.statistics import Statistics, feature_statistics
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.theta.ctaugment_rates import CtaRates
from ssl_weighting.training.features import feature_views, given_views

THE_SAME = "none"  # both views are the example itself


class PileViews(NamedTuple):
    """How views are made.

    Attributes:
        settings: "kind" and its numbers, as JSON can carry them.
        arrays: what else they depend on.
    """

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]


def pile_views(config: Config, splits: DataSplits, rates: CtaRates | None) -> PileViews:
    """Return how a run's views are made, CTAugment's by its last rates.

    Views that came with the data, and words replaced by the statistics of U's texts, exist for U
    alone: there the example itself is its strong view too.
    """
    settings: dict[str, Any] = {"kind": THE_SAME}
    if KINDS[config.model] is FEATURE_ROWS:
        return _of_features(config, splits)
    if KINDS[config.model] is TEXTS or splits.labeled.inputs.ndim != 4:
        return PileViews(settings, {})
    settings = {"kind": augmentation_of(config, splits, rates).name, "flip": config.flip}
    if settings["kind"] == "uda":
        found = pixel_statistics(config.dataset, splits.unlabeled.inputs)
        return PileViews(settings, {n: np.array(x) for n, x in found._asdict().items()})
    if settings["kind"] == "ctaugment":
        made = augmentation_of(config, splits, rates)
        return PileViews(settings, {"rates": made.state().numpy()})
    return PileViews(settings, {})


def _of_features(config, splits):
    settings = settings_of(config)
    given = given_views(settings, splits) is not None
    if given or feature_views(settings, splits).name != "perturbed":
        return PileViews({"kind": THE_SAME}, {})
    numbers = {"dropout": config.feature_dropout, "noise": config.feature_noise}
    return PileViews({"kind": "perturbed", **numbers}, feature_statistics(splits)._asdict())


def augmentation_from(
    settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Augmentation:
    """Return the views that a `PileViews` tells of.

    Raises:
        ValueError: a kind that is not known.
        KeyError, TypeError: a number or an array is missing.
    """
    kind = settings["kind"]
    if kind == THE_SAME:
        return Augmentation.none()
    if kind == "perturbed":
        statistics = Statistics(arrays["mean"], arrays["std"])
        return views.perturbed(statistics, settings["dropout"], settings["noise"])
    flip = settings["flip"]
    if kind == "weak":
        return Augmentation.weak_only(flip)
    if kind == "fixmatch":
        return Augmentation.fixmatch(flip)
    if kind == "uda":
        mean, std = (tuple(arrays[name].tolist()) for name in ("mean", "std"))
        return Augmentation.uda(flip, uda_randaugment.Statistics(mean, std))
    if kind == "ctaugment":
        rates = tf.constant(arrays["rates"])
        return Augmentation.ctaugment(flip, lambda: rates, probes=False)
    raise ValueError(f"views of a kind that is not known, {kind!r}")
