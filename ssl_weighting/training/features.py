"""The head on features, and the batches and views that it is trained on."""

from __future__ import annotations

import keras
import numpy as np

from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.features import views
from ssl_weighting.data.features.statistics import (
    Components,
    Statistics,
    feature_statistics,
    principal_components,
)
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.pipeline import BatchSource, ViewsSource
from ssl_weighting.data.whole import WholeSource
from ssl_weighting.models import mlp
from ssl_weighting.training.recipes import HIDDEN_LAYERS, TWO_VIEWS
from ssl_weighting.training.settings import TrainingSettings
from ssl_weighting.training.solved import SOLVE
from ssl_weighting.training.trainer import ModelParts

_EVALUATED = 10_000  # rows of an evaluation step: they are cheap, calls are not


def feature_parts(settings: TrainingSettings, splits: DataSplits, seed: int) -> ModelParts:
    """Return the head on features, and its batches.

    Args:
        settings: `settings.seed` is that of the batches.
        splits: features [n, d] float32.
        seed: of the head's initial values.

    Raises:
        ValueError: views are asked for by name, and there are none.
    """
    s, given = settings, given_views(settings, splits)
    augmentation = Augmentation.none() if given is not None else feature_views(s, splits)
    if s.inner == SOLVE and augmentation.strong_draws:
        raise ValueError(
            "`feature_views` must be given with the data, or none, where --inner=solve: made views "
            f"are others at every visit. Received: {splits.source}, which has none. Give --views "
            "with a backbone, or use --feature_views=none or --inner=steps"
        )

    def source_of(size, stream):
        if s.inner == SOLVE:
            return WholeSource(splits, size > 0, given)
        if given is not None:
            return ViewsSource(splits, s.labeled_batch, size, s.seed, given, stream)
        return BatchSource(splits, s.labeled_batch, size, s.seed, augmentation, stream)

    model = feature_head(s, splits, seed)
    return ModelParts(model, source_of, splits.validation, clean_view, _EVALUATED)


def feature_head(settings: TrainingSettings, splits: DataSplits, seed: int) -> keras.Model:
    """Return the head, freshly initialised, which sees features as D and U are.

    It standardises them by the statistics of D and U, or sees their principal components.
    """
    shown = shown_of(settings, splits)
    return mlp(
        splits.labeled.inputs.shape[1],
        splits.num_classes,
        hidden_layers=HIDDEN_LAYERS[settings.head],
        precision=settings.precision,
        seed=seed,
        **{"components" if settings.components else "standardize": shown},
    )


def shown_of(settings: TrainingSettings, splits: DataSplits) -> Statistics | Components:
    """Return the map from features to what the head sees."""
    if settings.components:
        return principal_components(splits, settings.components)
    return feature_statistics(splits)


def given_views(settings: TrainingSettings, splits: DataSplits) -> np.ndarray | None:
    """Return the strong views [|U|, K, d] that the data brings; None where views are made.

    Raises:
        ValueError: they are asked for by name, and there are none.
    """
    kind = settings.feature_views
    if kind not in ("auto", "given") or settings.algorithm not in TWO_VIEWS:
        return None
    found = splits.unlabeled.views
    if found is None and kind == "given":
        raise ValueError(
            "--feature_views=given needs x_train or x_unlabeled of shape [n, 1 + K, d] with K "
            f"views of each example. Received: {splits.source}, which has none. Leave it out"
        )
    return found


def feature_views(settings: TrainingSettings, splits: DataSplits) -> Augmentation:
    """Return how strong views are made where none are given."""
    s = settings
    if s.algorithm not in TWO_VIEWS or s.feature_views == "none":
        return Augmentation.none()
    if s.feature_views == "mixed":
        return views.mixed(splits.unlabeled.inputs, s.feature_mixing)
    return views.perturbed(feature_statistics(splits), s.feature_dropout, s.feature_noise)
