"""FixMatch's two views of an image: flip-and-shift (weak) and its RandAugment variant (strong).

Upstream: google-research/fixmatch at d4985a1, augmentation string `d.d.rac`; the behaviour matched
and the differences are listed in README.md. An augmenter is a pure function of images and of
uniforms in [0, 1), one row per image, so that it can be replayed elsewhere with the same draws.
Everything runs on whole batches, in tf.data and in tf.function (but not with jit_compile: the
sizes of the sub-batches below depend on the draws). No tensor decides a Python branch, so AutoGraph
is left out of the public augmenters, which makes tracing them several times faster.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from third_party import image_ops
from third_party.augmenter_inputs import checked_draws, checked_images

NUM_LEVELS = 9  # levels are 1..9: upstream's PARAMETER_MAX is 10 and its upper end is excluded
NUM_SLOTS = 2
WEAK_DRAWS = 3  # flip, row shift, column shift
STRONG_DRAWS = 4 * NUM_SLOTS + 2  # per slot (op, level, sign, apply), then cutout (row, column)

_LEVELS = range(1, NUM_LEVELS + 1)
_REFERENCE_SIDE = 32  # the image side that upstream's distances in pixels are meant for


class Policy(NamedTuple):
    """What happens to each image: NUM_SLOTS ops, one after the other."""

    op: tf.Tensor  # [N, NUM_SLOTS] int32, index into OPS
    level: tf.Tensor  # [N, NUM_SLOTS] int32, 1..9
    negate: tf.Tensor  # [N, NUM_SLOTS] bool, turns the sign of moves
    apply: tf.Tensor  # [N, NUM_SLOTS] bool, False skips the op


@tf.autograph.experimental.do_not_convert
def weak_augment(
    images: tf.Tensor, uniforms: tf.Tensor, flip: bool, pad: int | None = None
) -> tf.Tensor:
    """Mirrors an image with probability 1/2, then reflect-pads it and crops a random window.

    Args:
      images: [N, H, W, C] float32 with C = 1 or 3; only moved, so any range.
      uniforms: [N, WEAK_DRAWS] float32 in [0, 1): flip, row, column. The flip draw is there, and
        ignored, without `flip`, so that the shifts do not depend on the switch.
      flip: whether mirroring is allowed (upstream: CIFAR yes, SVHN no).
      pad: pixels added on each side; None is an eighth of each side, rounded
        down (upstream: 4 on 32 x 32).

    Returns:
      [N, H, W, C] float32.

    Raises:
      ValueError: if a shape, dtype or `pad` does not fit.
    """
    images = checked_images(images)
    uniforms = checked_draws(uniforms, WEAK_DRAWS, images)
    height, width = images.shape[1:3]
    padding = (height // 8, width // 8) if pad is None else (pad, pad)
    if not (0 <= padding[0] < height and 0 <= padding[1] < width):
        raise ValueError(
            f"`pad` must be at least 0 and below both sides of the images, {height} x {width}. "
            f"Received: pad={pad}. Pass a smaller padding; an eighth of the side is usual."
        )
    windows = tf.constant([2 * padding[0] + 1, 2 * padding[1] + 1], tf.float32)
    shift = tf.cast(uniforms[:, 1:] * windows, tf.int32)
    mirrored = (uniforms[:, 0] < 0.5) & flip
    return image_ops.flip_and_shift(images, mirrored, shift, padding)


@tf.autograph.experimental.do_not_convert
def randaugment(images: tf.Tensor, uniforms: tf.Tensor, cutout_fraction: float = 0.5) -> tf.Tensor:
    """Two random ops, each applied with probability 1/2, then a mid-grey square (`d.d.rac`).

    Pixels that a move exposed and no later table op made opaque again become 0, like the square.

    Args:
      images: [N, H, W, C] float32 in [-1, 1] with C = 1 or 3, as `weak_augment` returns them.
      uniforms: [N, STRONG_DRAWS] float32 in [0, 1): see `sample_policy`, then the row and the
        column of the centre of the square.
      cutout_fraction: side of the square over the shorter side of the image, 0 for no square.

    Returns:
      [N, H, W, C] float32 in [-1, 1].

    Raises:
      ValueError: if a shape, a dtype or `cutout_fraction` does not fit.
    """
    images = checked_images(images)
    uniforms = checked_draws(uniforms, STRONG_DRAWS, images)
    if not 0.0 <= cutout_fraction <= 1.0:
        raise ValueError(
            "`cutout_fraction` must be from 0 to 1, a share of the shorter side. "
            f"Received: cutout_fraction={cutout_fraction}. Upstream uses 0.5."
        )
    colors = image_ops.truncate_to_bytes(images)
    colors, alpha = apply_policy(colors, _opaque(colors), sample_policy(uniforms))
    keep = alpha > 0
    height, width = images.shape[1:3]
    side = int(cutout_fraction * min(height, width))
    if side > 0:
        center = tf.cast(uniforms[:, -2:] * tf.constant([height, width], tf.float32), tf.int32)
        keep &= image_ops.outside_square(center, side, height, width)[..., tf.newaxis]
    return image_ops.bytes_to_float(colors) * tf.cast(keep, tf.float32)


def sample_policy(uniforms: tf.Tensor) -> Policy:
    """Turns draws into ops, levels, signs and coins, each uniform and independent.

    Args:
      uniforms: [N, STRONG_DRAWS] float32 in [0, 1). Columns 4 s .. 4 s + 3 are the op, level, sign
        and apply draws of slot s; the last two columns belong to the cut-out.

    Returns:
      A `Policy` of [N, NUM_SLOTS] tensors.

    Raises:
      ValueError: if the shape or dtype does not fit.
    """
    uniforms = checked_draws(uniforms, STRONG_DRAWS)
    draws = tf.reshape(uniforms[:, : 4 * NUM_SLOTS], [-1, NUM_SLOTS, 4])
    op, level, sign, coin = tf.unstack(draws, axis=-1)
    # k * u stays below k in float32 for the largest u = 1 - 2**-24, so no index leaves its range.
    return Policy(
        op=tf.cast(op * len(OPS), tf.int32),
        level=tf.cast(level * NUM_LEVELS, tf.int32) + 1,
        negate=sign > 0.5,
        apply=coin < 0.5,
    )


def apply_policy(
    colors: tf.Tensor, alpha: tf.Tensor, policy: Policy
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies the slots of `policy` in order.

    Args:
      colors: [N, H, W, C] uint8, C = 1 or 3.
      alpha: [N, H, W, 1] uint8, 0 where a pixel is nobody's and 255 elsewhere.
      policy: a `Policy` for N images.

    Returns:
      (colors, alpha) as they came. Alpha is 0 where a move exposed nothing and stays so through
      the enhancers; the table ops, which go through RGB upstream, make every pixel opaque.
    """
    for slot in range(NUM_SLOTS):
        op, level, negate, apply = (field[:, slot] for field in policy)
        colors, alpha = _apply_slot(_Rows(colors, alpha, op, level, negate), apply)
    return colors, alpha


class _Rows(NamedTuple):
    """Images with an op each: what a kernel receives."""

    colors: tf.Tensor  # [n, H, W, C] uint8
    alpha: tf.Tensor  # [n, H, W, 1] uint8
    op: tf.Tensor  # [n] int32
    level: tf.Tensor  # [n] int32
    negate: tf.Tensor  # [n] bool


def _apply_slot(rows: _Rows, apply: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs the op of each image where `apply` [N] bool; returns (colors, alpha).

    The batch is split by kernel and stitched together again, so that each kernel sees only its own
    images and most images none; every kernel on every image costs 5 to 12 times as much CPU.
    """
    kernels = list(dict.fromkeys(_KERNEL_OF_OP.values()))
    number = tf.constant([kernels.index(_KERNEL_OF_OP[name]) for name in OPS])
    chosen = tf.where(apply, tf.gather(number, rows.op), kernels.index(_keep))
    parts = tf.dynamic_partition(tf.range(tf.size(chosen)), chosen, len(kernels))
    done = [
        kernel(_Rows(*(tf.gather(field, part) for field in rows)))
        for kernel, part in zip(kernels, parts, strict=True)
    ]
    colors, alpha = (tf.dynamic_stitch(parts, pieces) for pieces in zip(*done, strict=True))
    return tf.ensure_shape(colors, rows.colors.shape), tf.ensure_shape(alpha, rows.alpha.shape)


def _keep(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return rows.colors, rows.alpha


def _move(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate, shear, translate: alpha moves along with the colours."""
    matrices = tf.constant(_matrices(*rows.colors.shape[1:3]))
    place = tf.stack([rows.op, rows.level - 1, tf.cast(rows.negate, tf.int32)], axis=-1)
    both = tf.concat([rows.colors, rows.alpha], axis=-1)
    moved = image_ops.affine_nearest(both, tf.gather_nd(matrices, place))
    return moved[..., :-1], moved[..., -1:]


def _fixed_table(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    """Posterize, solarize."""
    place = tf.stack([rows.op, rows.level - 1], axis=-1)
    tables = tf.gather_nd(tf.constant(_fixed_tables()), place)[:, tf.newaxis]
    return _opaque_look_up(rows, tf.repeat(tables, rows.colors.shape[-1], axis=1))


def _autocontrast(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _opaque_look_up(rows, image_ops.autocontrast_tables(rows.colors))


def _equalize(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _opaque_look_up(rows, image_ops.equalize_tables(rows.colors))


def _opaque_look_up(rows: _Rows, tables: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks the colours up; every pixel becomes opaque, as these ops go through RGB upstream."""
    return image_ops.look_up(rows.colors, tables), _opaque(rows.colors)


def _opaque(colors: tf.Tensor) -> tf.Tensor:
    """Alpha of 255 for every pixel: [N, H, W, 1] uint8."""
    return tf.fill([tf.shape(colors)[0], *colors.shape[1:3], 1], tf.constant(255, tf.uint8))


def _brightness(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _enhance(rows, tf.zeros([], tf.uint8))


def _color(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _enhance(rows, image_ops.grey(rows.colors))


def _contrast(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _enhance(rows, image_ops.mean_level(rows.colors))


def _sharpness(rows: _Rows) -> tuple[tf.Tensor, tf.Tensor]:
    return _enhance(rows, image_ops.smooth(rows.colors))


def _enhance(rows: _Rows, dull: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends the colours with their dull version; alpha stays."""
    # float64 up to the factor and float32 from there on, as a Python caller of Pillow has it.
    factors = tf.constant([0.1 + level * 1.8 / 10 for level in _LEVELS], tf.float32)
    return image_ops.blend(dull, rows.colors, tf.gather(factors, rows.level - 1)), rows.alpha


_KERNEL_OF_OP = {
    "identity": _keep,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _move,
    "solarize": _fixed_table,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _move,
    "translate_x": _move,
    "translate_y": _move,
    "posterize": _fixed_table,
    "shear_y": _move,
}
OPS = tuple(_KERNEL_OF_OP)  # in upstream's order


@functools.cache
def _matrices(height: int, width: int) -> np.ndarray:
    """Fixed-point matrices [op, level - 1, negate, 6] int32; the identity where op is no move."""
    return np.array(
        [
            [[_matrix(op, n, sign, height, width) for sign in (1, -1)] for n in _LEVELS]
            for op in OPS
        ],
        np.int32,
    )


def _matrix(op: str, level: int, sign: int, height: int, width: int) -> np.ndarray:
    """Fixed-point matrix [6] of one op at one level and sign."""
    x_shear = y_shear = x_shift = y_shift = 0.0
    if op == "rotate":
        return image_ops.fixed_point(
            image_ops.rotation_matrix(sign * int(level * 30 / 10), height, width)
        )
    if op == "shear_x":
        x_shear = sign * level * 0.3 / 10
    elif op == "shear_y":
        y_shear = sign * level * 0.3 / 10
    # DEVIATION: upstream moves int(level) pixels of images that are always 32 pixels wide; other
    # sizes move the same share of their side, rounded down.
    elif op == "translate_x":
        x_shift = sign * int(level * width / _REFERENCE_SIDE)
    elif op == "translate_y":
        y_shift = sign * int(level * height / _REFERENCE_SIDE)
    return image_ops.fixed_point((1.0, x_shear, x_shift, y_shear, 1.0, y_shift))


@functools.cache
def _fixed_tables() -> np.ndarray:
    """Tables [op, level - 1, 256] uint8; the identity where op has no table of its own."""
    tables = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(OPS), NUM_LEVELS, 256)).copy()
    for level in _LEVELS:
        bits, threshold = 4 - int(level * 4 / 10), 256 - int(level * 256 / 10)
        tables[OPS.index("posterize"), level - 1] = image_ops.posterize_table(bits)
        tables[OPS.index("solarize"), level - 1] = image_ops.solarize_table(threshold)
    return tables
