"""Square cut-outs on whole batches, and the draws that place them (letters as in image_ops.py)."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from ssl_weighting_upstream.image_ops import bitwise


def outside_square(center: tf.Tensor, side: int | tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Mark what a square cut-out leaves: False within, True elsewhere.

    Args:
        center: [N, 2] int32, (row, column).
        side: one for all or [N] int32; the square covers center - side // 2 up to, not including,
            center + side // 2 in both directions, so an odd side covers one pixel less; it may
            stick out of the image.
        height: H.
        width: W.

    Returns:
        [N, H, W] bool.
    """
    half = tf.reshape(side, [-1, 1]) // 2
    row = tf.range(height) - center[:, :1]
    column = tf.range(width) - center[:, 1:]
    in_rows = (row >= -half) & (row < half)
    in_columns = (column >= -half) & (column < half)
    return ~(in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :])


def outside_squares(
    center: tf.Tensor, side: int, shape: tuple[int, int, int], mark: int = 1
) -> tf.Tensor:
    """Mark what a square cut-out of one side leaves, for values: 0 within, `mark` elsewhere.

    Args:
        center: [N, 2] int32, (row, column).
        side: as in `outside_square`.
        shape: (H, W, C).
        mark: 1, or 255 for a mask of bits.

    Returns:
        [N, H, W, C] uint8.
    """
    rows, columns = (tf.constant(bands) for bands in _outside_bands(side, tuple(shape), mark))
    bands = tf.gather(rows, center[:, 0]), tf.gather(columns, center[:, 1])
    return bitwise(tf.bitwise.bitwise_or, *(tf.reshape(band, [-1, *shape]) for band in bands))


@functools.cache
def _outside_bands(side, shape, mark):
    """Per centre, [H, H * W * C] and [W, H * W * C] uint8: `mark` outside the rows, columns."""
    half, bands = side // 2, []
    for axis in (0, 1):
        place = np.arange(shape[axis])
        offset = place - place[:, np.newaxis]
        outside = np.where((offset >= -half) & (offset < half), 0, mark).astype(np.uint8)
        outside = np.expand_dims(outside, (2 - axis, 3))
        bands.append(np.broadcast_to(outside, [shape[axis], *shape]).reshape(shape[axis], -1))
    return bands


def scaled_draws(uniforms: tf.Tensor, *sizes: int) -> tf.Tensor:
    """Turn uniforms [N, K] float32 in [0, 1) into integers [N, K] int32, column k below sizes[k].

    In float32 the product with the largest u = 1 - 2**-24 stays below the size.
    """
    return tf.cast(uniforms * tf.constant(sizes, tf.float32), tf.int32)
