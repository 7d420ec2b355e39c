"""UDA's strong view of an image: RandAugment with UDA's list of ops, then a square of mean colour.

Upstream: google-research/uda, image folder, from commit 6aabffa on (15 ops at 9 levels); the
behaviour matched and the differences are listed in README.md. Upstream makes 100 copies ahead of
training; here every view has draws of its own. The order is ops, square, then (by the caller) flip
and crop, the opposite of FixMatch's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting_upstream import image_ops, randaugment_ops, squares
from ssl_weighting_upstream.augmenter_inputs import checked_draws, checked_fraction
from ssl_weighting_upstream.randaugment_ops import NUM_LEVELS, NUM_SLOTS, Policy

OPS = (
    "invert", "cutout", "sharpness", "autocontrast", "posterize", "shear_x", "translate_x",
    "translate_y", "shear_y", "rotate", "equalize", "contrast", "color", "solarize", "brightness",
)  # fmt: skip
NUM_ENTRIES = (
    len(OPS) * NUM_LEVELS
)  # 135 pairs of op and level; a policy is an ordered pair of them
# Per slot (entry, sign, apply, column and row of op Cutout), then the last square (row, column).
_SLOT_DRAWS = 5
STRONG_DRAWS = _SLOT_DRAWS * NUM_SLOTS + 2


class Statistics(NamedTuple):
    """Mean and standard deviation of a data set's channels, values in [0, 1]."""

    mean: Sequence[float]  # [C]
    std: Sequence[float]  # [C]


CIFAR10 = Statistics(
    (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)
)  # fmt: skip
SVHN = Statistics((0.4376821, 0.4437697, 0.47280442), (0.19803012, 0.20101562, 0.19703614))


def sample_policy(uniforms: tf.Tensor) -> tuple[Policy, tf.Tensor]:
    """Turn draws into entries, signs and coins, each uniform and independent.

    Args:
        uniforms: [N, STRONG_DRAWS] float32 in [0, 1).

    Returns:
        A `Policy` of [N, NUM_SLOTS] tensors; and [N, NUM_SLOTS, 2] float32, the row and the column
        of op Cutout's square as draws.

    Raises:
        ValueError: if the shape or dtype does not fit.
    """
    uniforms = checked_draws(uniforms, STRONG_DRAWS)
    draws = tf.reshape(uniforms[:, : _SLOT_DRAWS * NUM_SLOTS], [-1, NUM_SLOTS, _SLOT_DRAWS])
    # k u stays below k in float32 for the largest u = 1 - 2**-24.
    entry = tf.cast(draws[..., 0] * NUM_ENTRIES, tf.int32)
    policy = Policy(
        op=entry // NUM_LEVELS,
        level=entry % NUM_LEVELS + 1,
        negate=draws[..., 1] > 0.5,
        apply=draws[..., 2] < 0.5,
    )
    return policy, draws[..., :2:-1]  # upstream's first coordinate is Pillow's x


@tf.autograph.experimental.do_not_convert
def augment_bytes(
    images: tf.Tensor, uniforms: tf.Tensor, statistics: Statistics, cutout_fraction: float = 0.5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two random entries, each applied with probability 1/2, then a square.

    Args:
        images: [N, H, W, C] uint8, C = 1 or 3.
        uniforms: [N, STRONG_DRAWS] float32 in [0, 1).
        statistics: of C channels; they decide which bytes lose one on their way through float64.
        cutout_fraction: side of the last square over the shorter side, 0 for none.

    Returns:
        (colours, alpha), [N, H, W, C] uint8 both; alpha is 0 where the mean colour belongs, else 1.

    Raises:
        ValueError: if a shape, a dtype or `cutout_fraction` does not fit.
    """
    images = _checked(images, statistics)
    policy, centers = sample_policy(checked_draws(uniforms, STRONG_DRAWS, images))
    checked_fraction(cutout_fraction)
    height, width = images.shape[1:3]
    tables = tf.constant(_entry_tables(*map(tuple, statistics)))
    each = tf.tile(tables[tf.newaxis], [tf.shape(images)[0], 1, 1])
    pixels = tf.constant([height, width], tf.float32)
    colors, alpha = randaugment_ops.apply_policy(
        image_ops.look_up(images, each), None, policy, OPS, tf.cast(centers * pixels, tf.int32)
    )
    side = int(cutout_fraction * min(height, width))
    if side > 1:
        center = squares.scaled_draws(uniforms[:, -2:], height, width)
        outside = squares.outside_squares(center, side, colors.shape[1:])
        alpha = image_ops.bitwise(tf.bitwise.bitwise_and, alpha, outside)
    return colors, alpha


def normalised(colors: tf.Tensor, alpha: tf.Tensor, statistics: Statistics) -> tf.Tensor:
    """Return (v / 255 - mean) / std, 0 where alpha is: upstream's view, [N, H, W, C] float32."""
    mean, std = (tf.constant(values, tf.float64) for values in statistics)
    values = (tf.cast(colors, tf.float64) / 255.0 - mean) / std
    return tf.cast(values, tf.float32) * tf.cast(alpha, tf.float32)


def centred(colors: tf.Tensor, alpha: tf.Tensor, statistics: Statistics) -> tf.Tensor:
    """Return the same view in [-1, 1]: 2 v / 255 - 1, and 2 mean - 1 where alpha is 0."""
    shape = colors.shape[1:]
    mean = np.broadcast_to(2 * np.float32(statistics.mean) - 1, shape)
    keep = tf.cast(alpha, tf.float32)
    return image_ops.bytes_to_float(colors) * keep + mean * (1 - keep)


@functools.cache
def _entry_tables(mean, std):
    """[C, 256] uint8: bytes to normalised float64 and back, the fraction discarded, as upstream."""
    values = np.arange(256)[np.newaxis] / 255
    mean, std = np.array(mean)[:, np.newaxis], np.array(std)[:, np.newaxis]
    return np.clip(((values - mean) / std * std + mean) * 255, 0, 255).astype(np.uint8)


def _checked(images, statistics):
    images = tf.convert_to_tensor(images)
    channels = len(statistics.mean)
    fits = images.shape.rank == 4 and images.shape[3] in (1, 3) and images.dtype == tf.uint8
    if not fits or None in images.shape[1:3]:
        raise ValueError(
            "`images` must be uint8 [N, H, W, C] with C = 1 or 3 and static H and W. Received: "
            f"images.shape={images.shape}, images.dtype={images.dtype.name}. "
            "Pass the bytes as stored."
        )
    if len(statistics.std) != channels or channels != images.shape[3] or min(statistics.std) <= 0:
        raise ValueError(
            f"`statistics` must hold a mean and a positive std for each of {images.shape[3]} "
            f"channels. Received: {statistics}. Take them from the training images."
        )
    return images
