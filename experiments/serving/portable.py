"""The model of a run as one that stands alone: raw inputs in, probabilities out, Keras' own layers.

What training does outside the model (scaling of pixels, frozen layers, softmax) is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from experiments.options.kinds import IMAGES, TEXTS, Kind
from experiments.runs.saved_model import kind_of_run
from experiments.serving.text_inputs import TextInputs, text_inputs
from ssl_weighting.models.bert import bert_lower
from ssl_weighting.models.bert_weights import load_weights

PROBABILITIES = "probabilities"


class Portable(NamedTuple):
    """A model for other programs.

    Attributes:
        model: inputs [n, ...] -> probabilities [n, C] float32.
        kind: of its inputs.
        texts: how they are made, where they are tokens.
    """

    model: keras.Model
    kind: Kind
    texts: TextInputs | None = None


def portable(model: keras.Model, config: Mapping[str, Any]) -> Portable:
    """Return a run's model on raw inputs: uint8 images, float32 features or int32 tokens.

    Args:
        model, config: of a run, as of `runs.saved_model`. The variables are shared.

    Raises:
        OSError, ValueError: as `text_inputs`, where the run was trained on texts.
    """
    kind, shape = kind_of_run(config), config["input_shape"]
    if kind is IMAGES:
        inputs = keras.Input(shape, dtype="uint8", name="images")
        return Portable(_answering(inputs, model(_scaled(inputs))), kind)
    if kind is TEXTS:
        texts = text_inputs(model, config)
        inputs = keras.Input([model.input_shape[1]], dtype="int32", name="tokens")
        hidden = inputs if texts.lower is None else _lower(texts, inputs)
        return Portable(_answering(inputs, model(hidden)), kind, texts)
    inputs = keras.Input(shape, name="features")
    return Portable(_answering(inputs, model(inputs)), kind)


def _scaled(images):
    """Return what `clean_view` does."""
    return keras.layers.Rescaling(2 / 255, -1, dtype="float32", name="scale")(images)


def _lower(texts, tokens):
    lower = texts.lower
    net = bert_lower(lower.shape, tokens.shape[1], lower.num_layers)
    load_weights(net, lower.folder, lower.shape.num_layers)
    # As training reads them: from a table of float16, see `HiddenStates`.
    return keras.ops.cast(keras.ops.cast(net(tokens), "float16"), "float32")


def _answering(inputs, outputs):
    p = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(outputs["logits"])
    return keras.Model(inputs, p, name="classifier")
