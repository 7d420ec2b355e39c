"""Exact copies among examples: found by the digest of what the model sees."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples


def digests(inputs: np.ndarray) -> list[bytes]:
    """Return the SHA-256 of each row of `inputs` [n, ...]."""
    return [hashlib.sha256(np.ascontiguousarray(row)).digest() for row in inputs]


def first_rows(inputs: np.ndarray) -> np.ndarray:
    """Return [n] int64: for each row of `inputs` the first row with the same content."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(d, k) for k, d in enumerate(digests(inputs))], np.int64)


def are_copies(examples: Examples, of: Examples) -> np.ndarray:
    """Return [n] bool: whose content is that of one of `of`."""
    contents = set(digests(of.inputs))
    return np.array([digest in contents for digest in digests(examples.inputs)], bool)


def check_copies(parts: Mapping[str, Examples], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Make sure that no example has two labels; return how many copies there are, in words.

    Args:
        parts: name -> examples of a set, which have names.
        class_names: C names.

    Raises:
        ValueError: two examples have one content and two labels; names both.
    """
    first: dict[bytes, tuple[str, int]] = {}  # of each content: where it stands first
    labeled: dict[bytes, tuple[str, int]] = {}  # and where it first has a label
    counts: Counter = Counter()
    for part, examples in parts.items():
        for row, digest in enumerate(digests(examples.inputs)):
            one = first.setdefault(digest, (part, row))
            counts[part, one[0]] += one != (part, row)
            label = examples.labels[row]
            known = labeled.setdefault(digest, (part, row)) if label != UNKNOWN else (part, row)
            other = parts[known[0]].labels[known[1]]
            if other != label:
                one, two = parts[known[0]].names[known[1]], examples.names[row]
                raise ValueError(
                    f"An example must have one label. Received: the same for the model, {one} as "
                    f"{class_names[other]!r} and {two} as {class_names[label]!r}. Keep the one "
                    "that is right."
                )
    return tuple(
        f"{count} of {part} {'is an exact copy' if count == 1 else 'are exact copies'} of "
        f"{'others' if part == other else 'examples'} in {other}"
        for (part, other), count in counts.items()
        if count
    )
