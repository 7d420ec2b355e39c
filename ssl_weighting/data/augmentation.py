"""The views of an example that a batch shows: clean, weak and strong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from third_party import fixmatch_randaugment

View = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Augmentation:
    """How the weak and the strong view are made, as pure functions of inputs and uniforms.

    Both take inputs [N, ...] as they are stored (uint8 images or float32 points) and uniforms
    [N, draws] float32 in [0, 1), and return [N, ...] float32 (images in [-1, 1]).

    Args:
      name: for logs.
      weak: makes the weak view.
      weak_draws: uniforms that it takes per example.
      strong: makes the strong view.
      strong_draws: uniforms that it takes per example.
    """

    name: str
    weak: View
    weak_draws: int
    strong: View
    strong_draws: int

    @classmethod
    def none(cls) -> Augmentation:
        """Both views are the clean one: points, and tests."""
        return cls("none", _clean, 0, _clean, 0)

    @classmethod
    def weak_only(cls, flip: bool) -> Augmentation:
        """Both views are weak ones with draws of their own, for algorithms without a strong view.

        Args:
          flip: whether images may be mirrored (photographs yes, digits no).
        """
        weak = _weak(flip)
        draws = fixmatch_randaugment.WEAK_DRAWS
        return cls("weak", weak, draws, weak, draws)

    @classmethod
    def fixmatch(cls, flip: bool) -> Augmentation:
        """FixMatch's: flip-and-shift, and RandAugment with cut-out on another flip-and-shift.

        Args:
          flip: whether images may be mirrored (photographs yes, digits no).
        """
        weak = _weak(flip)
        draws = fixmatch_randaugment.WEAK_DRAWS

        def strong(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
            moved = weak(images, uniforms[:, :draws])
            return fixmatch_randaugment.randaugment(moved, uniforms[:, draws:])

        total = draws + fixmatch_randaugment.STRONG_DRAWS
        return cls("fixmatch", weak, draws, strong, total)


def clean_view(inputs: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Returns what the model sees of unaugmented inputs.

    Args:
      inputs: [N, H, W, C] uint8 images, [N, ...] float32 points, or [N, L] int32 tokens.

    Returns:
      [N, ...] float32: x (2/255) - 1, in [-1, 1], for images (FixMatch's scaling); points and
      tokens as they are.

    Raises:
      ValueError: if the dtype is another one.
    """
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype == tf.uint8:
        return tf.cast(inputs, tf.float32) * (2 / 255) - 1
    if inputs.dtype not in (tf.float32, tf.int32):
        raise ValueError(
            "`inputs` must be uint8 images, float32 points or int32 tokens. "
            f"Received: inputs.dtype={inputs.dtype.name}. Convert with `astype`."
        )
    return inputs


def _clean(inputs: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    del uniforms  # there are none
    return clean_view(inputs)


def _weak(flip: bool) -> View:
    def weak(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        return fixmatch_randaugment.weak_augment(clean_view(images), uniforms, flip)

    return weak
