"""The augmented texts of U, made before training as upstream does: tokenised copies of each.

A copy is a function of (seed, id, copy) and of the statistics of the whole corpus, so neither the
order in which copies are made nor how many there are changes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream.uda_text_augment import (
    TfIdf,
    WordCorpus,
    tf_idf,
    tf_idf_replace,
    uniform_replace,
    word_corpus,
)

from ssl_weighting.data.keyed_random import example_keys, ragged_uniform, random_bits
from ssl_weighting.data.texts.tokens import TextEncoder, TokenCache

KINDS = ("tf_idf", "uniform")
_STREAM = 2**32  # the batches of a run use the first ones
_RECIPE = 1  # raise it when the same options make other texts


@dataclass(frozen=True)
class WordReplacement:
    """Upstream's `tf_idf-p` or `unif-p`, words of the corpus in place of a share p of the words.

    Args:
        kind: one of `KINDS`.
        p: share of words to replace, above 0 and at most 1.
        seed: of the run, from 0.

    Raises:
        ValueError: if an argument does not fit.
    """

    kind: str = "tf_idf"
    p: float = 0.7
    seed: int = 1

    def __post_init__(self):
        if self.kind not in KINDS or not 0 < self.p <= 1:
            raise ValueError(
                f"`kind` must be one of {', '.join(KINDS)} and `p` above 0 and at most 1. "
                f"Received: kind={self.kind!r}, p={self.p}."
            )

    @property
    def recipe(self) -> str:
        """Names all that a copy depends on but the texts and its number."""
        return f"{_RECIPE} {self.kind} {self.p!r} {self.seed}"

    def copies(self, texts: Sequence[str], numbers: Sequence[int]) -> Iterator[list[str]]:
        """Yield the copies `numbers` of all texts: words in lower case, joined by blanks.

        Args:
            texts: all of U, in the order of its ids: the corpus of the statistics.
            numbers: which copies, from 0.
        """
        corpus = word_corpus(texts)
        stats = tf_idf(corpus) if self.kind == "tf_idf" else None
        for copy in numbers:
            yield self._copy(corpus, stats, copy)

    def _copy(self, corpus: WordCorpus, stats: TfIdf | None, copy: int) -> list[str]:
        texts, first = [], 0
        order = None if stats else _order(self.seed, copy, len(corpus.vocabulary))
        for part in corpus.chunks():
            ids = np.arange(first, first + len(part.lengths))
            first += len(ids)
            chance = self._uniforms(ids, copy, 0, part.lengths)
            if stats:
                draw = self._uniforms(ids, copy, 1, part.lengths)
                words = tf_idf_replace(part, stats, self.p, chance, draw)
            else:
                words = uniform_replace(part, self.p, chance, order, self._starts(ids, copy, order))
            texts += part.texts(words)
        return texts

    def _uniforms(self, ids, copy, view, counts) -> np.ndarray:
        return ragged_uniform(self._keys(ids, copy, view), tf.constant(counts)).numpy()

    def _starts(self, ids, copy, order) -> np.ndarray:
        bits = random_bits(self._keys(ids, copy, 1), 1).numpy()[:, 0]
        return (bits % np.uint64(max(len(order), 1))).astype(np.int64)

    def _keys(self, ids, copy, view) -> tf.Tensor:
        copies = tf.fill([len(ids)], tf.constant(copy, tf.int64))
        return example_keys(self.seed, _STREAM, tf.constant(ids, tf.int64), copies, view)


def _order(seed: int, copy: int, size: int) -> np.ndarray:
    """Return a random order [size] of the vocabulary."""
    copies = tf.fill([size], tf.constant(copy, tf.int64))
    keys = example_keys(seed, _STREAM, tf.range(size, dtype=tf.int64), copies, view=2)
    return np.argsort(random_bits(keys, 1).numpy()[:, 0], kind="stable")


def augmented_tokens(
    texts: Sequence[str], encoder: TextEncoder, cache: TokenCache, method, num_copies: int
) -> np.ndarray:
    """Return the tokens [U, num_copies, L] int32 of the augmented texts.

    Copies that the cache has are not made; one more copy leaves the others as they are.

    Args:
        texts: all of U, in the order of its ids.
        encoder: makes the tokens.
        cache: keeps them.
        method: a `WordReplacement` or `Paraphrases`: anything with `recipe` and `copies`.
        num_copies: copies of each text, at least 1.

    Raises:
        ValueError: if `num_copies` is out of range, or the method's files do not fit.
    """
    if num_copies < 1:
        raise ValueError(f"`num_copies` must be at least 1. Received: num_copies={num_copies}.")
    made = _Lazily(method, texts, num_copies)
    tokens = np.empty([len(texts), num_copies, encoder.max_len], np.int32)
    recipe = method.recipe  # of paraphrases: reads all files
    for copy in range(num_copies):
        tokens[:, copy] = cache.get(
            encoder, texts, f"{recipe} copy {copy}", lambda copy=copy: encoder(made.copy(copy))
        )
    return tokens


class _Lazily:
    """Makes copies on demand, the corpus's statistics only once."""

    def __init__(self, method, texts, num_copies):
        self._method, self._texts, self._num = method, texts, num_copies
        self._next, self._copies = 0, None

    def copy(self, number: int) -> list[str]:
        """Return copy `number`; asked for in rising order, the statistics are made once."""
        if self._copies is None or self._next != number:
            self._copies = self._method.copies(self._texts, range(number, self._num))
        self._next = number + 1
        return next(self._copies)
