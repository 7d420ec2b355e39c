"""The one problem that this repository and its peers are given: a file of arrays and its answer.

A Wide-ResNet with random values everywhere (a fresh net's zeros and ones would hide a parameter
that went to the wrong place), a batch, a frozen cotangent and a vector. The loss of example p is
cotangent_p . z_p; its dot product is that of its gradient in all parameters with the vector.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.benchmarks.suite import Options
from ssl_weighting.data.files import replacing
from ssl_weighting.models import wide_resnet

SHAPE = ("depth", "width", "image_size", "num_classes")
ORDER = ("norm_1", "shortcut", "conv_1", "norm_2", "conv_2")  # of a block's parts


class Error(NamedTuple):
    """Relative error of the median example and of the worst."""

    typical: float
    worst: float


# Where an activation is 0 up to rounding, its leaky ReLU may take either slope: in float32 a few
# examples differ by more than rounding, even between two orders of the same sums.
TOLERANCE = Error(1e-3, 3e-2)


def net(options: Options) -> keras.Model:
    """Return the Wide-ResNet of these options."""
    return wide_resnet(
        (options.image_size, options.image_size, 3),
        options.num_classes,
        depth=options.depth,
        width=options.width,
    )


def keyed_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return key -> variable, trainable under params/ and BatchNorm's statistics under state/.

    Keys count the layers in the order of construction: conv_000_kernel, bn_000_gamma, head_bias.
    """
    kinds = {keras.layers.Conv2D: "conv", keras.layers.BatchNormalization: "bn"}
    found = {}
    for layer_type, kind in kinds.items():
        layers = [layer for layer in model.layers if type(layer) is layer_type]
        for number, layer in enumerate(sorted(layers, key=_construction)):
            found |= _keyed(f"{kind}_{number:03d}", layer)
    return found | _keyed("head", model.get_layer("head"))


def write(path: Path, options: Options, batch: int) -> dict[str, np.ndarray]:
    """Write the problem with `batch` examples to an .npz file and return its arrays."""
    rng = np.random.default_rng(0)
    variables = keyed_variables(net(options))
    arrays = {key: _random(rng, key, v.numpy()) for key, v in variables.items()}
    arrays |= {
        key.replace("params/", "vector/"): rng.normal(size=value.shape)
        for key, value in arrays.items()
        if key.startswith("params/")
    }
    side = options.image_size
    arrays["images"] = rng.uniform(-1, 1, size=[batch, side, side, 3])
    probabilities = rng.dirichlet(np.ones(options.num_classes), batch)
    arrays["cotangent"] = probabilities - np.eye(options.num_classes)[probabilities.argmax(1)]
    arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
    arrays |= {key: np.int64(getattr(options, key)) for key in SHAPE}
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)
    return arrays


def load(arrays: dict[str, np.ndarray]) -> keras.Model:
    """Return the Keras model with the values of a problem."""
    model = net(Options(**{key: int(arrays[key]) for key in SHAPE}))
    for key, variable in keyed_variables(model).items():
        variable.assign(arrays[key])
    return model


def reference(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the answers by plain TensorFlow, one tape for each example.

    Returns:
        logits [P, C], dot [P] and its sum dot_sum [], norm [P] of the gradients.
    """
    model = load(arrays)
    keyed = [(k, v) for k, v in keyed_variables(model).items() if k.startswith("params/")]
    vector = [tf.constant(arrays[key.replace("params/", "vector/")]) for key, _ in keyed]
    params = [variable.value for _, variable in keyed]

    @tf.function(autograph=False)
    def one(image, cotangent):
        with tf.GradientTape() as tape:
            logits = model(image[None], training=False)["logits"]
            loss = tf.reduce_sum(logits * cotangent)
        gradient = tape.gradient(loss, params)
        dot = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradient, vector, strict=True)])
        return logits[0], dot, tf.linalg.global_norm(gradient)

    with tf.device("CPU"):  # a GPU's convolutions may round to ten bits
        rows = [one(*pair) for pair in zip(*map(tf.constant, _batch(arrays)), strict=True)]
    logits, dot, norm = (np.stack(part) for part in zip(*rows, strict=True))
    return {"logits": logits, "dot": dot, "dot_sum": dot.sum(dtype=np.float64), "norm": norm}


def disagreement(answer: dict[str, list], expected: dict[str, np.ndarray]) -> dict[str, Error]:
    """Return the errors of each answer, relative to max |expected|; inf if not of its shape.

    dot_sum is measured against the sum of |dot|, since its terms cancel.
    """
    found = {}
    for name, values in answer.items():
        values, right = np.asarray(values, np.float64), np.asarray(expected[name], np.float64)
        if values.shape != right.shape or not np.isfinite(values).all():
            found[name] = Error(np.inf, np.inf)
            continue
        scale = np.abs(expected["dot"]).sum() if name == "dot_sum" else np.abs(right).max()
        each = np.abs(values - right).reshape((*values.shape[:1], -1)).max(-1) / scale
        found[name] = Error(float(np.median(each)), float(each.max()))
    return found


def agrees(errors: dict[str, Error]) -> bool:
    """Return whether all errors are within `TOLERANCE`."""
    return all(np.less_equal(error, TOLERANCE).all() for error in errors.values())


def _batch(arrays):
    return arrays["images"], arrays["cotangent"]


def _construction(layer):
    """Sort key: stem, then group, block and part of `wide_resnet`'s names, then last_norm."""
    if found := re.fullmatch(r"group_(\d+)_block_(\d+)_(\w+)", layer.name):
        return (1, int(found[1]), int(found[2]), ORDER.index(found[3]))
    return (0,) if layer.name == "stem" else (2,)


def _keyed(name, layer):
    names = {v.name: v for v in layer.variables}
    trainable = {id(v) for v in layer.trainable_variables}
    return {
        f"{'params' if id(v) in trainable else 'state'}/{name}_{short.removeprefix('moving_')}": v
        for short, v in names.items()
    }


def _random(rng, key, value):
    noise = rng.normal(size=value.shape)
    if key.endswith("kernel"):
        return value
    if key.endswith("variance"):
        return np.exp(0.2 * noise)
    return (1.0 if key.endswith("gamma") else 0.0) + 0.2 * noise
