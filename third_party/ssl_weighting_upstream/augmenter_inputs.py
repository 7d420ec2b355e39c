"""What every image augmenter here is given: one check of images and draws, so errors read alike."""

from __future__ import annotations

import tensorflow as tf

MAX_SIDE = 2**14 - 1  # keeps 16.16 fixed-point coordinates within int32


def checked_images(images: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Return `images` as a tensor [N, H, W, C] of `dtype`, C = 1 or 3, static H and W.

    Raises:
        ValueError: if they are anything else.
    """
    images = tf.convert_to_tensor(images)
    shape = images.shape
    if shape.rank != 4 or shape[3] not in (1, 3) or not all(map(_is_side, shape[1:3])):
        raise ValueError(
            "`images` must be a batch [N, H, W, C] with C = 1 or 3 and static H and W from 1 to "
            f"{MAX_SIDE}. Received: images.shape={shape}. "
            "Add the batch or channel dimension, or call `tf.ensure_shape`."
        )
    if images.dtype != dtype:
        if dtype == tf.uint8:
            raise ValueError(
                f"`images` must be uint8. Received: images.dtype={images.dtype.name}. "
                "Pass the bytes as stored."
            )
        raise ValueError(
            f"`images` must be float32 in [-1, 1]. Received: images.dtype={images.dtype.name}. "
            "Map bytes with `tf.cast(v, tf.float32) * (2 / 255) - 1`."
        )
    return images


def checked_draws(
    uniforms: tf.Tensor, num_draws: int, images: tf.Tensor | None = None
) -> tf.Tensor:
    """Return `uniforms` as a tensor [N, num_draws] float32, one row for each of `images`.

    Raises:
        ValueError: if they are anything else.
    """
    uniforms = tf.convert_to_tensor(uniforms)
    shape = uniforms.shape
    if shape.rank != 2 or shape[1] != num_draws or uniforms.dtype != tf.float32:
        raise ValueError(
            f"`uniforms` must be float32 [N, {num_draws}] in [0, 1). Received: "
            f"uniforms.shape={shape}, uniforms.dtype={uniforms.dtype.name}. "
            f"Draw {num_draws} numbers for each image."
        )
    if images is not None and not shape[:1].is_compatible_with(images.shape[:1]):
        raise ValueError(
            "`uniforms` must have one row for each image. Received: "
            f"uniforms.shape={shape}, images.shape={images.shape}. "
            f"Draw [{images.shape[0]}, {num_draws}] numbers."
        )
    return uniforms


def checked_fraction(cutout_fraction: float) -> None:
    """Refuse a side of the cut-out that is no share of the image's.

    Raises:
        ValueError: if it is outside [0, 1].
    """
    if not 0.0 <= cutout_fraction <= 1.0:
        raise ValueError(
            "`cutout_fraction` must be from 0 to 1, a share of the shorter side. "
            f"Received: cutout_fraction={cutout_fraction}. Upstream uses 0.5."
        )


def _is_side(size: int | None) -> bool:
    return size is not None and 0 < size <= MAX_SIDE
