"""Pillow's pixel arithmetic as TF ops on whole batches: what FixMatch and UDA augment images with.

Re-implemented from documented and measured behaviour of Pillow 13, bit for bit (see README.md).
Letters: N images, H rows, W columns, C channels. "Bytes" are uint8 [N, H, W, C]; an alpha channel,
where there is one, is just one more channel. H and W must be static. Nothing here is random and
nothing loops over images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# ---------------------------------------------------------------- float images <-> bytes


def truncate_to_bytes(images: tf.Tensor) -> tf.Tensor:
    """Map float32 in [-1, 1] to uint8 as FixMatch does: (x / 2 + 1/2) * 255, fraction discarded.

    Bytes 1..47 that went to float32 by v * (2 / 255) - 1 come back one lower. That is the released
    behaviour, and it depends on float32. Values outside [-1, 1] are clipped.
    """
    levels = (images * 0.5 + 0.5) * 255.0
    clipped = tf.raw_ops.ClipByValue(t=levels, clip_value_min=0.0, clip_value_max=255.0)
    return tf.cast(clipped, tf.uint8)


def released_bytes(images: tf.Tensor) -> tf.Tensor:
    """Return truncate_to_bytes(v * (2 / 255) - 1) of bytes v without leaving bytes: 1..47 lose 1.

    A test goes through all 256.
    """
    return images - tf.cast(images - 1 < 47, tf.uint8)


def bytes_to_float(images: tf.Tensor) -> tf.Tensor:
    """Map uint8 to float32 in [-1, 1]: (v / 255 - 1/2) / (1/2), rounded once."""
    # Not `/`: graphs replace a division by a constant with a product, which rounds differently.
    return tf.math.divide_no_nan(tf.cast(images, tf.float32) - 127.5, 127.5)


def bitwise(function: Callable[..., tf.Tensor], *images: tf.Tensor) -> tf.Tensor:
    """Apply a function made of bitwise ops to bytes, four at a time where their number allows.

    Args:
        function: takes and returns integers of any width.
        *images: [N, H, W, C] uint8, all of one shape.

    Returns:
        [N, H, W, C] uint8.
    """
    shape = images[0].shape[1:]
    size = math.prod(shape)
    if size % 4:
        return function(*images)
    words = [tf.bitcast(tf.reshape(part, [-1, size // 4, 4]), tf.int32) for part in images]
    return tf.reshape(tf.bitcast(function(*words), tf.uint8), [-1, *shape])


# ---------------------------------------------------------------- one value at a time


def invert(images: tf.Tensor) -> tf.Tensor:
    """255 - v for [N, H, W, C] uint8."""
    return bitwise(tf.bitwise.invert, images)


def mask_and_flip(
    images: tf.Tensor, mask: tf.Tensor, threshold: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """Posterize, solarize and invert in one: v & mask, XOR `flip` where v >= threshold.

    Args:
        images: [N, H, W, C] uint8.
        mask: [N], bits to keep: 256 - 2^(8 - bits) posterizes; 255 otherwise.
        threshold: [N], 0..255.
        flip: [N], 255 where the values from the threshold on are inverted, 0 where none is.

    Returns:
        [N, H, W, C] uint8.
    """
    mask, threshold, flip = (
        tf.cast(v, tf.uint8)[:, tf.newaxis, tf.newaxis, tf.newaxis] for v in (mask, threshold, flip)
    )
    bright = tf.cast(images >= threshold, tf.uint8) * flip
    return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(images, mask), bright)


def look_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Replace value v of channel c of image n by tables[n, c, v].

    Args:
        images: [N, H, W, C] uint8.
        tables: [N, C, 256] uint8.

    Returns:
        [N, H, W, C] uint8.
    """
    looked_up = tf.gather(tf.reshape(tables, [-1]), _histogram_bin(images))
    return tf.reshape(looked_up, tf.shape(images))


def _histogram_bin(images: tf.Tensor) -> tf.Tensor:
    """(n * C + c) * 256 + v for every value: [N, H * W * C] int32."""
    height, width, channels = images.shape[1:]
    channel = np.tile(np.arange(channels, dtype=np.int32) * 256, height * width)
    values = tf.cast(tf.reshape(images, [-1, height * width * channels]), tf.int32)
    first = tf.range(tf.shape(images)[0])[:, tf.newaxis] * (channels * 256)
    return values + channel + first


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretch each channel of [N, H, W, C] uint8 to 0..255; see `autocontrast_tables`."""
    return look_up(images, autocontrast_tables(images))


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Make the histograms of [N, H, W, C] uint8 flat; see `equalize_tables`."""
    return look_up(images, equalize_tables(images))


def autocontrast_tables(images: tf.Tensor) -> tf.Tensor:
    """Stretch each channel so that its least value becomes 0 and its greatest 255.

    int(v * scale - low * scale) with scale = 255 / (high - low) in float64: Pillow's order of
    operations, in which rounding often leaves the greatest value at 254. Flat channels stay.

    Args:
        images: [N, H, W, C] uint8.

    Returns:
        [N, C, 256] uint8.
    """
    low = tf.cast(tf.reduce_min(images, axis=[1, 2]), tf.float64)[..., tf.newaxis]
    high = tf.cast(tf.reduce_max(images, axis=[1, 2]), tf.float64)[..., tf.newaxis]
    values = tf.range(256, dtype=tf.float64)
    scale = 255.0 / tf.maximum(high - low, 1.0)
    stretched = values * scale + -low * scale
    return tf.saturate_cast(tf.where(high > low, stretched, values), tf.uint8)


def equalize_tables(images: tf.Tensor) -> tf.Tensor:
    """Make the histogram of each channel as flat as a table can.

    With the histogram h, step = (sum h - h[greatest value present]) // 255, value v becomes
    (step // 2 + sum_{j < v} h_j) // step, at most 255. Channels with one value, or with step 0
    (images of fewer than 256 pixels), stay.

    Args:
        images: [N, H, W, C] uint8.

    Returns:
        [N, C, 256] uint8.
    """
    channels = images.shape[-1]
    bins = tf.reshape(_histogram_bin(images), [-1])
    size = tf.shape(images)[0] * channels * 256
    counts = tf.math.bincount(bins, minlength=size)
    counts = tf.reshape(counts, [-1, channels, 256])
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    # The pixels below the greatest value present are sum h - h[greatest]: 0 for a flat channel.
    high = tf.cast(tf.reduce_max(images, axis=[1, 2]), tf.int32)[..., tf.newaxis]
    step = tf.gather(below, high, batch_dims=2) // 255
    equalized = (step // 2 + below) // tf.maximum(step, 1)
    values = tf.range(256)
    return tf.cast(tf.minimum(tf.where(step > 0, equalized, values), 255), tf.uint8)
