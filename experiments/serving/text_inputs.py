"""What a text run's model takes: tokens, or what the frozen layers of its BERT make of them."""

from __future__ import annotations

import re
from typing import NamedTuple

import keras
import numpy as np

from experiments.assemble.text_model import LowerLayers, frozen_layers
from experiments.options.config import recorded_option
from ssl_weighting.data.texts.tokens import TextEncoder, load_encoder
from ssl_weighting.models.bert_weights import bert_folder, read_shape, weights_digest

_LAYER = re.compile(r"layer_([0-9]+)_")  # what the names of a layer's parts begin with


class TextInputs(NamedTuple):
    """How texts become the inputs of a model.

    Attributes:
        encode: n texts -> [n, L] int32 tokens.
        lower: the frozen layers, [n, L] -> hidden states [n, L, d]; None: the model takes tokens.
    """

    encode: TextEncoder
    lower: LowerLayers | None

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Return what the model takes of tokens [n, L]."""
        if self.lower is None:
            return tokens
        # As training reads them: from a table of float16, see `HiddenStates`.
        return self.lower(tokens).astype(np.float16).astype(np.float32)


def text_inputs(model: keras.Model, config: dict) -> TextInputs:
    """Return how the inputs of a run's model are made, as in training.

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
        return TextInputs(encode, None)
    digest = weights_digest(folder)
    _check_same(config, "weights", digest)
    return TextInputs(encode, LowerLayers(folder, shape, frozen, digest))


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
