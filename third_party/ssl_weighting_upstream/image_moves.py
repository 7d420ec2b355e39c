"""How Pillow moves pixels, as TF ops on whole batches: affine transforms, mirrors, shifts.

Re-implemented from documented and measured behaviour of Pillow 13, bit for bit (see README.md).
Letters as in `image_ops`. H and W must be static and below 2**14, because affine transforms run in
16.16 fixed point on int32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_FIXED_ONE = 1 << 16


def fixed_point(matrix: Sequence[float]) -> np.ndarray:
    """Turn an affine matrix into the six integers of Pillow's 16.16 arithmetic.

    Args:
        matrix: (a, b, c, d, e, f). Output pixel (x, y) reads the input at (a (x + 1/2) + b (y +
            1/2) + c, d (x + 1/2) + e (y + 1/2) + f).

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
    """Move every image by its own affine matrix, nearest pixel, 0 in all channels outside.

    Args:
        images: [N, H, W, C] uint8.
        matrices: [N, 6] int32 from `fixed_point`.

    Returns:
        [N, H, W, C] uint8.
    """
    return _read(images, affine_places(matrices, *images.shape[1:3]))


def affine_nearest_rgba(
    colors: tf.Tensor, alpha: tf.Tensor | None, matrices: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Move colours and alpha as `affine_nearest` does.

    Args:
        colors: [N, H, W, C] uint8.
        alpha: [N, H, W, C] uint8, or None where all of it is 1.
        matrices: [N, 6] int32 from `fixed_point`.

    Returns:
        (colors, alpha) as they came, [N, H, W, C] both.
    """
    height, width, channels = colors.shape[1:]
    place = affine_places(matrices, height, width)
    moved = [_read(part, place) for part in (colors, alpha) if part is not None]
    if alpha is None:
        # A product with ones copies a pixel's alpha to its channels; broadcasting is slower.
        one = tf.reshape(tf.cast(place > 0, tf.float32), [-1, 1])
        each = tf.cast(tf.matmul(one, tf.ones([1, channels])), tf.uint8)
        moved.append(tf.reshape(each, tf.shape(colors)))
    return tuple(moved)


def _read(images, place):
    """Read pixels [N, H, W, C] at the places of `affine_places`."""
    height, width, channels = images.shape[1:]
    # One zero pixel is put before each image; everything outside reads that one.
    pixels = tf.pad(tf.reshape(images, [-1, height * width, channels]), [[0, 0], [1, 0], [0, 0]])
    return _gather_pixels(pixels, place, images.shape)


def affine_places(matrices: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Find where each output pixel of an affine move comes from.

    Args:
        matrices: [N, 6] int32 from `fixed_point`.
        height: H.
        width: W.

    Returns:
        [N, H, W] int32: 1 + row * W + column of the input pixel, 0 if that is outside the image.
    """
    a, b, c, d, e, f = (m[:, tf.newaxis, tf.newaxis] for m in tf.unstack(matrices, axis=1))
    y, x = tf.range(height)[:, tf.newaxis], tf.range(width)
    column = tf.bitwise.right_shift(a * x + (b * y + c), 16)
    row = tf.bitwise.right_shift(d * x + (e * y + f), 16)
    # As unsigned numbers, negative ones are too large. A product costs a tenth of `tf.where`.
    inside = (tf.cast(column, tf.uint32) < width) & (tf.cast(row, tf.uint32) < height)
    return (row * width + column + 1) * tf.cast(inside, tf.int32)


def flip_and_shift(
    images: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor, padding: tuple[int, int]
) -> tf.Tensor:
    """Mirror left-right where `flip`, then reflect-pad and crop a window of the same size.

    Args:
        images: [N, H, W, C] of any dtype.
        flip: [N] bool.
        shift: [N, 2] int32, corner (row, column) of the window in the padded image, 0..2 * padding;
            `padding` itself leaves the image in place.
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
    """Fold indices of -(size - 1)..2 (size - 1) back into 0..size - 1."""
    return size - 1 - tf.abs(size - 1 - tf.abs(index))


def _gather_pixels(pixels: tf.Tensor, place: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Read pixels [N, P, C] at place [N, H, W]; the result has the static `shape`."""
    place = tf.reshape(place, [-1, shape[1] * shape[2]])
    moved = tf.gather(pixels, place, batch_dims=1)
    return tf.ensure_shape(tf.reshape(moved, [-1, *shape[1:]]), shape)
