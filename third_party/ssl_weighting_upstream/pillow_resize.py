"""Pillow's resize of a centred crop back to the image's size, on whole batches, bit for bit.

Re-implemented from documented and measured behaviour of Pillow 13 (see README.md): two passes,
along rows and then along columns, with coefficients in units of 2**-22 and results rounded to bytes
after each; nearest reads one pixel. Both are linear, so that an image is multiplied by one matrix
on each side. The matrices of every filter and margin are made once.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf

FILTERS = ("lanczos", "bicubic", "bilinear", "box", "hamming", "nearest")
_ONE = 1 << 22  # units of a coefficient
_PART = 1 << 11  # coefficients are split into two of so many units, or float32 would round sums


def zoom(images: tf.Tensor, share: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Crop `share` of each side off on every edge and resize the rest to the whole.

    Args:
        images: [N, H, W, C] uint8.
        share: [N] float64 in [0, 1/4]; the crop's edges are rounded to pixels, half to even.
        number: [N] int32, index into FILTERS.

    Returns:
        [N, H, W, C] uint8.
    """
    height, width, channels = images.shape[1:]
    # Along columns each row of the image is one row of W * C values: the matrix acts from the left.
    # Along rows the two axes are exchanged.
    across = tf.reshape(tf.transpose(images, [0, 2, 1, 3]), [-1, width, height * channels])
    across = _multiply(across, share, number)
    across = tf.reshape(across, [-1, width, height, channels])
    down = tf.reshape(tf.transpose(across, [0, 2, 1, 3]), [-1, height, width * channels])
    return tf.reshape(_multiply(down, share, number), [-1, height, width, channels])


def _multiply(values, share, number):
    """Resize the second dimension of values [n, size, K] uint8."""
    size = values.shape[1]
    low = tf.cast(tf.round(size * share), tf.int32)
    high = tf.cast(tf.round(size * (1 - share)), tf.int32)
    crops = _crops(size)
    # Places of the crops in the list: (low, high) -> index, by a small table.
    table = np.zeros([size // 4 + 2, size + 1], np.int32)
    for index, (first, last) in enumerate(crops):
        table[first, last] = index
    crop = tf.gather_nd(tf.constant(table), tf.stack([low, high], axis=1))
    matrices = tf.gather_nd(tf.constant(_matrices(size)), tf.stack([number, crop], axis=1))
    # [n, 2 size, size] x [n, size, K]: coarse parts above fine ones, each exact in float32.
    parts = tf.matmul(tf.cast(matrices, tf.float32), tf.cast(values, tf.float32))
    coarse, fine = (tf.cast(part, tf.int32) for part in tf.split(parts, 2, axis=1))
    total = tf.bitwise.right_shift(coarse * _PART + fine + _ONE // 2, 22)
    return tf.cast(tf.clip_by_value(total, 0, 255), tf.uint8)


@functools.cache
def _crops(size: int) -> list[tuple[int, int]]:
    """All (low, high) that `zoom` can ask for."""
    shares = np.arange(0, size // 2 + 2) / 2 / size  # they change at halves
    edges = {0.0, 0.25, *(s for s in shares if s <= 0.25)}
    near = {min(max(s + d, 0.0), 0.25) for s in edges for d in (-1e-9, 0.0, 1e-9)}
    return sorted({(round(size * s), round(size * (1 - s))) for s in near})


@functools.cache
def _matrices(size: int) -> np.ndarray:
    """[filter, crop, 2 * size, size] int16: coarse and fine parts of the coefficients."""
    found = np.zeros([len(FILTERS), len(_crops(size)), 2 * size, size], np.int16)
    for f, name in enumerate(FILTERS):
        for k, (low, high) in enumerate(_crops(size)):
            matrix = np.zeros([size, size], np.int64)
            matrix[:, low:high] = _coefficients(high - low, size, name)
            found[f, k] = np.concatenate([matrix // _PART, matrix % _PART])
    return found


def _coefficients(old: int, new: int, name: str) -> np.ndarray:
    """[new, old] int64 in units of 2**-22: how Pillow resizes `old` pixels to `new` ones."""
    if old == new:
        return np.eye(new, dtype=np.int64) * _ONE
    if name == "nearest":
        return _nearest(old, new)
    reach, weight = _KERNELS[name]
    scale = old / new
    found = np.zeros([new, old], np.int64)
    for place in range(new):
        center = (place + 0.5) * scale
        first, last = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), old)
        weights = [weight(x - center + 0.5) for x in range(first, last)]
        total = sum(weights)
        exact = [w / total * _ONE if total else w * _ONE for w in weights]
        found[place, first:last] = [int(w + (0.5 if w >= 0 else -0.5)) for w in exact]
    return found


def _nearest(old: int, new: int) -> np.ndarray:
    found, scale = np.zeros([new, old], np.int64), old / new
    position = scale * 0.5
    for place in range(new):
        found[place, int(position)] = _ONE
        position += scale  # added up, as Pillow does, with the rounding of that
    return found


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _bilinear(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _box(x: float) -> float:
    return float(-0.5 < x <= 0.5)


def _hamming(x: float) -> float:
    return _sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if abs(x) < 1 else 0.0


# How far a filter reaches, and its weight at a distance. (Images only grow here.)
_KERNELS = {
    "lanczos": (3.0, _lanczos),
    "bicubic": (2.0, _bicubic),
    "bilinear": (1.0, _bilinear),
    "box": (0.5, _box),
    "hamming": (1.0, _hamming),
}
