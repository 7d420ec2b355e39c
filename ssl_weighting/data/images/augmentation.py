"""The views of an example that a batch shows: clean, weak and strong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream import fixmatch_ctaugment, fixmatch_randaugment, uda_randaugment

from ssl_weighting.structs import Probe

View = Callable[..., tf.Tensor]
_WEAK = fixmatch_randaugment.WEAK_DRAWS


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How views are made, as pure functions of inputs and uniforms.

    All take inputs [N, ...] as they are stored (uint8 images or float32 points) and uniforms
    [N, draws] float32 in [0, 1), then what `state` returns if there is one; and they return
    [N, ...] float32 (images in [-1, 1]).

    Args:
        name: for logs.
        weak: makes the weak view.
        weak_draws: uniforms that it takes per example.
        strong: makes the strong view.
        strong_draws: uniforms that it takes per example.
        labeled: makes the view of labeled examples; None: the weak one.
        labeled_draws: uniforms that it takes per example.
        probe: makes a `Probe` of labeled examples; None: there is none.
        probe_draws: uniforms that it takes per example.
        state: returns a tensor that views depend on. It must not change while an iterator of
            batches, which are made ahead, is in use.
        any_inputs: whether views that draw numbers take other inputs than images too.
    """

    name: str
    weak: View
    weak_draws: int
    strong: View
    strong_draws: int
    labeled: View | None = None
    labeled_draws: int = 0
    probe: Callable[..., Probe] | None = None
    probe_draws: int = 0
    state: Callable[[], tf.Tensor] | None = None
    any_inputs: bool = False

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
        return cls("weak", weak, _WEAK, weak, _WEAK)

    @classmethod
    def fixmatch(cls, flip: bool) -> Augmentation:
        """FixMatch's: flip-and-shift, and RandAugment with cut-out on another flip-and-shift.

        Args:
            flip: whether images may be mirrored (photographs yes, digits no).
        """
        weak = _weak(flip)

        def strong(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
            moved = fixmatch_randaugment.weak_augment_bytes(images, uniforms[:, :_WEAK], flip)
            return fixmatch_randaugment.randaugment_bytes(moved, uniforms[:, _WEAK:])

        total = _WEAK + fixmatch_randaugment.STRONG_DRAWS
        return cls("fixmatch", weak, _WEAK, strong, total)

    @classmethod
    def uda(cls, flip: bool, statistics: uda_randaugment.Statistics) -> Augmentation:
        """UDA's: flip-and-shift; and RandAugment with a square of mean colour before another.

        Args:
            flip: whether images may be mirrored (photographs yes, digits no).
            statistics: mean and standard deviation of the channels.
        """
        weak = _weak(flip)

        def strong(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
            parts = uda_randaugment.augment_bytes(images, uniforms[:, _WEAK:], statistics)
            # The view is in v (2 / 255) - 1; a net with standardized pixels puts it into upstream's
            # (v / 255 - mean) / std. DEVIATION: with symmetric ones its first kernel starts in
            # other units.
            view = uda_randaugment.centred(*parts, statistics)
            return fixmatch_randaugment.weak_augment(view, uniforms[:, :_WEAK], flip)

        total = _WEAK + uda_randaugment.STRONG_DRAWS
        return cls("uda", weak, _WEAK, strong, total)

    @classmethod
    def ctaugment(
        cls, flip: bool, rates: Callable[[], tf.Tensor], probes: bool, labeled: bool = False
    ) -> Augmentation:
        """CTAugment on another flip-and-shift, with levels drawn by rates.

        Args:
            flip: whether images may be mirrored (photographs yes, digits no).
            rates: returns those that policies read.
            probes: whether batches carry probes, from which rates are learned.
            labeled: whether labeled images are changed like the strong views (ReMixMatch).
        """
        weak, last = _weak(flip), _WEAK + fixmatch_ctaugment.PROBE_DRAWS

        def strong(images: tf.Tensor, uniforms: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
            moved = fixmatch_randaugment.weak_augment_bytes(images, uniforms[:, :_WEAK], flip)
            policy = fixmatch_ctaugment.training_policy(uniforms[:, _WEAK:last], rates)
            return fixmatch_ctaugment.ctaugment_with_cutout(moved, policy, uniforms[:, last:])

        def probe(images: tf.Tensor, uniforms: tf.Tensor, rates: tf.Tensor) -> Probe:
            del rates
            policy = fixmatch_ctaugment.probe_policy(uniforms[:, _WEAK:])
            moved = fixmatch_randaugment.weak_augment_bytes(images, uniforms[:, :_WEAK], flip)
            return Probe(fixmatch_ctaugment.ctaugment(moved, policy), policy.op, policy.level)

        total = _WEAK + fixmatch_ctaugment.STRONG_DRAWS
        made = cls("ctaugment", weak, _WEAK, strong, total, state=rates)
        if probes:
            made = dataclasses.replace(made, probe=probe, probe_draws=last)
        if labeled:
            made = dataclasses.replace(made, labeled=strong, labeled_draws=total)
        return made

    def without_probes(self) -> Augmentation:
        """Return the same for batches that teach no rates."""
        return dataclasses.replace(self, probe=None, probe_draws=0)

    def strong_everywhere(self) -> Augmentation:
        """Return the same with strong views in the place of weak ones (MixMatch's CTA variant)."""
        return dataclasses.replace(self, weak=self.strong, weak_draws=self.strong_draws)


def clean_view(inputs: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Return what the model sees of unaugmented inputs.

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


def _clean(inputs: tf.Tensor, uniforms: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
    del uniforms, state  # there are none
    return clean_view(inputs)


def _weak(flip: bool) -> View:
    def weak(images: tf.Tensor, uniforms: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        del state
        # Moved as bytes: the same pixels for a quarter of the memory.
        if images.dtype == tf.uint8:
            moved = fixmatch_randaugment.weak_augment_bytes(images, uniforms, flip)
            return clean_view(moved)
        return fixmatch_randaugment.weak_augment(clean_view(images), uniforms, flip)

    return weak
