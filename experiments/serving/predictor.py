"""What the model of a run says of images, texts or features."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from experiments.assemble.backbone_inputs import TextFeatures, image_features, text_features
from experiments.options.kinds import IMAGES, TEXTS, Kind
from experiments.runs.saved_model import kind_of_run
from experiments.serving.text_inputs import TextInputs, text_inputs
from experiments.serving.wanted import backbone_kind
from ssl_weighting.data.images.augmentation import clean_view

_BATCH = 500  # images or features in the model at once
_TEXTS = 64

Predict = Callable[[Any], np.ndarray]


def predictors(model: keras.Model, config: Mapping[str, Any]) -> Mapping[Kind, Predict]:
    """Return kind of inputs -> a function of n of them that returns probabilities [n, C] float32.

    Args:
        model, config: of a run, as of `runs.saved_model`.

    Raises:
        OSError, ValueError: as `text_inputs`, where the run was trained on texts. So do the
            functions, as `backbone_inputs`, where it has a backbone.
    """
    kind = kind_of_run(config)
    if kind is TEXTS:
        inputs = text_inputs(model, config)
        return {TEXTS: lambda texts: predict_texts(model, inputs, texts)}
    raw = backbone_kind(config)
    found = {kind: lambda inputs: predict(model, inputs)}
    if raw is IMAGES:
        found[IMAGES] = _through(model, lambda: image_features(config).encode)
    elif raw is TEXTS:
        found[TEXTS] = _through(model, lambda: functools.partial(_features, text_features(config)))
    return found


def _through(model, opened):
    """Return a predictor through a backbone, which is opened when it is first needed."""
    opened = functools.cache(opened)
    return lambda inputs: predict(model, opened()(inputs))


def _features(features: TextFeatures, texts):
    tokens = features.encode(texts)
    return _by_length(tokens, features.net)


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
    return _by_length(tokens, lambda part: predict(model, inputs(part)), batch_size)


def _by_length(tokens, act, batch_size=_TEXTS):
    """Return act(tokens [b, L]) of all, texts of like length together.

    So each length of frozen layers is compiled once.
    """
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    parts = [act(tokens[order[k : k + batch_size]]) for k in range(0, len(order), batch_size)]
    return np.concatenate(parts)[np.argsort(order)]
