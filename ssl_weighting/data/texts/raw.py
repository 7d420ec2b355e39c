"""Texts with their classes as a source delivers them, before they are tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset

Encode = Callable[[Sequence[str]], np.ndarray]  # n texts -> [n, L] int32 tokens


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts, one example each.

    Args:
        texts: n strings.
        labels: [n] int32, classes 0.. or -1 where unknown.
        names: n strings, what the source calls them; None: nothing.

    Raises:
        ValueError: if their numbers differ.
    """

    texts: tuple[str, ...]
    labels: np.ndarray  # [n] int32, -1 = unknown
    names: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.labels.shape != (len(self.texts),):
            raise ValueError(
                f"`labels` must have one entry for each of the {len(self.texts)} texts. "
                f"Received: labels of shape {list(self.labels.shape)}."
            )
        if self.names is not None and len(self.names) != len(self.texts):
            raise ValueError(
                f"`names` must have one entry for each of the {len(self.texts)} texts. "
                f"Received: {len(self.names)} names."
            )

    @classmethod
    def unlabeled(cls, texts: Sequence[str], names: tuple[str, ...] | None = None) -> Texts:
        """Return `texts` of unknown class."""
        return cls(tuple(texts), np.full(len(texts), UNKNOWN, np.int32), names)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Texts:
        """Return the texts at `rows` [k] int64."""
        names = None if self.names is None else tuple(self.names[row] for row in rows)
        return Texts(tuple(self.texts[row] for row in rows), self.labels[rows], names)

    def tokenised(self, encode: Encode) -> Examples:
        """Return the tokens with texts and names beside them."""
        names = None if self.names is None else _objects(self.names)
        return Examples(encode(self.texts), self.labels, _objects(self.texts), names)


@dataclass(frozen=True, eq=False)
class RawTexts:
    """A text set as its source delivers it: `RawDataset` before tokenisation.

    Args:
        name, train, test, class_names, source, unlabeled, validation: as in `RawDataset`.
        labeled_rows: [k] int64 rows of `train` that are D where the set's authors chose it.
        notes, skipped: as in `RawDataset`.
    """

    name: str
    train: Texts
    test: Texts
    class_names: tuple[str, ...]
    source: str
    unlabeled: Texts | None = None
    validation: Texts | None = None
    labeled_rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def tokenised(self, encode: Encode) -> RawDataset:
        """Return the set as tokens, ready for `make_splits`.

        Args:
            encode: called once for each part.

        Raises:
            ValueError: if the parts do not fit together.
        """
        parts = {
            part: None if texts is None else texts.tokenised(encode)
            for part, texts in (
                ("train", self.train),
                ("test", self.test),
                ("unlabeled", self.unlabeled),
                ("validation", self.validation),
            )
        }
        return RawDataset(
            self.name,
            class_names=self.class_names,
            source=self.source,
            notes=self.notes,
            skipped=self.skipped,
            **parts,
        )


def _objects(strings):
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array
