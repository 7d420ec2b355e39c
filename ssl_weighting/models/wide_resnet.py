"""Wide-ResNet in the three forms that the paper's image rows were trained with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import keras
from keras import layers

from ssl_weighting.checks import check_number
from ssl_weighting.models.split_head import split_head
from ssl_weighting.models.wrn_variants import VARIANTS


def wide_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 28,
    width: int = 2,
    base_filters: int = 16,
    wrn_variant: str = "fixmatch",
    batch_norm_decay: float | None = None,
    standardize: tuple[Sequence[float], Sequence[float]] | None = None,
    num_angles: int = 0,
    precision: str | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build WRN-depth-width: stem, three groups of pre-activation blocks, BN, mean pool, head.

    `wrn_variants.VARIANTS` says in what the forms differ; kernels are Normal(0, 2 / (k^2 C_out)) in
    all. Layers are named stem, group_1_block_1_norm_1, .._conv_1, .._norm_2, .._conv_2,
    .._shortcut, last_norm, head, so that a regular expression can choose among them:
    "group_3|last_norm|head" is the last group with the classifier.

    Args:
        image_shape: (height, width, channels).
        num_classes: C.
        depth: 6 n + 4 with n >= 1 blocks per group.
        width: widening factor.
        base_filters: channels of the stem (16 upstream).
        wrn_variant: "fixmatch", "uda" or "uda_2019".
        batch_norm_decay: decay of the moving statistics; None: the variant's.
        standardize: (mean, std) of x / 255 per channel. Inputs stay in [-1, 1], where all views are
            made; a fixed first layer turns them into (x / 255 - mean) / std, which is the same as
            feeding that. None: the net sees [-1, 1].
        num_angles: see `split_head`.
        precision: one of `PRECISIONS`: what convolutions compute in and activations are kept in.
            Variables, BatchNorm's arithmetic, the mean pool and all after it are float32. None:
            Keras' policy of the moment for every layer.
        seed: int, of the initial values.

    Raises:
        ValueError: a depth that is not 6 n + 4, an unknown variant, statistics that do not fit.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"`depth` must be 6n + 4 with n >= 1 (10, 16, 22, 28). Received: {depth}")
    if wrn_variant not in VARIANTS:
        raise ValueError(
            f"`wrn_variant` must be one of {', '.join(VARIANTS)}. Received: {wrn_variant!r}"
        )
    form = VARIANTS[wrn_variant]
    if batch_norm_decay is not None:
        check_number("batch_norm_decay", batch_norm_decay, below=1)
        form = form._replace(batch_norm_decay=batch_norm_decay)
    parts = _Parts(form, itertools.count(seed * 10_000), precision)
    inputs = x = keras.Input(image_shape)
    if standardize is not None:
        x = _standardized(x, *standardize)
    x = parts.body(x, base_filters, width, blocks)
    pool = layers.GlobalAveragePooling2D(name="features", dtype=precision and "float32")
    x = pool(parts.activate(x, "last_norm"))
    name = f"wide_resnet_{depth}_{width}"
    return split_head(inputs, x, num_classes, parts.head_init(num_classes), name, num_angles)


class _Parts:
    """The layers of one net, of one `Variant`, its stream of initializer seeds and precision."""

    def __init__(self, form, seeds, precision):
        self.form, self.seeds, self.precision = form, seeds, precision

    def body(self, x, base_filters, width, blocks):
        x = stem = before = self.conv(x, base_filters, 3, 1, "stem")
        for group in range(3):
            filters = base_filters * width * 2**group
            for block in range(blocks):
                stride = 2 if group > 0 and block == 0 else 1
                name = f"group_{group + 1}_block_{block + 1}"
                x = self.residual(x, filters, stride, name, is_first=group == block == 0)
            if self.form.long_skips:
                x = before = self.add(x, self.padded(before, filters, 2 if group else 1))
        return self.add(x, self.padded(stem, filters, 4)) if self.form.long_skips else x

    def residual(self, x, filters, stride, name, is_first):
        shortcut = x
        x = self.activate(x, f"{name}_norm_1")
        if is_first and self.form.activate_first_shortcut:
            shortcut = x
        if shortcut.shape[-1] != filters or stride != 1:
            if self.form.shortcut == "convolve":
                shortcut = self.conv(shortcut, filters, 1, stride, f"{name}_shortcut")
            else:
                shortcut = self.padded(shortcut, filters, stride)
        x = self.conv(x, filters, 3, stride, f"{name}_conv_1")
        x = self.activate(x, f"{name}_norm_2")
        x = self.conv(x, filters, 3, 1, f"{name}_conv_2")
        return self.add(shortcut, x)

    def add(self, *parts):
        return layers.Add(dtype=self.precision)(parts)

    def padded(self, x, filters, stride):
        """Return x [N, H, W, c] as [N, H / stride, W / stride, filters], without parameters."""
        if stride > 1:
            # "same" is upstream's "valid" on sides that the stride divides, and fits others too.
            x = layers.AveragePooling2D(stride, stride, padding="same", dtype=self.precision)(x)
        missing = filters - x.shape[-1]
        if not missing:
            return x
        before = missing // 2
        return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, missing - before]])

    def conv(self, x, filters, size, stride, name):
        stddev = math.sqrt(2.0 / (size * size * filters))
        init = keras.initializers.RandomNormal(stddev=stddev, seed=next(self.seeds))
        options = {"padding": "same", "kernel_initializer": init, "use_bias": self.form.conv_bias}
        return layers.Conv2D(filters, size, stride, name=name, dtype=self.precision, **options)(x)

    def activate(self, x, name):
        # Keras moves the variance towards the biased one, `FusedBatchNorm` as TF1 does.
        options = {"epsilon": self.form.batch_norm_epsilon, "name": name, "dtype": self.precision}
        x = layers.BatchNormalization(momentum=self.form.batch_norm_decay, **options)(x)
        slope, dtype = self.form.slope, self.precision
        activation = layers.LeakyReLU(slope, dtype=dtype) if slope else layers.ReLU(dtype=dtype)
        return activation(x)

    def head_init(self, num_classes):
        if not self.form.uniform_head:
            return keras.initializers.GlorotNormal(seed=next(self.seeds))
        bound = 1 / math.sqrt(max(num_classes, 1))
        return keras.initializers.RandomUniform(-bound, bound, seed=next(self.seeds))


def _standardized(x, mean, std):
    channels = x.shape[-1]
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise ValueError(
            f"`standardize` must hold {channels} means and as many positive deviations, one a "
            f"channel. Received: mean={list(mean)}, std={list(std)}"
        )
    # x = 2 p - 1 with p in [0, 1], so (p - mean) / std = x / (2 std) + (1 / 2 - mean) / std.
    scale = [0.5 / s for s in std]
    offset = [(0.5 - m) / s for m, s in zip(mean, std, strict=True)]
    return layers.Rescaling(scale, offset, name="standardize")(x)
