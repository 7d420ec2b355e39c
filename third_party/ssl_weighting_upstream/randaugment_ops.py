"""The ops of the RandAugment family on batches of RGBA images: what FixMatch and UDA draw from.

Upstream: google-research/fixmatch at d4985a1 and google-research/uda, whose lists share these ops
and formulas (see README.md). Images are colours [N, H, W, C] uint8 and alpha of the same shape: 0
where a pixel is nobody's, because a move exposed it or Cutout erased it, 1 elsewhere. Ops that go
through RGB upstream make every pixel opaque; the enhancers keep alpha.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting_upstream import image_filters, image_moves, image_ops, squares
from ssl_weighting_upstream.op_groups import run_in_groups

NUM_LEVELS = 9  # levels are 1..9: upstream's PARAMETER_MAX is 10 and its upper end is excluded
NUM_SLOTS = 2
CUTOUT_FILL = (125, 122, 113)  # hidden under alpha 0, until an op through RGB shows it
CUTOUT_FILL_LUMA = (122,)

_LEVELS = range(1, NUM_LEVELS + 1)
_REFERENCE_SIDE = 32  # the image side that upstream's distances in pixels are meant for


class Policy(NamedTuple):
    """What happens to each image: NUM_SLOTS ops, one after the other."""

    op: tf.Tensor  # [N, NUM_SLOTS] int32, index into a list of names
    level: tf.Tensor  # [N, NUM_SLOTS] int32, 1..9
    negate: tf.Tensor  # [N, NUM_SLOTS] bool, turns the sign of moves
    apply: tf.Tensor  # [N, NUM_SLOTS] bool, False skips the op


def apply_policy(
    colors: tf.Tensor,
    alpha: tf.Tensor | None,
    policy: Policy,
    names: tuple[str, ...],
    centers: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply the slots of `policy` in order.

    Args:
        colors: [N, H, W, C] uint8, C = 1 or 3.
        alpha: [N, H, W, C] uint8, the same in all channels (ops on the last dimension are slow), or
            None: opaque (which saves moving it along).
        policy: a `Policy` for N images.
        names: ops that `policy.op` counts, keys of `KERNELS`.
        centers: [N, NUM_SLOTS, 2] int32, (row, column) of Cutout's square, where `names` has it.

    Returns:
        (colors, alpha) after the last slot, as they came.
    """
    kernels = list(dict.fromkeys([_keep, *(KERNELS[name] for name in names)]))
    number = tf.constant([kernels.index(KERNELS[name]) for name in names])
    clears = tf.constant([KERNELS[name] in _OPAQUE for name in names])
    op = tf.gather(tf.constant([_NAMES.index(name) for name in names]), policy.op)
    holes = _Holes.of(alpha, colors)
    for slot in range(NUM_SLOTS):
        settings = [op[:, slot], policy.level[:, slot], tf.cast(policy.negate[:, slot], tf.int32)]
        if centers is not None:
            settings += tf.unstack(centers[:, slot], axis=1)
        rows = _Rows(colors, holes.place, tf.stack(settings, axis=1))
        apply = policy.apply[:, slot]
        chosen = tf.gather(number, policy.op[:, slot]) * tf.cast(apply, tf.int32)
        bound = [functools.partial(k, known=holes.known) if k in _MOVES else k for k in kernels]
        colors, moved = run_in_groups(bound, chosen, rows)
        clear = tf.gather(clears, policy.op[:, slot]) & apply
        holes = holes.after(clear, moved)
    return colors, tf.ensure_shape(tf.gather(holes.known, holes.place), colors.shape)


class _Holes(NamedTuple):
    """Alpha of a batch in which most images are opaque: image n has known[place[n]]."""

    known: tf.Tensor  # [k, H, W, C] uint8; the first is opaque
    place: tf.Tensor  # [N] int32

    @classmethod
    def of(cls, alpha, colors):
        """Alpha as `apply_policy` receives it."""
        one = tf.fill([1, *colors.shape[1:]], tf.constant(1, tf.uint8))
        number = tf.range(tf.shape(colors)[0])
        if alpha is None:
            return cls(one, tf.zeros_like(number))
        return cls(tf.concat([one, alpha], axis=0), number + 1)

    def after(self, clear, moved):
        """Alpha after a slot: opaque where `clear` [N] bool; what moving kernels say elsewhere."""
        place, known, total = self.place * tf.cast(~clear, tf.int32), [self.known], None
        for group in moved:
            total = tf.shape(self.known)[0] if total is None else total
            number = tf.size(group.places)
            new = total + tf.range(number)
            place = tf.tensor_scatter_nd_update(place, group.places[:, tf.newaxis], new)
            known.append(group.extra)
            total += number
        return _Holes(tf.concat(known, axis=0), place)


class _Rows(NamedTuple):
    """Images with an op each: what a kernel receives."""

    colors: tf.Tensor  # [n, H, W, C] uint8
    hole: tf.Tensor  # [n] int32: place of the image's alpha among those known
    settings: tf.Tensor  # [n, 3 or 5] int32: op, level, negate, row and column of Cutout's square

    @property
    def level(self) -> tf.Tensor:
        return self.settings[:, 1]


def _keep(rows: _Rows) -> tf.Tensor:
    return rows.colors


def _move(rows: _Rows, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate, shear, translate: (colours, alpha), which moves along with them."""
    matrices = tf.constant(_matrices(*rows.colors.shape[1:3]))
    place = tf.stack([rows.settings[:, 0], rows.level - 1, rows.settings[:, 2]], axis=1)
    alpha = _alpha(rows, known)
    return image_moves.affine_nearest_rgba(rows.colors, alpha, tf.gather_nd(matrices, place))


def _alpha(rows: _Rows, known: tf.Tensor) -> tf.Tensor | None:
    """Alpha of the rows; None where none of the batch has holes yet."""
    return None if known.shape[0] == 1 else tf.gather(known, rows.hole)


def _erase(rows: _Rows, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """UDA's Cutout: a square of int(2 L) pixels of one colour, transparent: (colours, alpha)."""
    height, width, channels = rows.colors.shape[1:]
    # DEVIATION: upstream's side is meant for 32 x 32; other sizes take the same share of theirs.
    side = 2 * rows.level * min(height, width) // _REFERENCE_SIDE
    outside = squares.outside_square(rows.settings[:, 3:5], side, height, width)
    keep = tf.cast(outside, tf.uint8)[..., tf.newaxis]
    # DEVIATION: a grey image takes the luma of the fill; upstream's images are all RGB.
    fill = CUTOUT_FILL if channels == 3 else CUTOUT_FILL_LUMA
    colors = rows.colors * keep + tf.constant(fill, tf.uint8) * (1 - keep)
    alpha = _alpha(rows, known)
    return colors, keep * (tf.ones_like(colors) if alpha is None else alpha)


def _bits(rows: _Rows) -> tf.Tensor:
    """Posterize, solarize, invert: one pass for the three.

    Posterize masks bits; the other two flip those of the values from a threshold on.
    """
    index = tf.stack([rows.settings[:, 0], rows.level - 1], axis=1)
    arguments = tf.gather_nd(tf.constant(_bit_arguments()), index)
    return image_ops.mask_and_flip(rows.colors, *tf.unstack(arguments, axis=1))


@functools.cache
def _bit_arguments() -> np.ndarray:
    """[op, level - 1, 3] uint8: mask, threshold, what flips from there on; no-ops elsewhere."""
    arguments = np.tile(np.array([255, 0, 0], np.uint8), [len(_NAMES), NUM_LEVELS, 1])
    for level in _LEVELS:
        bits, threshold = 4 - int(level * 4 / 10), 256 - int(level * 256 / 10)
        for name, values in (
            ("posterize", (256 - 2 ** (8 - bits), 0, 0)),
            ("solarize", (255, threshold, 255)),
            ("invert", (255, 0, 255)),
        ):
            arguments[_NAMES.index(name), level - 1] = values
    return arguments


def _autocontrast(rows: _Rows) -> tf.Tensor:
    return image_ops.autocontrast(rows.colors)


def _equalize(rows: _Rows) -> tf.Tensor:
    return image_ops.equalize(rows.colors)


def _brightness(rows: _Rows) -> tf.Tensor:
    return _enhance(rows, tf.zeros([], tf.uint8))


def _color(rows: _Rows) -> tf.Tensor:
    return _enhance(rows, image_filters.grey(rows.colors))


def _contrast(rows: _Rows) -> tf.Tensor:
    return _enhance(rows, image_filters.mean_level(rows.colors))


def _sharpness(rows: _Rows) -> tf.Tensor:
    return _enhance(rows, image_filters.smooth(rows.colors))


def _enhance(rows: _Rows, dull: tf.Tensor) -> tf.Tensor:
    """Blend the colours with their dull version."""
    # float64 up to the factor and float32 from there on, as a Python caller of Pillow has it.
    factors = tf.constant([0.1 + level * 1.8 / 10 for level in _LEVELS], tf.float32)
    return image_filters.blend(dull, rows.colors, tf.gather(factors, rows.level - 1))


KERNELS = {
    "identity": _keep,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _bits,
    "posterize": _bits,
    "solarize": _bits,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "rotate": _move,
    "shear_x": _move,
    "shear_y": _move,
    "translate_x": _move,
    "translate_y": _move,
    "cutout": _erase,
}
_NAMES = tuple(KERNELS)
_MOVES = (_move, _erase)
_OPAQUE = (_autocontrast, _equalize, _bits)  # through RGB


@functools.cache
def _matrices(height: int, width: int) -> np.ndarray:
    """Fixed-point matrices [op, level - 1, negate, 6] int32; the identity where op is no move."""
    return np.array(
        [
            [[_matrix(op, n, sign, height, width) for sign in (1, -1)] for n in _LEVELS]
            for op in _NAMES
        ],
        np.int32,
    )


def _matrix(op: str, level: int, sign: int, height: int, width: int) -> np.ndarray:
    """Fixed-point matrix [6] of one op at one level and sign."""
    x_shear = y_shear = x_shift = y_shift = 0.0
    if op == "rotate":
        return image_moves.fixed_point(
            image_moves.rotation_matrix(sign * int(level * 30 / 10), height, width)
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
    return image_moves.fixed_point((1.0, x_shear, x_shift, y_shear, 1.0, y_shift))
