"""CTAugment's 19 ops on batches of RGB images.

Upstream: google-research/fixmatch at d4985a1; formulas and differences in README.md. A level l is
in [0, 1] and means something else for each op; `BINS` says into how many bins its one or two levels
are cut. Exposed pixels are black: there is no alpha here.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting_upstream import image_filters, image_moves, image_ops, pillow_resize, squares
from ssl_weighting_upstream.op_groups import run_in_groups

CUTOUT_FILL = 127
_MOST_DEGREES = 45


class _Rows(NamedTuple):
    """Images with an op each: what a kernel receives."""

    colors: tf.Tensor  # [n, H, W, C] uint8
    level: tf.Tensor  # [n, 2] float64
    settings: tf.Tensor  # [n, 3] int32: op, row and column of Cutout's square


def apply_op(colors: tf.Tensor, op: tf.Tensor, level: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
    """Run an op of its own on each image.

    Args:
        colors: [N, H, W, C] uint8, C = 1 or 3.
        op: [N] int32, index into OPS.
        level: [N, 2] float32 in [0, 1], of which an op reads as many as it has.
        center: [N, 2] int32, (row, column) of Cutout's square.

    Returns:
        [N, H, W, C] uint8.
    """
    kernels = list(dict.fromkeys(_KERNEL_OF_OP.values()))
    number = tf.constant([kernels.index(_KERNEL_OF_OP[name]) for name in OPS])
    # Formulas of levels run in float64, as a Python caller of Pillow has them.
    settings = tf.concat([op[:, tf.newaxis], center], axis=1)
    rows = _Rows(colors, tf.cast(level, tf.float64), settings)
    return run_in_groups(kernels, tf.gather(number, op), rows)[0]


def cutout_side(level: float | tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Side of the square at level l: 1 + int(0.499 l S), S the shorter side; 16 of 32 for l = 1."""
    return 1 + tf.cast(tf.cast(level, tf.float64) * min(height, width) * 0.499, tf.int32)


def _keep(rows: _Rows) -> tf.Tensor:
    """Identity; and translate, whose at most 0.3 pixels never reach another pixel."""
    return rows.colors


def _cutout(rows: _Rows) -> tf.Tensor:
    height, width = rows.colors.shape[1:3]
    side = cutout_side(rows.level[:, 0], height, width)
    outside = squares.outside_square(rows.settings[:, 1:], side, height, width)
    keep = tf.cast(outside, tf.uint8)[..., tf.newaxis]
    return rows.colors * keep + CUTOUT_FILL * (1 - keep)


def _move(rows: _Rows) -> tf.Tensor:
    """Rotate by a whole number of degrees, shear."""
    signed = 2 * rows.level[:, 0] - 1
    degrees = tf.cast(tf.round(signed * _MOST_DEGREES), tf.int32)
    turns = tf.gather(tf.constant(_turns(*rows.colors.shape[1:3])), degrees + _MOST_DEGREES)
    op = rows.settings[:, :1]
    shear = (signed * 0.3)[:, tf.newaxis]
    none, one = tf.zeros_like(shear), tf.ones_like(shear)
    across = tf.where(tf.equal(op, OPS.index("shear_x")), shear, none)
    down = tf.where(tf.equal(op, OPS.index("shear_y")), shear, none)
    half = [0.5 + 0.5 * across, 0.5 * down + 0.5]
    exact = tf.concat([one, across, half[0], down, one, half[1]], axis=1)
    shears = tf.cast(tf.floor(exact * 65536 + 0.5), tf.int32)
    matrices = tf.where(tf.equal(op, OPS.index("rotate")), turns, shears)
    return image_moves.affine_nearest(rows.colors, matrices)


@functools.cache
def _turns(height: int, width: int) -> np.ndarray:
    """Fixed-point matrices [91, 6] of -45..45 degrees."""
    degrees = range(-_MOST_DEGREES, _MOST_DEGREES + 1)
    matrices = [image_moves.rotation_matrix(d, height, width) for d in degrees]
    return np.array([image_moves.fixed_point(matrix) for matrix in matrices])


def _rescale(rows: _Rows) -> tf.Tensor:
    share, number = 0.25 * rows.level[:, 0], tf.cast(5.99 * rows.level[:, 1], tf.int32)
    return pillow_resize.zoom(rows.colors, share, number)


def _bits(rows: _Rows) -> tf.Tensor:
    """Posterize to 1..8 bits, solarize from a threshold on."""
    level = rows.level[:, 0]
    bits = 1 + tf.cast(7.999 * level, tf.int32)
    posterizes = tf.equal(rows.settings[:, 0], OPS.index("posterize"))
    mask = tf.where(posterizes, 256 - tf.bitwise.left_shift(1, 8 - bits), 255)
    flip = tf.where(posterizes, 0, 255)
    return image_ops.mask_and_flip(rows.colors, mask, tf.cast(255.999 * level, tf.int32), flip)


def _towards(change):
    """The kernel blend(image, change(image), l)."""

    def kernel(rows: _Rows) -> tf.Tensor:
        factor = tf.cast(rows.level[:, 0], tf.float32)
        return image_filters.blend(rows.colors, change(rows.colors), factor)

    return kernel


def _enhance(dull):
    """The kernel that blends dull(image) at 0.1 with the image at 1 and beyond, up to 2."""

    def kernel(rows: _Rows) -> tf.Tensor:
        factor = tf.cast(0.1 + 1.9 * rows.level[:, 0], tf.float32)
        return image_filters.blend(dull(rows.colors), rows.colors, factor)

    return kernel


def _black(colors: tf.Tensor) -> tf.Tensor:
    del colors
    return tf.zeros([], tf.uint8)


_KERNEL_OF_OP = {
    "autocontrast": _towards(image_ops.autocontrast),
    "blur": _towards(image_filters.blur),
    "brightness": _enhance(_black),
    "color": _enhance(image_filters.grey),
    "contrast": _enhance(image_filters.mean_level),
    "cutout": _cutout,
    "equalize": _towards(image_ops.equalize),
    "identity": _keep,
    "invert": _towards(image_ops.invert),
    "posterize": _bits,
    "rescale": _rescale,
    "rotate": _move,
    "sharpness": _enhance(image_filters.smooth),
    "shear_x": _move,
    "shear_y": _move,
    "smooth": _towards(image_filters.smooth),
    "solarize": _bits,
    "translate_x": _keep,
    "translate_y": _keep,
}
OPS = tuple(_KERNEL_OF_OP)
_UNUSUAL_BINS = {
    "identity": (0, 0),
    "posterize": (8, 0),
    "rescale": (17, len(pillow_resize.FILTERS)),
}
BINS = np.array([_UNUSUAL_BINS.get(name, (17, 0)) for name in OPS], np.int32)  # [op, which level]
