"""What the model of a run says of images, texts or features."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.assemble.backbone_inputs import TextFeatures, image_features, text_features
from experiments.options.kinds import IMAGES, TEXTS, Kind
from experiments.runs.saved_model import kind_of_run
from experiments.serving.text_inputs import TextInputs, text_inputs
from experiments.serving.wanted import backbone_kind
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.evaluation import in_batches

_BATCH = 256  # images or features in the model at once
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
        inputs, forward = text_inputs(model, config), Forward(model, _TEXTS)
        return {TEXTS: lambda texts: predict_texts(model, inputs, texts, forward=forward)}
    forward = Forward(model, _BATCH)
    found = {kind: forward}
    found |= {raw: _through(forward, encode) for raw, encode in encoders(config).items()}
    return found


class Forward:
    """A model in inference mode: inputs -> probabilities, compiled once there is a whole batch.

    To compile takes seconds, for which a few inputs do not have to wait; from the first whole batch
    on all go through the compiled function, the last batch filled up.

    Args:
        model: of a run, inputs -> {"logits"}.
        batch: inputs in it at once.
    """

    def __init__(self, model: keras.Model, batch: int):
        self._model, self._batch, self._compiled = model, batch, None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return class probabilities [n, C] float32 of inputs [n, ...], n from 1."""
        if self._compiled is None and len(inputs) < self._batch:
            return self._probabilities(inputs).numpy()
        if self._compiled is None:
            self._compiled = tf.function(self._probabilities, autograph=False)
        return in_batches(self._compiled, self._batch, inputs)

    def _probabilities(self, inputs):
        logits = self._model(clean_view(inputs), training=False)["logits"]
        return tf.cast(tf.nn.softmax(logits), tf.float32)


def encoders(config: Mapping[str, Any]) -> dict[Kind, Predict]:
    """Return kind of raw inputs -> what a run's backbone makes of n of them; {} without one.

    The backbone is opened when it is first needed.

    Args:
        config: of the run.
    """
    raw = backbone_kind(config)
    if raw is None:
        return {}
    opened = functools.cache(functools.partial(_opened, raw, config))
    return {raw: lambda inputs: opened()(inputs)}


def _opened(raw, config):
    if raw is IMAGES:
        return image_features(config).encode
    return functools.partial(_features, text_features(config))


def _through(forward, encode):
    return lambda inputs: forward(encode(inputs))


def _features(features: TextFeatures, texts):
    tokens = features.encode(texts)
    return by_length(tokens, features.net)


def predict(model: keras.Model, inputs: np.ndarray, batch_size: int = _BATCH) -> np.ndarray:
    """Return class probabilities [n, C] float32 of images or features."""
    return Forward(model, batch_size)(inputs)


def predict_texts(
    model: keras.Model,
    inputs: TextInputs,
    texts: Sequence[str],
    batch_size: int = _TEXTS,
    forward: Forward | None = None,
) -> np.ndarray:
    """Return class probabilities [n, C] float32 of n texts.

    Args:
        model, inputs: of a run.
        texts: n.
        batch_size: texts in the model at once.
        forward: of the model, where it is used again.
    """
    tokens, forward = inputs.encode(texts), forward or Forward(model, batch_size)
    return by_length(tokens, lambda part: forward(inputs(part)), batch_size)


def by_length(tokens, act, batch_size=_TEXTS):
    """Return act(tokens [b, L]) of all, texts of like length together.

    So each length of frozen layers is compiled once.
    """
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    parts = [act(tokens[order[k : k + batch_size]]) for k in range(0, len(order), batch_size)]
    return np.concatenate(parts)[np.argsort(order)]
