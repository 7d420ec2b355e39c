"""Exact copies among examples: found by the digest of what the model sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, table_of
from ssl_weighting.data.examples import UNKNOWN, Examples

_ROWS = 2**20  # whose digests are looked at together


class Contents:
    """What some examples hold, to find copies of them by digest.

    Args:
        examples: the examples.
    """

    def __init__(self, examples: Examples):
        digests = row_digests(examples.inputs)
        self._beginnings, self._digests = _beginnings(digests), _whole(digests)

    def of(self, inputs: np.ndarray | ExampleTable, rows: np.ndarray | None = None) -> np.ndarray:
        """Return [k] bool: which of `rows` [k] int64 of `inputs`, None for all, are copies."""
        table = table_of(inputs)
        rows = np.arange(len(table)) if rows is None else rows
        found = np.zeros(len(rows), bool)
        for start in range(0, len(rows), _ROWS):
            digests = table.row_digests(rows[start : start + _ROWS])
            # Eight bytes tell nearly all of them apart, in a tenth of the time.
            alike = np.flatnonzero(np.isin(_beginnings(digests), self._beginnings))
            found[start + alike] = np.isin(_whole(digests[alike]), self._digests)
        return found


def row_digests(inputs: np.ndarray | ExampleTable) -> np.ndarray:
    """Return the SHA-256 of each row of `inputs` [n, ...], [n, 32] uint8."""
    return table_of(inputs).row_digests()


def first_rows(inputs: np.ndarray | ExampleTable) -> np.ndarray:
    """Return [n] int64: for each row of `inputs` the first row with the same content."""
    return _first_alike(row_digests(inputs))


def are_copies(examples: Examples, of: Examples) -> np.ndarray:
    """Return [n] bool: whose content is that of one of `of`."""
    return Contents(of).of(examples.inputs)


def check_copies(parts: Mapping[str, Examples], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Make sure that no example has two labels; return how many copies there are, in words.

    Args:
        parts: name -> examples of a set, which have names.
        class_names: C names.

    Raises:
        ValueError: two examples have one content and two labels; names both.
    """
    first = _first_alike(np.concatenate([row_digests(one.inputs) for one in parts.values()]))
    _check_labels(parts, first, class_names)
    part = np.repeat(np.arange(len(parts)), [len(one) for one in parts.values()])
    pair = part * len(parts) + part[first]
    counts = np.bincount(pair[first != np.arange(len(first))], minlength=len(parts) ** 2)
    pairs, places = np.unique(pair, return_index=True)
    names = list(parts)
    notes = []
    for k in pairs[np.argsort(places)]:  # as they are met
        one, other = names[k // len(parts)], names[k % len(parts)]
        if counts[k]:
            are = "is an exact copy" if counts[k] == 1 else "are exact copies"
            of = "others" if one == other else "examples"
            notes.append(f"{counts[k]} of {one} {are} of {of} in {other}")
    return tuple(notes)


def _check_labels(parts, first, class_names) -> None:
    """Compare each label with that of the first labeled example of the same content."""
    labels = np.concatenate([one.labels for one in parts.values()])
    rows = np.flatnonzero(labels != UNKNOWN)
    _, place, content = np.unique(first[rows], return_index=True, return_inverse=True)
    known = rows[place[content]]
    wrong = np.flatnonzero(labels[known] != labels[rows])
    if not len(wrong):
        return
    pair = known[wrong[0]], rows[wrong[0]]
    (one, two), (other, label) = (_names(parts, pair), (class_names[labels[row]] for row in pair))
    raise ValueError(
        f"An example must have one label. Received: the same for the model, {one} as "
        f"{other!r} and {two} as {label!r}. Keep the one that is right."
    )


def _names(parts, rows) -> list[str]:
    """Return the names of rows that are counted through all parts."""
    starts = np.cumsum([0, *(len(one) for one in parts.values())])
    examples, homes = list(parts.values()), np.searchsorted(starts, rows, "right") - 1
    return [examples[k].names[row - starts[k]] for row, k in zip(rows, homes, strict=True)]


def _first_alike(digests: np.ndarray) -> np.ndarray:
    """Return [n] int64: for each of `digests` [n, 32] the first row that is equal."""
    _, place, counts = np.unique(_beginnings(digests), return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[place] > 1)  # the others have no copy
    _, first, content = np.unique(_whole(digests[several]), return_index=True, return_inverse=True)
    found = np.arange(len(digests))
    found[several] = several[first[content]]
    return found


def _beginnings(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _whole(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(f"V{digests.shape[1]}")[:, 0]
