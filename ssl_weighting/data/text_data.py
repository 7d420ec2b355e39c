"""All that a run on texts reads, in one call: tokenised splits and augmented copies of U."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.back_translation import Paraphrases
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.text_augment import KINDS, WordReplacement, augmented_tokens
from ssl_weighting.data.text_pipeline import without_padding
from ssl_weighting.data.text_sets import load_texts, make_text_splits
from ssl_weighting.data.text_tokens import TokenCache, load_encoder

AUGMENTATIONS = ("none", "back_translation", *KINDS)


@dataclass(frozen=True)
class TextOptions:
    """What a run's texts, tokens and augmented copies depend on.

    Args:
      dataset, data_dir: as in `load_texts`.
      bert, max_len, truncation: as in `load_encoder`.
      num_labeled, val_size, num_unlabeled, seed, val_seed, validation_as_labels: as in
        `make_text_splits`; `seed` also chooses the replaced words.
      augmentation: one of `AUGMENTATIONS`; none for algorithms without a strong view.
      p: share of words that tf_idf and uniform replace.
      copies: augmented copies of each text.
      back_translation_dir, temperature: as in `Paraphrases`.

    Raises:
      ValueError: if `augmentation` is unknown, or it and the folder do not fit.
    """

    dataset: str
    bert: str
    data_dir: str | None = None
    max_len: int = 128
    truncation: str = "tail"
    num_labeled: int = 20
    val_size: int | None = 20
    num_unlabeled: int | None = None
    seed: int = 1
    val_seed: int = 0
    validation_as_labels: bool = False
    augmentation: str = "tf_idf"
    p: float = 0.7
    copies: int = 1
    back_translation_dir: str | None = None
    temperature: float = 0.9

    def __post_init__(self):
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(
                f"`augmentation` must be one of {', '.join(AUGMENTATIONS)}. "
                f"Received: augmentation={self.augmentation!r}."
            )
        if (self.augmentation == "back_translation") != (self.back_translation_dir is not None):
            raise ValueError(
                "`back_translation_dir` must be given for augmentation='back_translation' and no "
                f"other. Received: augmentation={self.augmentation!r}, "
                f"back_translation_dir={self.back_translation_dir!r}."
            )


class TextData(NamedTuple):
    """What `load_text_data` returns."""

    splits: DataSplits  # inputs int32 [n, L]; `unlabeled.texts[id]` is the text of an id
    augmented: np.ndarray | None  # [|U|, copies, L] int32 for `TextBatchSource`
    notes: tuple[str, ...]  # for the log and the results; departures begin with DEVIATION


def load_text_data(
    options: TextOptions,
    cache_dir: str | os.PathLike | None,
    say: Callable[[str], None] = print,
) -> TextData:
    """Returns the data of a run, from the cache what earlier runs left there.

    All parts are cut to the length of the longest text, so L may be below `max_len`.

    Args:
      options: what to load.
      cache_dir: folder for downloads and, below it, tokens; None: TFDS's own, nothing kept.
      say: told what happened to the cache, one line each.

    Raises:
      OSError: if a source, a tokenizer or a paraphrase is missing, or the cache cannot be written.
      ValueError: if an option is out of range or a file is damaged.
    """
    method = _method(options)  # first, as it is checked before anything is read
    encoder = load_encoder(options.bert, options.max_len, options.truncation)
    cache = TokenCache(None if cache_dir is None else os.path.join(cache_dir, "tokens"), say)
    texts = load_texts(options.dataset, options.data_dir, cache_dir)
    splits = make_text_splits(
        texts,
        texts.tokenised(lambda part: cache.encode(encoder, part)),
        options.num_labeled,
        options.val_size,
        seed=options.seed,
        val_seed=options.val_seed,
        num_unlabeled=options.num_unlabeled,
        validation_as_labels=options.validation_as_labels,
    )
    augmented = None
    if method is not None:
        unlabeled = splits.unlabeled.texts.tolist()
        augmented = augmented_tokens(unlabeled, encoder, cache, method, options.copies)
    return TextData(*without_padding(splits, augmented), (*texts.notes, *_deviations(options)))


def _method(options: TextOptions) -> WordReplacement | Paraphrases | None:
    if options.augmentation == "none":
        return None
    if options.augmentation == "back_translation":
        return Paraphrases(options.back_translation_dir, options.temperature)
    return WordReplacement(options.augmentation, options.p, options.seed)


def _deviations(options: TextOptions) -> tuple[str, ...]:
    if options.augmentation not in KINDS:
        return ()
    words = {"tf_idf": "TF-IDF word replacement", "uniform": "uniform word replacement"}
    return (
        f"DEVIATION: {words[options.augmentation]} (p = {options.p:g}) instead of the paper's "
        "back-translation, as no paraphrases were given",
    )
