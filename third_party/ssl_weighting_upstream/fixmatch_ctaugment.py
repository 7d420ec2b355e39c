"""CTAugment: strong views whose levels are drawn from bins that the network still gets right.

Upstream: google-research/fixmatch at d4985a1; the behaviour matched and the differences are listed
in README.md. Every op has one weight vector for each of its levels, one weight ("rate") a bin, all
ones at the start. Labeled images are changed by a *probe* policy; how well the network reads them
moves the rates of the bins they used; strong views draw from the bins whose rates are high. All of
it is pure functions: the rates come in and go out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting_upstream import ctaugment_ops, image_ops, squares
from ssl_weighting_upstream.augmenter_inputs import checked_draws, checked_images
from ssl_weighting_upstream.ctaugment_ops import BINS, OPS

DEPTH = 2
DECAY = 0.99  # rho
THRESHOLD = 0.80
_SLOT_DRAWS = 7  # op; bin and place in it, twice; column and row of Cutout's square
PROBE_DRAWS = DEPTH * _SLOT_DRAWS
STRONG_DRAWS = PROBE_DRAWS + 2  # and column and row of the last square
_MOST_BINS = int(BINS.max())
RATES_SHAPE = (*BINS.shape, _MOST_BINS)  # [op, which level, bin]
EXISTS = np.arange(_MOST_BINS) < BINS[..., np.newaxis]  # of RATES_SHAPE: bins that there are


class CtaPolicy(NamedTuple):
    """What happens to each image: DEPTH ops, one after the other."""

    op: tf.Tensor  # [N, DEPTH] int32, index into OPS
    level: tf.Tensor  # [N, DEPTH, 2] float32 in [0, 1]
    center: tf.Tensor  # [N, DEPTH, 2] float32 in [0, 1): column and row of Cutout's square


def initial_rates() -> np.ndarray:
    """Return rates of 1, and 0 where there is no bin: RATES_SHAPE float32."""
    return EXISTS.astype(np.float32)


def probe_policy(uniforms: tf.Tensor) -> CtaPolicy:
    """Draw ops uniformly with replacement, and levels uniformly from [0, 1).

    Args:
        uniforms: [N, PROBE_DRAWS] float32 in [0, 1). Of each slot: op, (not used), level 1, (not
            used), level 2, column, row.

    Raises:
        ValueError: if the shape or dtype does not fit.
    """
    op, draws = _slots(checked_draws(uniforms, PROBE_DRAWS))
    return CtaPolicy(op, draws[..., 2:5:2], draws[..., 5:])


def training_policy(uniforms: tf.Tensor, rates: tf.Tensor) -> CtaPolicy:
    """Draw ops uniformly with replacement, and levels from bins by their rates.

    p = rate + 1 - rho, divided by its largest; below the threshold 0; bin i is drawn in proportion
    to p, and the level is (i + U(0, 1)) / bins.

    Args:
        uniforms: [N, PROBE_DRAWS] float32 in [0, 1). Of each slot: op, bin of level 1, place in it,
            bin of level 2, place in it, column, row.
        rates: RATES_SHAPE float32.

    Raises:
        ValueError: if the shape or dtype does not fit.
    """
    op, draws = _slots(checked_draws(uniforms, PROBE_DRAWS))
    below = tf.gather(tf.cumsum(bin_probabilities(rates), axis=-1), op)  # [N, DEPTH, 2, bins]
    total = below[..., -1:]
    drawn = draws[..., 1:4:2, tf.newaxis] * total
    # Where rounding takes the draw to the total, the last bin with a share is meant.
    number = tf.minimum(_count(below <= drawn), _count(below < total))
    bins = tf.cast(tf.gather(tf.constant(np.maximum(BINS, 1)), op), tf.float32)
    level = (tf.cast(number, tf.float32) + draws[..., 2:5:2]) / bins
    return CtaPolicy(op, level, draws[..., 5:])


def bin_probabilities(rates: tf.Tensor) -> tf.Tensor:
    """Return what bins are drawn in proportion to: RATES_SHAPE float32, 0 where they are cut."""
    shares = (rates + (1 - DECAY)) * tf.constant(EXISTS, tf.float32)
    largest = tf.reduce_max(shares, axis=-1, keepdims=True)
    shares = tf.math.divide_no_nan(shares, largest)
    return shares * tf.cast(shares >= THRESHOLD, tf.float32)


@tf.autograph.experimental.do_not_convert
def ctaugment(images: tf.Tensor, policy: CtaPolicy) -> tf.Tensor:
    """Apply a policy.

    Args:
        images: [N, H, W, C] float32 in [-1, 1], or uint8 v for v (2 / 255) - 1, with C = 1 or 3.
        policy: for N images.

    Returns:
        [N, H, W, C] float32 in [-1, 1].

    Raises:
        ValueError: if a shape or dtype does not fit.
    """
    return _to_float(_apply(_to_bytes(images), policy))


@tf.autograph.experimental.do_not_convert
def ctaugment_with_cutout(images: tf.Tensor, policy: CtaPolicy, last: tf.Tensor) -> tf.Tensor:
    """Apply a policy and then Cutout at level 1: the strong view.

    Args:
        images, policy: as in `ctaugment`.
        last: [N, 2] float32 in [0, 1): column and row of the square.

    Returns:
        [N, H, W, C] float32 in [-1, 1].

    Raises:
        ValueError: if a shape or dtype does not fit.
    """
    colors = _apply(_to_bytes(images), policy)
    height, width = colors.shape[1:3]
    side = 1 + int(1.0 * min(height, width) * 0.499)
    last = squares.scaled_draws(checked_draws(last, 2, colors)[:, ::-1], height, width)
    outside = squares.outside_squares(last, side, colors.shape[1:], mark=255)
    return _to_float(image_ops.bitwise(_filled, colors, outside))


def _filled(colors, outside):
    """Keep the bits of `outside`, and set those of 127 in all bytes within."""
    fill = ctaugment_ops.CUTOUT_FILL * (0x01010101 if colors.dtype == tf.int32 else 1)
    inside = tf.bitwise.bitwise_and(tf.bitwise.invert(outside), fill)
    return tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(colors, outside), inside)


def update_rates(
    rates: tf.Tensor, op: tf.Tensor, level: tf.Tensor, proximity: tf.Tensor
) -> tf.Tensor:
    """Move the rates of the bins that probe images used towards how well they were read.

    For every image after the other, every op of its policy and each of the op's levels l, with bin
    i = int(0.999 l bins): rate_i <- rho rate_i + (1 - rho) proximity. Written as one sum: a change
    that is followed by k others of the same bin has shrunk by rho^k.

    Args:
        rates: RATES_SHAPE float32.
        op: [B, DEPTH] int32; level: [B, DEPTH, 2] float32, of the probe policy.
        proximity: [B] float32, see `proximity`.

    Returns:
        RATES_SHAPE float32.
    """
    bins = tf.gather(tf.constant(BINS), op)  # [B, DEPTH, 2]
    number = tf.cast(0.999 * level * tf.cast(bins, tf.float32), tf.int32)
    place = (op[..., tf.newaxis] * RATES_SHAPE[1] + tf.range(RATES_SHAPE[1])) * _MOST_BINS + number
    place = tf.reshape(tf.where(bins > 0, place, -1), [-1])  # -1: no bin, no change
    used = tf.one_hot(place, int(np.prod(RATES_SHAPE)))  # [changes, rates]
    later = tf.cumsum(used, axis=0, exclusive=True, reverse=True)
    repeated = tf.repeat(proximity, level.shape[1] * level.shape[2])[:, tf.newaxis]
    moved = tf.reduce_sum(used * tf.pow(DECAY, later) * repeated, axis=0)
    kept = tf.pow(DECAY, tf.reduce_sum(used, axis=0)) * tf.reshape(rates, [-1])
    return tf.reshape(kept + (1 - DECAY) * moved, rates.shape)


def proximity(probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return 1 - sum_c |p_c - [c = y]| / 2 of each image, [B]: p_y where p sums to 1.

    Args:
        probabilities: [B, C] float32.
        labels: [B] int32.
    """
    target = tf.one_hot(labels, probabilities.shape[-1], dtype=probabilities.dtype)
    return 1 - 0.5 * tf.reduce_sum(tf.abs(probabilities - target), axis=-1)


def _slots(uniforms):
    """Return op [N, DEPTH] int32 and the draws [N, DEPTH, _SLOT_DRAWS]."""
    draws = tf.reshape(uniforms, [-1, DEPTH, _SLOT_DRAWS])
    # k u stays below k in float32 for the largest u = 1 - 2**-24.
    return tf.cast(draws[..., 0] * len(OPS), tf.int32), draws


def _count(where):
    return tf.reduce_sum(tf.cast(where, tf.int32), axis=-1)


def _apply(colors, policy):
    height, width = colors.shape[1:3]
    for slot in range(DEPTH):
        op, level, center = (field[:, slot] for field in policy)
        # Upstream's first coordinate is Pillow's x.
        center = squares.scaled_draws(center[:, ::-1], height, width)
        colors = ctaugment_ops.apply_op(colors, op, level, center)
    return colors


def _to_bytes(images):
    """round(127.5 (1 + x)), half to even, clipped; bytes are that already."""
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.uint8:
        return checked_images(images, tf.uint8)
    levels = tf.round((checked_images(images) + 1.0) * 127.5)
    clipped = tf.raw_ops.ClipByValue(t=levels, clip_value_min=0.0, clip_value_max=255.0)
    return tf.cast(clipped, tf.uint8)


def _to_float(colors):
    """v / 127.5 - 1 in float32."""
    return tf.math.divide_no_nan(tf.cast(colors, tf.float32), 127.5) - 1.0
