"""The model of a run as one that stands alone: raw inputs in, probabilities out, Keras' own layers.

What training does outside the model (scaling of pixels, frozen layers, softmax) is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from experiments.assemble.backbone_inputs import image_features, text_features
from experiments.options.kinds import IMAGES, TEXTS
from experiments.runs.saved_model import kind_of_run
from experiments.serving.text_inputs import text_inputs
from experiments.serving.wanted import backbone_kind
from ssl_weighting.data.texts.tokens import TextEncoder
from ssl_weighting.models.bert import bert_lower
from ssl_weighting.models.bert_weights import load_weights

PROBABILITIES = "probabilities"


class Portable(NamedTuple):
    """A model for other programs.

    Attributes:
        model: inputs [n, ...] -> probabilities [n, C] float32.
        encode: texts -> its inputs, where they are tokens.
        picture: (height, width, channels) to which files are decoded, where they are images.
    """

    model: keras.Model
    encode: TextEncoder | None = None
    picture: tuple[int, int, int] | None = None


def portable(model: keras.Model, config: Mapping[str, Any]) -> Portable:
    """Return a run's model on raw inputs: uint8 images, float32 features or int32 tokens.

    Args:
        model, config: of a run, as of `runs.saved_model`. The variables are shared.

    Raises:
        OSError, ValueError: as `text_inputs` and `backbone_inputs`, where those are needed.
    """
    kind, shape, raw = kind_of_run(config), config["input_shape"], backbone_kind(config)
    if raw is IMAGES:
        return _behind_images(model, image_features(config))
    if raw is TEXTS:
        return _behind_texts(model, text_features(config))
    if kind is IMAGES:
        inputs = keras.Input(shape, dtype="uint8", name="images")
        return Portable(_answering(inputs, model(_scaled(inputs))), picture=tuple(shape))
    if kind is TEXTS:
        texts = text_inputs(model, config)
        inputs = keras.Input([model.input_shape[1]], dtype="int32", name="tokens")
        hidden = inputs if texts.lower is None else _lower_as_read(texts.lower, inputs)
        return Portable(_answering(inputs, model(hidden)), texts.encode)
    inputs = keras.Input(shape, name="features")
    return Portable(_answering(inputs, model(inputs)))


def _behind_images(model, features):
    """Return the net of `ImageEncoder` with the head: images of any size."""
    side, channels = features.side, features.channels
    inputs = keras.Input([None, None, channels], dtype="uint8", name="images")
    x = keras.ops.image.resize(_scaled(inputs), (side, side), "bicubic", antialias=True)
    outputs = model(features.net(keras.ops.clip(x, -1.0, 1.0)))
    return Portable(_answering(inputs, outputs), picture=(side, side, channels))


def _behind_texts(model, features):
    """Return the net of `TextBackbone` with the head."""
    inputs = keras.Input([features.encode.max_len], dtype="int32", name="tokens")
    present = keras.ops.cast(keras.ops.not_equal(inputs, 0), "float32")
    counts = keras.ops.maximum(keras.ops.sum(present, axis=1, keepdims=True), 1.0)
    mean = keras.ops.sum(_lower(features.net.lower, inputs), axis=1) / counts
    return Portable(_answering(inputs, model(mean)), features.encode)


def _scaled(images):
    """Return what `clean_view` does."""
    return keras.layers.Rescaling(2 / 255, -1, dtype="float32", name="scale")(images)


def _lower(lower, tokens):
    net = bert_lower(lower.shape, tokens.shape[1], lower.num_layers)
    load_weights(net, lower.folder, lower.shape.num_layers)
    return net(tokens)


def _lower_as_read(lower, tokens):
    # As training reads them: from a table of float16, see `HiddenStates`.
    return keras.ops.cast(keras.ops.cast(_lower(lower, tokens), "float16"), "float32")


def _answering(inputs, outputs):
    p = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(outputs["logits"])
    return keras.Model(inputs, p, name="classifier")
