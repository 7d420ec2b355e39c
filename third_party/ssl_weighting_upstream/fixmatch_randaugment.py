"""FixMatch's two views of an image: flip-and-shift (weak) and its RandAugment variant (strong).

Upstream: google-research/fixmatch at d4985a1, augmentation string `d.d.rac`; the behaviour matched
and the differences are listed in README.md. An augmenter is a pure function of images and of
uniforms in [0, 1), one row per image, so that it can be replayed elsewhere with the same draws.
Everything runs on whole batches, in tf.data and in tf.function (but not with jit_compile: the
sizes of the sub-batches below depend on the draws). No tensor decides a Python branch, so AutoGraph
is left out of the public augmenters, which makes tracing them several times faster.
"""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting_upstream import image_moves, image_ops, randaugment_ops, squares
from ssl_weighting_upstream.augmenter_inputs import checked_draws, checked_fraction, checked_images
from ssl_weighting_upstream.randaugment_ops import NUM_LEVELS, NUM_SLOTS, Policy

OPS = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "contrast", "brightness",
    "sharpness", "shear_x", "translate_x", "translate_y", "posterize", "shear_y",
)  # fmt: skip
WEAK_DRAWS = 3  # flip, row shift, column shift
STRONG_DRAWS = 4 * NUM_SLOTS + 2  # per slot (op, level, sign, apply), then cutout (row, column)


@tf.autograph.experimental.do_not_convert
def weak_augment(
    images: tf.Tensor, uniforms: tf.Tensor, flip: bool, pad: int | None = None
) -> tf.Tensor:
    """Mirror an image with probability 1/2, then reflect-pad it and crop a random window.

    Args:
        images: [N, H, W, C] float32 with C = 1 or 3; only moved, so any range.
        uniforms: [N, WEAK_DRAWS] float32 in [0, 1): flip, row, column. The flip draw is there, and
            ignored, without `flip`, so that the shifts do not depend on the switch.
        flip: whether mirroring is allowed (upstream: CIFAR yes, SVHN no).
        pad: pixels added on each side; None is an eighth of each side, rounded down (upstream: 4 on
            32 x 32).

    Returns:
        [N, H, W, C] float32.

    Raises:
        ValueError: if a shape, dtype or `pad` does not fit.
    """
    return _weak(checked_images(images), uniforms, flip, pad)


@tf.autograph.experimental.do_not_convert
def weak_augment_bytes(
    images: tf.Tensor, uniforms: tf.Tensor, flip: bool, pad: int | None = None
) -> tf.Tensor:
    """Do the same to [N, H, W, C] uint8, a quarter of the memory to move."""
    return _weak(checked_images(images, tf.uint8), uniforms, flip, pad)


def _weak(images, uniforms, flip, pad):
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
    return image_moves.flip_and_shift(images, mirrored, shift, padding)


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
    colors = image_ops.truncate_to_bytes(checked_images(images))
    return _strong(colors, uniforms, cutout_fraction)


@tf.autograph.experimental.do_not_convert
def randaugment_bytes(
    images: tf.Tensor, uniforms: tf.Tensor, cutout_fraction: float = 0.5
) -> tf.Tensor:
    """Return `randaugment` of v (2 / 255) - 1 for [N, H, W, C] uint8, bit for bit, for less."""
    colors = image_ops.released_bytes(checked_images(images, tf.uint8))
    return _strong(colors, uniforms, cutout_fraction)


def _strong(colors, uniforms, cutout_fraction):
    uniforms = checked_draws(uniforms, STRONG_DRAWS, colors)
    checked_fraction(cutout_fraction)
    colors, alpha = apply_policy(colors, None, sample_policy(uniforms))
    height, width = colors.shape[1:3]
    side = int(cutout_fraction * min(height, width))
    if side > 1:
        center = squares.scaled_draws(uniforms[:, -2:], height, width)
        outside = squares.outside_squares(center, side, colors.shape[1:])
        alpha = image_ops.bitwise(tf.bitwise.bitwise_and, alpha, outside)
    return image_ops.bytes_to_float(colors) * tf.cast(alpha, tf.float32)


def sample_policy(uniforms: tf.Tensor) -> Policy:
    """Turn draws into ops, levels, signs and coins, each uniform and independent.

    Args:
        uniforms: [N, STRONG_DRAWS] float32 in [0, 1). Columns 4 s .. 4 s + 3 are the op, level,
            sign and apply draws of slot s; the last two columns belong to the cut-out.

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
    colors: tf.Tensor, alpha: tf.Tensor | None, policy: Policy
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply the slots of `policy`, ops of `OPS`; see `randaugment_ops.apply_policy`."""
    return randaugment_ops.apply_policy(colors, alpha, policy, OPS)
