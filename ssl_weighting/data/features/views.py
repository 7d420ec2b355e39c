"""Strong views that are made of features: some dropped, with noise, or mixed with other rows."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_number
from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.features.statistics import Statistics
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.reading import reader_of


def perturbed(statistics: Statistics, dropout: float, noise: float) -> Augmentation:
    """Return views of which the strong ones lack features and have noise.

    Each feature is its mean with probability `dropout`, else its deviation from the mean grows by
    1 / (1 - dropout), which keeps the expectation (Srivastava et al. 2014); then Gaussian noise.

    Args:
        statistics: of d features.
        dropout: share of features, in [0, 1).
        noise: standard deviation of the noise, in deviations of each feature.

    Raises:
        ValueError: a number is out of range.
    """
    check_number("dropout", dropout, below=1)
    check_number("noise", noise)
    mean, std = (np.asarray(part, np.float32) for part in statistics)
    size = len(mean)

    def strong(x: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        kept = tf.cast(uniforms[:, :size] >= dropout, x.dtype) / (1 - dropout)
        return mean + kept * (x - mean) + noise * std * _normal(uniforms[:, size:], size)

    return Augmentation("perturbed", _clean, 0, strong, size + 2 * math.ceil(size / 2))


def mixed(unlabeled: np.ndarray | ExampleTable, most: float) -> Augmentation:
    """Return views of which the strong ones are (1 - a) x + a x' with x' another row of U.

    Input mixup within U (Zhang et al. 2018) with a uniform in [0, most]. The example keeps its own
    target and its own λ: it makes up the larger part.

    Args:
        unlabeled: [|U|, d] float32.
        most: largest share of the other row, in [0, 0.5].

    Raises:
        ValueError: it is out of range.
    """
    check_number("most", most, most=0.5)
    others, count = reader_of(unlabeled), len(unlabeled)

    def strong(x: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        # In float64: float32 cannot tell the ids of a large set apart.
        rows = tf.cast(tf.cast(uniforms[:, 0], tf.float64) * count, tf.int64)
        share = most * uniforms[:, 1:2]
        return (1 - share) * x + share * others(rows)

    return Augmentation("mixed", _clean, 0, strong, 2)


def _normal(uniforms, size):
    """Return [N, size] normal numbers from [N, 2 ceil(size / 2)] uniform ones (Box and Muller)."""
    first, second = tf.split(uniforms, 2, axis=1)
    radius = tf.sqrt(-2 * tf.math.log(1 - first))  # 1 - first is never 0
    angle = 2 * math.pi * second
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)[:, :size]


def _clean(inputs: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    del uniforms  # there are none
    return clean_view(inputs)
