"""Wide-ResNet, the FixMatch variant that the paper's FixMatch rows were trained with."""

from __future__ import annotations

import itertools
import math

import keras
from keras import layers

from ssl_weighting.models.split_head import split_head


def wide_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 28,
    width: int = 2,
    base_filters: int = 16,
    batch_norm_decay: float = 0.999,
    num_angles: int = 0,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build WRN-depth-width: stem, three groups of pre-activation blocks, BN, mean pool, head.

    FixMatch's form: leaky ReLU 0.1, convolutions with bias, Normal(0, 2 / (k^2 C_out)) kernels, BN
    epsilon 1e-3; the net's first block shares its activated input with the shortcut, and 1x1
    shortcuts stand where the channels change. WRN-28-2 on 32x32x3 with 10 classes has 1,469,642
    trainable parameters. Layers are named stem, group_1_block_1_norm_1, .._conv_1, .._norm_2,
    .._conv_2, .._shortcut, last_norm, head, so that a regular expression can choose among them:
    "group_3|last_norm|head" is the last group with the classifier.

    Args:
        image_shape: (height, width, channels).
        num_classes: C.
        depth: 6 n + 4 with n >= 1 blocks per group.
        width: widening factor.
        base_filters: channels of the stem (16 upstream).
        batch_norm_decay: decay of the moving statistics (0.999 upstream).
        num_angles: see `split_head`.
        precision: one of `PRECISIONS`: what convolutions compute in and activations are kept in.
            Variables, BatchNorm's arithmetic, the mean pool and all after it are float32.
        seed: int, of the initial values.

    Raises:
        ValueError: a depth that is not 6 n + 4.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"`depth` must be 6n + 4 with n >= 1 (10, 16, 22, 28). Received: {depth}")
    parts = _Parts(batch_norm_decay, itertools.count(seed * 10_000), precision)
    inputs = keras.Input(image_shape)
    x = parts.conv(inputs, base_filters, 3, 1, "stem")
    for group in range(3):
        filters = base_filters * width * 2**group
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            name = f"group_{group + 1}_block_{block + 1}"
            x = parts.residual(x, filters, stride, name, activate_shortcut=group == block == 0)
    pool = layers.GlobalAveragePooling2D(name="features", dtype="float32")
    x = pool(parts.activate(x, "last_norm"))
    head_init = keras.initializers.GlorotNormal(seed=next(parts.seeds))
    name = f"wide_resnet_{depth}_{width}"
    return split_head(inputs, x, num_classes, head_init, name, num_angles)


class _Parts:
    """The layers of one net: its BatchNorm decay, stream of initializer seeds and precision."""

    def __init__(self, batch_norm_decay, seeds, precision):
        self.decay, self.seeds, self.precision = batch_norm_decay, seeds, precision

    def conv(self, x, filters, size, stride, name):
        stddev = math.sqrt(2.0 / (size * size * filters))
        init = keras.initializers.RandomNormal(stddev=stddev, seed=next(self.seeds))
        options = {"padding": "same", "kernel_initializer": init, "name": name}
        options["dtype"] = self.precision
        return layers.Conv2D(filters, size, stride, **options)(x)

    def activate(self, x, name):
        # Keras moves the variance towards the biased one, `FusedBatchNorm` as TF1 does.
        options = {"epsilon": 1e-3, "name": name, "dtype": self.precision}
        x = layers.BatchNormalization(momentum=self.decay, **options)(x)
        return layers.LeakyReLU(negative_slope=0.1, dtype=self.precision)(x)

    def residual(self, x, filters, stride, name, activate_shortcut):
        shortcut = x
        x = self.activate(x, f"{name}_norm_1")
        if activate_shortcut:
            shortcut = x
        if shortcut.shape[-1] != filters or stride != 1:
            shortcut = self.conv(shortcut, filters, 1, stride, f"{name}_shortcut")
        x = self.conv(x, filters, 3, stride, f"{name}_conv_1")
        x = self.activate(x, f"{name}_norm_2")
        x = self.conv(x, filters, 3, 1, f"{name}_conv_2")
        return layers.Add(dtype=self.precision)([shortcut, x])
