"""Pillow's pixel arithmetic as TF ops on whole batches: what FixMatch and UDA augment images with.

Re-implemented from documented and measured behaviour of Pillow 13, bit for bit (see README.md).
Letters: N images, H rows, W columns, C channels. "Bytes" are uint8 [N, H, W, C]; an alpha channel,
where there is one, is just one more channel. H and W must be static and below 2**14, because affine
transforms run in 16.16 fixed point on int32. Nothing here is random and nothing loops over images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_FIXED_ONE = 1 << 16
_GREY_WEIGHTS = (19595, 38470, 7471)  # 0.299, 0.587, 0.114 in units of 2**-16; they sum to 2**16


# ---------------------------------------------------------------- float images <-> bytes


def truncate_to_bytes(images: tf.Tensor) -> tf.Tensor:
    """Maps float32 in [-1, 1] to uint8 as FixMatch does: (x / 2 + 1/2) * 255, fraction discarded.

    Bytes 1..47 that went to float32 by v * (2 / 255) - 1 come back one lower. That is the released
    behaviour, and it depends on float32. Values outside [-1, 1] are clipped.
    """
    return tf.saturate_cast((images * 0.5 + 0.5) * 255.0, tf.uint8)


def bytes_to_float(images: tf.Tensor) -> tf.Tensor:
    """Maps uint8 to float32 in [-1, 1]: (v / 255 - 1/2) / (1/2), rounded once, from float64."""
    return tf.cast(tf.cast(images, tf.float64) * (2 / 255) - 1.0, tf.float32)


# ---------------------------------------------------------------- moving pixels


def fixed_point(matrix: Sequence[float]) -> np.ndarray:
    """Turns an affine matrix into the six integers of Pillow's 16.16 arithmetic.

    Args:
      matrix: (a, b, c, d, e, f). Output pixel (x, y) reads the input at
        (a (x + 1/2) + b (y + 1/2) + c, d (x + 1/2) + e (y + 1/2) + f).

    Returns:
      [6] int32, the half pixel folded into c and f before rounding (half up), as Pillow does.
    """
    a, b, c, d, e, f = matrix
    exact = np.array([a, b, c + 0.5 * a + 0.5 * b, d, e, f + 0.5 * d + 0.5 * e])
    return np.floor(exact * _FIXED_ONE + 0.5).astype(np.int32)


def rotation_matrix(degrees: float, height: int, width: int) -> tuple[float, ...]:
    """Affine matrix that turns an image counter-clockwise about its centre by `degrees`."""
    angle = math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y


def affine_nearest(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Moves every image by its own affine matrix, nearest pixel, 0 in all channels outside.

    Args:
      images: [N, H, W, C] uint8.
      matrices: [N, 6] int32 from `fixed_point`.

    Returns:
      [N, H, W, C] uint8.
    """
    height, width, channels = images.shape[1:]
    a, b, c, d, e, f = (m[:, tf.newaxis, tf.newaxis] for m in tf.unstack(matrices, axis=1))
    y, x = tf.range(height)[:, tf.newaxis], tf.range(width)
    column = tf.bitwise.right_shift(a * x + b * y + c, 16)
    row = tf.bitwise.right_shift(d * x + e * y + f, 16)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    # One zero pixel is appended to each image; everything outside reads that one.
    place = tf.where(inside, row * width + column, height * width)
    pixels = tf.pad(tf.reshape(images, [-1, height * width, channels]), [[0, 0], [0, 1], [0, 0]])
    return _gather_pixels(pixels, place, images.shape)


def flip_and_shift(
    images: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor, padding: tuple[int, int]
) -> tf.Tensor:
    """Mirrors left-right where `flip`, then reflect-pads and crops a window of the same size.

    Args:
      images: [N, H, W, C] of any dtype.
      flip: [N] bool.
      shift: [N, 2] int32, corner (row, column) of the window in the padded image,
        0..2 * padding; `padding` itself leaves the image in place.
      padding: pixels added on each side of (rows, columns), below (H, W). The edge pixel is not
        repeated.

    Returns:
      [N, H, W, C] of the same dtype.
    """
    height, width, channels = images.shape[1:]
    row = _reflect(tf.range(height) + shift[:, :1] - padding[0], height)
    column = _reflect(tf.range(width) + shift[:, 1:] - padding[1], width)
    column = tf.where(flip[:, tf.newaxis], width - 1 - column, column)
    place = row[:, :, tf.newaxis] * width + column[:, tf.newaxis, :]
    pixels = tf.reshape(images, [-1, height * width, channels])
    return _gather_pixels(pixels, place, images.shape)


def _reflect(index: tf.Tensor, size: int) -> tf.Tensor:
    """Folds indices of -(size - 1)..2 (size - 1) back into 0..size - 1."""
    return size - 1 - tf.abs(size - 1 - tf.abs(index))


def _gather_pixels(pixels: tf.Tensor, place: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Reads pixels [N, P, C] at place [N, H, W]; the result has the static `shape`."""
    place = tf.reshape(place, [-1, shape[1] * shape[2]])
    moved = tf.gather(pixels, place, batch_dims=1)
    return tf.ensure_shape(tf.reshape(moved, [-1, *shape[1:]]), shape)


# ---------------------------------------------------------------- look-up tables


def look_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Replaces value v of channel c of image n by tables[n, c, v].

    Args:
      images: [N, H, W, C] uint8.
      tables: [N, C, 256] uint8.

    Returns:
      [N, H, W, C] uint8.
    """
    return tf.gather(tf.reshape(tables, [-1]), _histogram_bin(images))


def _histogram_bin(images: tf.Tensor) -> tf.Tensor:
    """(n * C + c) * 256 + v for every value: [N, H, W, C] int32."""
    channels = images.shape[-1]
    n = tf.range(tf.shape(images)[0])[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return (n * channels + tf.range(channels)) * 256 + tf.cast(images, tf.int32)


def posterize_table(bits: int) -> np.ndarray:
    """[256] uint8: keeps the `bits` highest bits of each value."""
    return (np.arange(256) & (256 - 2 ** (8 - bits))).astype(np.uint8)


def solarize_table(threshold: int) -> np.ndarray:
    """[256] uint8: inverts the values from `threshold` on."""
    values = np.arange(256)
    return np.where(values < threshold, values, 255 - values).astype(np.uint8)


def autocontrast_tables(images: tf.Tensor) -> tf.Tensor:
    """Stretches each channel so that its least value becomes 0 and its greatest 255.

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
    """Makes the histogram of each channel as flat as a table can.

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


# ---------------------------------------------------------------- enhancers


def blend(base: tf.Tensor, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """base + factor * (images - base) in float32, fraction discarded, clipped to 0..255.

    Args:
      base: bytes, broadcastable to `images`; the result at factor 0.
      images: [N, H, W, C] uint8; the result at factor 1.
      factor: [N] float32, any sign and size.

    Returns:
      [N, H, W, C] uint8.
    """
    base = tf.cast(base, tf.float32)
    factor = factor[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return tf.saturate_cast(base + factor * (tf.cast(images, tf.float32) - base), tf.uint8)


def grey(images: tf.Tensor) -> tf.Tensor:
    """Luma of [N, H, W, 3] bytes, rounded to whole levels: [N, H, W, 1] uint8. One channel stays.

    A grey image is taken as an RGB image of three equal channels, whose luma is that channel.
    """
    if images.shape[-1] == 1:
        return images
    weighted = tf.cast(images, tf.int32) * tf.constant(_GREY_WEIGHTS, tf.int32)
    total = tf.reduce_sum(weighted, axis=-1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(total + _FIXED_ONE // 2, 16), tf.uint8)


def mean_level(images: tf.Tensor) -> tf.Tensor:
    """Mean luma of each image, rounded half up to a whole level: [N, 1, 1, 1] uint8."""
    pixels = images.shape[1] * images.shape[2]
    total = tf.reduce_sum(tf.cast(grey(images), tf.int64), axis=[1, 2, 3], keepdims=True)
    return tf.cast((2 * total + pixels) // (2 * pixels), tf.uint8)


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Convolves with [1 1 1; 1 5 1; 1 1 1] / 13, rounded half up; the outermost pixels stay.

    Args:
      images: [N, H, W, C] uint8.

    Returns:
      [N, H, W, C] uint8.
    """
    height, width = images.shape[1:3]
    values = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * values[:, 1:-1, 1:-1]
    inner = np.zeros([height, width, 1], bool)
    inner[1:-1, 1:-1] = True
    # 13 is odd, so total / 13 + 1/2 is never whole and float32 always falls on the right side.
    return tf.where(inner, tf.cast(total / 13.0 + 0.5, tf.uint8), images)


# ---------------------------------------------------------------- erasing


def outside_square(center: tf.Tensor, side: int, height: int, width: int) -> tf.Tensor:
    """Marks what a square cut-out leaves: False within, True elsewhere.

    Args:
      center: [N, 2] int32, (row, column).
      side: the square covers center - side // 2 up to, not including, center + side // 2 in both
        directions, so an odd side covers one pixel less; it may stick out of the image.
      height: H.
      width: W.

    Returns:
      [N, H, W] bool.
    """
    half = side // 2
    row = tf.range(height) - center[:, :1]
    column = tf.range(width) - center[:, 1:]
    in_rows = (row >= -half) & (row < half)
    in_columns = (column >= -half) & (column < half)
    return ~(in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :])
