"""From a configuration to BERT: the model, its frozen part, the batches that feed it."""

from __future__ import annotations

import functools
import hashlib
import weakref
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.assemble.text_data import TextSplits
from experiments.options.config import Config
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.data.texts.hidden_states import HiddenBatchSource, HiddenStates
from ssl_weighting.data.texts.pipeline import TextBatchSource
from ssl_weighting.models import BertShape, bert, bert_lower
from ssl_weighting.models.bert_weights import bert_folder, load_weights, read_shape, weights_digest
from ssl_weighting.training.trainer import ModelParts

_EVALUATED = 64  # texts of an evaluation step
_BATCH = 32  # texts in the frozen part at once
_MULTIPLE = 16  # its lengths: one compilation each
_TABLES = weakref.WeakValueDictionary()  # recipe and texts -> `HiddenStates` that a model uses


def text_parts(config: Config, splits: TextSplits, seed: int) -> ModelParts:
    """Return the model, whose head `seed` initialises, and the batches of a text run.

    Raises:
        OSError: the checkpoint is not there.
        ValueError: it does not fit its own config.json, or an option does not fit it.
    """
    folder = bert_folder(config.bert)
    shape = read_shape(folder)
    frozen = frozen_layers(config.bert, config.bert_trainable_layers, shape)
    length = splits.labeled.inputs.shape[1]
    model = bert(
        shape,
        length,
        splits.num_classes,
        first_layer=frozen,
        bert_pooling=config.bert_pooling,
        reparam=reparam_of(config, splits.num_classes),
        seed=seed,
    )
    load_weights(model, folder, shape.num_layers)
    options = (config.seed, splits.augmented)
    digests = {
        "strong_views": splits.strong_views,
        "vocabulary": splits.vocabulary,
        "weights": weights_digest(folder),
    }
    if not frozen:

        def source_of(size, stream):
            return TextBatchSource(splits, config.labeled_batch, size, *options, stream)

        parts = (source_of, splits.validation, clean_view, _EVALUATED, digests)
        return ModelParts(model, *parts)
    hidden = _hidden_states(config, splits, LowerLayers(folder, shape, frozen, digests["weights"]))

    def hidden_source_of(size, stream):
        return HiddenBatchSource(splits, config.labeled_batch, size, *options, hidden, stream)

    v = splits.validation
    inputs = hidden(v.inputs).numpy() if len(v) else np.zeros([0, length, shape.width], np.float32)
    examples = Examples(inputs, v.labels)
    return ModelParts(model, hidden_source_of, examples, hidden, _EVALUATED, digests)


def reparam_of(config: Config, num_classes: int) -> str:
    """Return the name of the head's map: "auto" is the exact form where there are two classes."""
    if config.reparam != "auto":
        return config.reparam
    return "half" if num_classes == 2 else "none"


def frozen_layers(bert: str, trainable: int, shape: BertShape) -> int:
    """Return how many lower layers do not learn, embeddings apart; 0: everything learns.

    Args:
        bert, trainable: what --bert and --bert_trainable_layers say.
        shape: of that BERT.

    Raises:
        ValueError: as many layers are to learn as there are, or more.
    """
    if not trainable:
        return 0
    if trainable >= shape.num_layers:
        raise ValueError(
            f"--bert_trainable_layers must be below {shape.num_layers}, the layers of --bert="
            f"{bert}; 0 trains all. Received: {trainable}"
        )
    return shape.num_layers - trainable


class LowerLayers:
    """The frozen part as a function of tokens, which skips padding that a whole batch has.

    Args:
        folder: of the checkpoint.
        shape: its sizes.
        num_layers: how many of its layers, from below.
        digest: of the checkpoint's weights.
    """

    def __init__(self, folder, shape, num_layers, digest):
        self.folder, self.shape, self.num_layers = folder, shape, num_layers
        self.recipe = f"{num_layers} layers of {shape}: {digest}"
        # Texts come sorted by length; each function holds all weights once more.
        self._function = functools.lru_cache(maxsize=1)(self._made)

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Return the states [n, L, d] float32 of tokens [n, L] int32.

        Raises:
            ValueError: they are not finite.
        """
        n, length = tokens.shape
        states = np.zeros([n, length, self.shape.width], np.float32)
        longest = int((tokens != 0).sum(axis=1).max())
        used = min(-(-longest // _MULTIPLE) * _MULTIPLE, length)
        run = self._function(used)
        for start in range(0, n, _BATCH):
            part = tokens[start : start + _BATCH, :used]
            # One shape, one compilation: the last batch is filled up and cut again.
            filled = np.concatenate([part, np.repeat(part[:1], _BATCH - len(part), axis=0)])
            states[start : start + _BATCH, :used] = run(tf.constant(filled)).numpy()[: len(part)]
        if not np.isfinite(states).all():
            raise ValueError(
                f"The BERT in {self.folder} must give finite hidden states. Received: NaN or "
                "infinity. Its weights may be damaged: get them again."
            )
        return states

    def _made(self, length):
        model = bert_lower(self.shape, length, self.num_layers)
        load_weights(model, self.folder, self.shape.num_layers)
        return tf.function(lambda tokens: model(tokens, training=False), autograph=False)


def _hidden_states(config, splits, lower):
    labeled = np.concatenate([splits.labeled.inputs, splits.validation.inputs])
    parts = [labeled, splits.test.inputs]
    if config.uses_unlabeled:
        parts.append(splits.unlabeled.inputs)
        if splits.augmented is not None:
            parts.append(splits.augmented.reshape(-1, splits.augmented.shape[-1]))
    # The models of a cross-fit and its refit divide the same texts otherwise: one table is enough.
    texts = [np.unique(part, axis=0) for part in parts if len(part)]
    key = (lower.recipe, *(hashlib.sha256(part.tobytes()).digest() for part in texts))
    if (found := _TABLES.get(key)) is None:
        folder = Path(splits.cache_dir) / "hidden" if splits.cache_dir else None
        width = lower.shape.width
        found = _TABLES[key] = HiddenStates(
            texts, lower, width, lower.recipe, folder, lambda line: print(line, flush=True)
        )
    return found
