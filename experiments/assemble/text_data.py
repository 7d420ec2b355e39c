"""From a configuration to the texts of a run: tokens, splits, augmented copies."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from experiments.assemble.excluded import without_excluded
from experiments.options.config import Config
from experiments.options.text import STRONG
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.texts.augmentation import WordReplacement, augmented_tokens
from ssl_weighting.data.texts.back_translation import Paraphrases
from ssl_weighting.data.texts.by_name import load_texts, make_text_splits
from ssl_weighting.data.texts.csv_rows import Layout
from ssl_weighting.data.texts.pipeline import without_padding
from ssl_weighting.data.texts.tokens import TextEncoder, TokenCache, load_encoder
from ssl_weighting.models.bert_weights import bert_folder, read_shape


@dataclasses.dataclass(frozen=True, eq=False)
class TextSplits(DataSplits):
    """`DataSplits` of tokens with what a text run needs beside them.

    Args:
        augmented: [|U|, K, L] int32, K copies of each text; None: the algorithm has no strong view.
        cache_dir: where prepared data lies; None: nothing is kept.
        strong_views: all that `augmented` depends on beside U.
        vocabulary: digest of the tokenizer's words.
    """

    augmented: np.ndarray | None = None
    cache_dir: str | None = None
    strong_views: str = ""
    vocabulary: str = ""


def load_text_splits(config: Config, cache_dir: str | None = None) -> TextSplits:
    """Return the four sets that `config` names, tokenised, with the copies of U.

    Raises:
        OSError: the data, the model's folder or its tokenizer is not there.
        ValueError: an option does not fit the data.
    """
    encoder = encoder_for(config)
    cache = TokenCache(Path(cache_dir) / "tokens" if cache_dir else None)
    texts = _load_texts(
        config.dataset,
        config.data_dir or None,
        cache_dir,
        layout_of(config),
        config.on_error,
    )
    tokens = texts.tokenised(functools.partial(cache.encode, encoder))
    splits = make_text_splits(
        texts,
        tokens,
        config.num_labeled or None,
        config.size_of_v(texts),
        seed=config.seed,
        val_seed=config.val_seed,
        num_unlabeled=config.num_unlabeled or None,
        validation_as_labels=config.validation_as_labels,
    )
    splits = without_excluded(config, splits)
    method = augmentation(config)
    augmented, notes = None, ()
    if method is not None:
        strings = splits.unlabeled.texts
        augmented = augmented_tokens(strings, encoder, cache, method, config.text_copies)
        notes += _said_of_copies(config, splits.unlabeled.inputs, augmented)
        notes += _said_of_case(config, encoder)
    splits, augmented = without_padding(splits, augmented)
    parts = {f.name: getattr(splits, f.name) for f in dataclasses.fields(DataSplits) if f.init}
    return TextSplits(
        **parts | {"notes": parts["notes"] + notes},
        augmented=augmented,
        cache_dir=cache_dir,
        strong_views="" if method is None else method.recipe,
        vocabulary=encoder.vocabulary,
    )


def layout_of(config: Any) -> Layout:
    """Return how csv:PATH is laid out; `config` has the options as attributes."""
    return Layout(config.text_column, config.label_column, config.id_column, config.delimiter)


def _said_of_copies(config, tokens, augmented):
    """Return how much of U has a paraphrase that is used, in words.

    Raises:
        ValueError: nothing has.
    """
    if not config.back_translation_dir:
        return ()
    used = (augmented != tokens[:, np.newaxis]).any(axis=2)
    if not used.any():
        raise ValueError(
            "--back_translation_dir must hold paraphrases of U. Received: none of "
            f"{used.size} that differs from its text and can be used (too short, or of another "
            "length than the text)"
        )
    return (f"strong views: {used.sum()} of {used.size} by back-translation, the others unchanged",)


def _said_of_case(config, encoder):
    """Return a warning where strong views differ from their texts by more than the words."""
    if config.back_translation_dir or (encoder(["Film"]) == encoder(["film"])).all():
        return ()
    # A folder by its last part: results are published, machines not.
    bert = Path(config.bert).name
    return (f"strong views are in lower case, which --bert={bert} distinguishes from upper case",)


def encoder_for(config: Config) -> TextEncoder:
    """Return the encoder of --bert, whose words its net has to know.

    Raises:
        OSError, ValueError: as `bert_folder`, `read_shape` and `load_encoder`; or it does not.
    """
    folder = bert_folder(config.bert)
    known = read_shape(folder)
    encoder = load_encoder(str(folder), config.max_len, config.truncation)
    if encoder.vocabulary_size > known.vocabulary:
        raise ValueError(
            f"The tokenizer of --bert={config.bert} must have no more than {known.vocabulary} "
            f"words, the vocab_size of its config.json. Received: {encoder.vocabulary_size} words. "
            "Put tokenizer, config.json and weights of one model there."
        )
    return encoder


# The runs of a family read their texts once.
_load_texts = functools.lru_cache(maxsize=1)(load_texts)


def augmentation(config: Config):
    """Return how the strong view is made, None where there is none."""
    if config.algorithm not in STRONG:
        return None
    if config.back_translation_dir:
        return Paraphrases(config.back_translation_dir)
    if config.text_augment == "none":
        return None
    return WordReplacement(config.text_augment, config.text_augment_p, config.seed)
