"""What the model of a run says of images, texts or features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from experiments.options.kinds import TEXTS, Kind
from experiments.runs.saved_model import kind_of_run
from experiments.serving.text_inputs import TextInputs, text_inputs
from ssl_weighting.data.images.augmentation import clean_view

_BATCH = 500  # images or features in the model at once
_TEXTS = 64

Predict = Callable[[Any], np.ndarray]


def predictors(model: keras.Model, config: Mapping[str, Any]) -> Mapping[Kind, Predict]:
    """Return kind of inputs -> a function of n of them that returns probabilities [n, C] float32.

    Args:
        model, config: of a run, as of `runs.saved_model`.

    Raises:
        OSError, ValueError: as `text_inputs`, where the run was trained on texts.
    """
    kind = kind_of_run(config)
    if kind is not TEXTS:
        return {kind: lambda inputs: predict(model, inputs)}
    inputs = text_inputs(model, config)
    return {TEXTS: lambda texts: predict_texts(model, inputs, texts)}


def predict(model: keras.Model, inputs: np.ndarray, batch_size: int = _BATCH) -> np.ndarray:
    """Return class probabilities [n, C] float32 of images or features."""
    classes = model.output["logits"].shape[-1]
    found = np.zeros([len(inputs), classes], np.float32)
    for k in range(0, len(inputs), batch_size):
        part = slice(k, k + batch_size)
        logits = model(clean_view(inputs[part]), training=False)["logits"]
        found[part] = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    return found


def predict_texts(
    model: keras.Model, inputs: TextInputs, texts: Sequence[str], batch_size: int = _TEXTS
) -> np.ndarray:
    """Return class probabilities [n, C] float32 of n texts."""
    tokens = inputs.encode(texts)
    found = np.zeros([len(tokens), model.output["logits"].shape[-1]], np.float32)
    # Each length of the frozen layers is compiled once if like lengths stand together.
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    for k in range(0, len(order), batch_size):
        part = order[k : k + batch_size]
        found[part] = predict(model, inputs(tokens[part]))
    return found
