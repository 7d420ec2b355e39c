"""Pillow's enhancers and 3 x 3 and 5 x 5 filters as TF ops on whole batches, bit for bit.

Re-implemented from documented and measured behaviour of Pillow 13 (see README.md). Letters as in
image_ops.py. Sums of bytes run in float32, which holds whole numbers below 2**24 exactly, on the
pixels in one row of H * W * C values an image: ops on short last dimensions are slow.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

# 0.299, 0.587, 0.114 in whole units of 2**-16. Products with bytes and their sums stay below 2**24
# units, so that float32 holds them exactly. (On a GPU this needs TensorFloat-32 to be off.)
_GREY_WEIGHTS = np.array([19595, 38470, 7471], np.float32) / 2**16


def blend(base: tf.Tensor, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """base + factor * (images - base) in float32, fraction discarded, clipped to 0..255.

    Args:
        base: bytes of the shape of `images`, or [] or [N, 1, 1, 1]; the result at factor 0.
        images: [N, H, W, C] uint8; the result at factor 1.
        factor: [N] float32, any sign and size.

    Returns:
        [N, H, W, C] uint8.
    """
    flat = _flat(tf.cast(images, tf.float32))
    base = tf.cast(base, tf.float32)
    base = _flat(base) if base.shape.rank == 4 else base
    blended = base + factor[:, tf.newaxis] * (flat - base)
    return tf.reshape(tf.saturate_cast(blended, tf.uint8), tf.shape(images))


def grey(images: tf.Tensor) -> tf.Tensor:
    """Luma of [N, H, W, 3] bytes in each of the three channels: [N, H, W, 3] uint8. One stays one.

    Rounded to whole levels. A grey image is taken as an RGB image of three equal channels, whose
    luma is that channel.
    """
    if images.shape[-1] == 1:
        return images
    return _luma(images, copies=3)


def mean_level(images: tf.Tensor) -> tf.Tensor:
    """Mean luma of each image, rounded half up to a whole level: [N, 1, 1, 1] uint8."""
    pixels = images.shape[1] * images.shape[2]
    luma = _luma(images, copies=1) if images.shape[-1] == 3 else images
    total = tf.reduce_sum(tf.cast(_flat(luma), tf.int64), axis=1)[:, None, None, None]
    return tf.cast((2 * total + pixels) // (2 * pixels), tf.uint8)


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Convolve with [1 1 1; 1 5 1; 1 1 1] / 13, rounded half up; the outermost pixels stay.

    Args:
        images: [N, H, W, C] uint8.

    Returns:
        [N, H, W, C] uint8.
    """
    return _filtered(images, 1, lambda box, center: box[1] + 4.0 * center, 13.0)


def blur(images: tf.Tensor) -> tf.Tensor:
    """Average the 16 outer pixels of each 5 x 5 square, rounded half up; the two outermost stay.

    Args:
        images: [N, H, W, C] uint8.

    Returns:
        [N, H, W, C] uint8.
    """
    return _filtered(images, 2, lambda box, center: box[2] - box[1], 16.0)


def _filtered(images, radius, total, divisor):
    """total({1: 3 x 3 sums, 2: 5 x 5 sums}, centres) / divisor, rounded half up, inside."""
    height, width, channels = images.shape[1:]
    if height <= 2 * radius or width <= 2 * radius:
        return images
    flat = tf.cast(_flat(images), tf.float32)
    margin = radius * (width + 1) * channels
    size = height * width * channels - 2 * margin
    rows = {k: _column_sums(flat, k, width * channels) for k in range(1, radius + 1)}
    box = {r: _row_sums(rows[r], r, margin - r * width * channels, size, channels) for r in rows}
    # Halves cannot be rounded wrongly: sums are whole, 13 is odd and 16 a power of two.
    value = total(box, flat[:, margin : margin + size]) / divisor + 0.5
    inner = tf.pad(tf.cast(value, tf.uint8), [[0, 0], [margin, margin]])
    inside = tf.constant(_inside(height, width, channels, radius))
    kept = tf.bitwise.bitwise_and(_flat(images), tf.bitwise.invert(inside))
    both = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(inner, inside), kept)
    return tf.reshape(both, tf.shape(images))


def _column_sums(flat, radius, row):
    """Return sums of 2 radius + 1 values in a column: entry p is centred at p + radius * row."""
    size = flat.shape[1] - 2 * radius * row
    return tf.add_n([flat[:, k * row : k * row + size] for k in range(2 * radius + 1)])


def _row_sums(values, radius, start, size, channels):
    """Return sums of 2 radius + 1 neighbours in a row, for `size` centres from `start` on."""
    begins = [start + k * channels for k in range(-radius, radius + 1)]
    return tf.add_n([values[:, begin : begin + size] for begin in begins])


@functools.cache
def _inside(height, width, channels, radius):
    """[H * W * C] uint8: 0 for the `radius` outermost pixels, 255 elsewhere."""
    mask = np.zeros([height, width, channels], np.uint8)
    mask[radius:-radius, radius:-radius] = 255
    return mask.reshape(-1)


def _flat(images):
    return tf.reshape(images, [-1, int(np.prod(images.shape[1:]))])


def _luma(images, copies):
    """(19595 R + 38470 G + 7471 B) / 2**16, rounded half up: [N, H, W, copies] uint8."""
    pixels = tf.reshape(tf.cast(images, tf.float32), [-1, 3])
    weights = tf.constant(np.tile(_GREY_WEIGHTS[:, np.newaxis], copies))
    luma = tf.cast(tf.matmul(pixels, weights) + 0.5, tf.uint8)
    return tf.reshape(luma, [-1, *images.shape[1:3], copies])
