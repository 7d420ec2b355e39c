"""New texts as the model of a finished run sees them, and what it says of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import keras
import numpy as np

from experiments.assemble.text_model import LowerLayers, frozen_layers
from experiments.options.config import recorded_option
from ssl_weighting.data.texts.csv_rows import STOP, USUAL, Layout
from ssl_weighting.data.texts.csv_text import NewTexts, read_texts
from ssl_weighting.data.texts.hidden_states import HiddenStates
from ssl_weighting.data.texts.tokens import load_encoder
from ssl_weighting.models.bert_weights import bert_folder, read_shape, weights_digest

_CHUNK = 1024  # texts whose hidden states are in memory at once
_BATCH = 64  # texts in the model at once
_LAYER = re.compile(r"layer_([0-9]+)_")  # what the names of a layer's parts begin with


def load_texts(spec: str, layout: Layout = USUAL, on_error: str = STOP) -> NewTexts:
    """Return the texts of csv:PATH.

    Args:
        spec: csv:PATH.
        layout, on_error: as of `read_texts`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of input; no such column, or nothing in it.
    """
    kind, _, path = spec.partition(":")
    if kind != "csv" or not path:
        raise ValueError(
            "--input must be csv:PATH, a file with a column `text`: this run was trained on texts. "
            f"Received: --input={spec}"
        )
    return read_texts(path, layout, on_error)


def encoder_of(model: keras.Model, config: dict) -> Callable[[Sequence[str]], np.ndarray]:
    """Return n texts -> the model's inputs, made as in training.

    Tokenizer, truncation and frozen layers are the run's. Its length too: `max_len`, or that of
    its longest text where all are shorter.

    Args:
        model: of the run; takes tokens [n, L] int32, or hidden states [n, L, d] float32.
        config: the run's config.json.

    Raises:
        OSError: the run's BERT, whose tokenizer and frozen layers are needed, is not there.
        ValueError: it is another BERT now, or has other layers than the run's model takes.
    """
    options = config["config"]
    bert = recorded_option(options, "bert")
    trainable = recorded_option(options, "bert_trainable_layers")
    truncation = recorded_option(options, "truncation")
    folder = bert_folder(bert)
    encode = load_encoder(str(folder), model.input_shape[1], truncation)
    _check_same(config, "vocabulary", encode.vocabulary)
    shape = read_shape(folder)
    frozen = frozen_layers(bert, trainable, shape)
    _check_lowest(model, trainable, frozen)
    if not frozen:
        return encode
    digest = weights_digest(folder)
    _check_same(config, "weights", digest)
    lower = LowerLayers(folder, shape, frozen, digest)

    def states(texts):
        tokens = encode(texts)
        # By the table that training reads, in its number format.
        table = HiddenStates([tokens], lower, shape.width, lower.recipe, None, lambda line: None)
        return table(tokens).numpy()

    return states


def _check_lowest(model, trainable, frozen):
    """Make sure that the model begins where the frozen layers end; somebody may say otherwise.

    Raises:
        ValueError: it does not.
    """
    found = (_LAYER.match(layer.name) for layer in model.layers)
    lowest = min((int(match[1]) for match in found if match), default=frozen)
    if lowest != frozen:
        raise ValueError(
            f"config.json must have the option `bert_trainable_layers` of the model, whose lowest "
            f"layer is number {lowest} from 0. Received: {trainable}, by which it is {frozen}"
        )


def _check_same(config, part, digest):
    """Make sure that a part of the run's BERT is what it was in training.

    Raises:
        ValueError: it is not.
    """
    expected = (config.get("inputs") or {}).get(part, digest)  # runs of before have none
    if digest != expected:
        raise ValueError(
            f"--run must find the BERT that it was trained with, whose {part} have the digest "
            f"{str(expected)[:12]}. Received: --bert={config['config']['bert']} of the run, where "
            f"it is {digest[:12]}. Put that BERT back there"
        )


def predict(model: keras.Model, config: dict, texts: Sequence[str]) -> np.ndarray:
    """Return class probabilities [n, C] float32 of n texts.

    Args:
        model, config: as in `encoder_of`.
        texts: n strings.

    Raises:
        OSError, ValueError: as `encoder_of`.
    """
    encode, parts = encoder_of(model, config), []
    # Each length of the frozen layers is compiled once if like lengths stand together.
    order = np.argsort([len(text) for text in texts], kind="stable")
    for first in range(0, len(texts), _CHUNK):
        inputs = encode([texts[k] for k in order[first : first + _CHUNK]])
        for k in range(0, len(inputs), _BATCH):
            logits = model(inputs[k : k + _BATCH], training=False)["logits"]
            parts.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
    return np.concatenate(parts)[np.argsort(order)]
