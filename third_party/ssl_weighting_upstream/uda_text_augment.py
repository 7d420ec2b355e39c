"""UDA's text side: cleaning of reviews, words, TF-IDF and uniform word replacement, paraphrases.

Upstream: google-research/uda at d4ec238 and 960684e; the behaviour matched and the differences are
listed in README.md. A document d is a list of |d| words w; a corpus has N of them.
"""

from __future__ import annotations

import array
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

_CHUNK = 4096  # documents whose words are sorted at once
_LINK = re.compile("<a href=[^>]*>")
_SHORT, _MOST_CHANGE = 10, 0.5  # characters; share of the original's length


def clean_review(text: str) -> str:
    r"""Return a review without HTML: its length decides whether an unlabeled one is kept.

    `<br />`, `<p>`, a written-out `\n` and backslashes become spaces, `&quot;` a quotation mark;
    links are dropped, `</a>` only where there are links. Blanks at the ends stay.
    """
    text = text.replace("<br />", " ").replace("&quot;", '"').replace("<p>", " ")
    if "<a href=" in text:
        text = _LINK.sub("", text).replace("<a href=", "").replace("</a>", "")
    return text.replace("\\n", " ").replace("\\", " ")


class _Characters(dict):
    """What each character (a code point) becomes before the text is split at blanks."""

    def __missing__(self, code: int) -> str:
        self[code] = new = _rewritten(chr(code))
        return new


def _rewritten(character: str) -> str:
    kind = unicodedata.category(character)
    if character in " \t\n\r" or kind == "Zs":
        return " "
    if kind == "Mn" or kind[0] == "C" or character == "\ufffd":
        return ""
    symbol = character.isascii() and not character.isalnum()  # also $+<=>^`|~, which are no "P"
    return f" {character} " if symbol or kind[0] == "P" else character


_CHARACTERS = _Characters()


def basic_words(text: str) -> list[str]:
    """Return the words of BERT's basic tokenizer: lower case, no accents, punctuation apart."""
    return unicodedata.normalize("NFD", text.lower()).translate(_CHARACTERS).split()


class WordCorpus(NamedTuple):
    """Documents as places in a common vocabulary, one after the other."""

    vocabulary: np.ndarray  # [V] str objects, in the order they first occur
    words: np.ndarray  # [T] int32, places in the vocabulary
    offsets: np.ndarray  # [N + 1] int64: document d is words[offsets[d] : offsets[d + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """|d| [N] int64."""
        return np.diff(self.offsets)

    def documents(self, start: int, end: int) -> WordCorpus:
        """Return the documents `start`, ..., `end` - 1 with the vocabulary of all."""
        offsets = self.offsets[start : end + 1]
        return WordCorpus(
            self.vocabulary, self.words[offsets[0] : offsets[-1]], offsets - offsets[0]
        )

    def chunks(self) -> Iterator[WordCorpus]:
        """Yield all documents in order, some thousands at a time."""
        for start in range(0, len(self.lengths), _CHUNK):
            yield self.documents(start, min(start + _CHUNK, len(self.lengths)))

    def texts(self, words: np.ndarray) -> list[str]:
        """Return N texts, `words` [T] in place of this corpus's own, joined by blanks."""
        strings = self.vocabulary[words].tolist()
        return [" ".join(strings[a:b]) for a, b in itertools.pairwise(self.offsets.tolist())]


def word_corpus(texts: Iterable[str]) -> WordCorpus:
    """Return the basic words of `texts`."""
    places: dict[str, int] = {}
    words, ends = array.array("i"), [0]
    for text in texts:
        words.extend(places.setdefault(word, len(places)) for word in basic_words(text))
        ends.append(len(words))
    vocabulary = np.array(list(places), dtype=object)
    return WordCorpus(vocabulary, np.array(words, np.int32), np.array(ends, np.int64))


class TfIdf(NamedTuple):
    """Statistics of a whole corpus."""

    idf: np.ndarray  # [V] float64: ln(N / number of documents with w)
    score: np.ndarray  # [V] float64: S(w) = sum_d (count_d(w) / |d|) idf(w)
    probability: np.ndarray  # [V] float64: P(w), proportional to max S - S(w)


def tf_idf(corpus: WordCorpus) -> TfIdf:
    """Return idf, S and P of `corpus`; P is uniform where all words have the same S."""
    size = len(corpus.vocabulary)
    frequency, share = np.zeros(size), np.zeros(size)
    for part in corpus.chunks():
        frequency += np.bincount(np.unique(_pairs(part)) % size, minlength=size)
        # sum_d count_d(w) / |d|, as every place of w adds 1 / |d|
        weight = 1 / np.repeat(part.lengths, part.lengths)
        share += np.bincount(part.words, weights=weight, minlength=size)
    idf = np.log(len(corpus.lengths) / frequency)
    score = share * idf
    weight = score.max(initial=0.0) - score
    weight = weight if weight.any() else np.ones(size)
    return TfIdf(idf, score, weight / weight.sum())


def replacement_rate(corpus: WordCorpus, idf: np.ndarray, p: float) -> np.ndarray:
    """Return r [T] float64, how likely each word is replaced; not clipped, so it may exceed 1.

    q_i = (count(w_i) / n) idf(w_i); z_i = max_j q_j - q_i; r_i = p n z_i / sum_j z_j. Where all q
    of a document are equal, 0 / 0, nothing in it is replaced.

    Args:
        corpus: documents; each is looked at alone.
        idf: [V] of the whole corpus.
        p: the mean of r over a document with different q.
    """
    if not len(corpus.words):
        return np.zeros(0)
    lengths = corpus.lengths
    _, pair_of, counts = np.unique(_pairs(corpus), return_inverse=True, return_counts=True)
    n = np.repeat(lengths, lengths)
    q = counts[pair_of] / n * idf[corpus.words]
    starts, filled = corpus.offsets[:-1][lengths > 0], lengths[lengths > 0]
    z = np.repeat(np.maximum.reduceat(q, starts), filled) - q
    total = np.repeat(np.add.reduceat(z, starts), filled)
    return np.divide(p * n * z, total, out=np.zeros_like(z), where=total > 0)


def tf_idf_replace(
    corpus: WordCorpus, stats: TfIdf, p: float, chance: np.ndarray, draw: np.ndarray
) -> np.ndarray:
    """Return words [T] int32, common ones replaced most and by uncommon ones: `tf_idf-p`.

    Args:
        corpus: documents.
        stats: of the whole corpus that they are from.
        p: share of words to replace.
        chance: [T] uniform in [0, 1): place i is replaced if below r_i.
        draw: [T] uniform in [0, 1): picks the new word from P.
    """
    replaced = chance < replacement_rate(corpus, stats.idf, p)
    below = np.cumsum(stats.probability)
    drawn = np.searchsorted(below / below[-1], draw[replaced], side="right")
    words = corpus.words.copy()
    words[replaced] = drawn
    return words


def uniform_replace(
    corpus: WordCorpus, p: float, chance: np.ndarray, order: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Return words [T] int32, each replaced with probability p by any other: `unif-p`.

    Documents of fewer than 3 words stay as they are.

    Args:
        corpus: documents.
        p: share of words to replace.
        chance: [T] uniform in [0, 1): place i is replaced if below p.
        order: [V] a random order of the vocabulary, gone through without repeating a word.
        starts: [N] int64 places in `order` where each document begins to take words.
    """
    lengths = corpus.lengths
    replaced = (chance < p) & np.repeat(lengths >= 3, lengths)
    so_far = np.concatenate([[0], np.cumsum(replaced)])
    rank = so_far[:-1] - np.repeat(so_far[corpus.offsets[:-1]], lengths)  # within the document
    words = corpus.words.copy()
    places = np.repeat(starts, lengths) + rank
    words[replaced] = order[places[replaced] % len(order)]
    return words


def usable_paraphrase(original: str, paraphrase: str) -> str:
    """Return the paraphrase, or the original where the paraphrase is unlikely to be one.

    That is if either has fewer than 10 characters or their lengths differ by more than half.
    """
    if min(len(original), len(paraphrase)) < _SHORT:
        return original
    change = abs(len(paraphrase) - len(original)) / len(original)
    return original if change > _MOST_CHANGE else paraphrase


def _pairs(corpus: WordCorpus) -> np.ndarray:
    """Return [T] int64, equal where the document and the word are."""
    document = np.repeat(np.arange(len(corpus.lengths)), corpus.lengths)
    return document * len(corpus.vocabulary) + corpus.words
