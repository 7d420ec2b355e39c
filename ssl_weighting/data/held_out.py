"""Hold a test set out of a set that has none, always the same examples."""

from __future__ import annotations

import numpy as np

from ssl_weighting.data.class_profile import greedy_rows
from ssl_weighting.data.copies import first_rows
from ssl_weighting.data.examples import Examples

_TEST_SHARE = 5  # of a user's own set without a test part, one example in five is held out
_HOLD_OUT = 1  # keeps this stream of a seed apart from those of `splits`


def hold_out(
    examples: Examples, class_names: tuple[str, ...], size: int
) -> tuple[Examples, Examples]:
    """Split a set whose source has no test part: (rest, held out), always the same rows.

    Args:
        examples: the set, all labels known.
        class_names: C names.
        size: examples to hold out, in the proportions of `greedy_counts`.

    Returns:
        (rest, held out), both in the set's order.

    Raises:
        ValueError: if a class has too few examples.
    """
    held = _held(examples.labels, class_names, size)
    return examples.take(~held), examples.take(held)


def hold_out_test(examples: Examples, class_names: tuple[str, ...], where: str) -> np.ndarray:
    """Return which examples of a user's own set are held out for testing, [n] bool.

    A fifth, in the proportions of the classes, every class among them, always the same ones. Exact
    copies are one example: they are held out together.

    Args:
        examples: the set, all labels known.
        class_names: C names.
        where: the set, for errors.

    Raises:
        ValueError: if a class has fewer than two different examples.
    """
    first = first_rows(examples.inputs)
    different = np.unique(first)
    labels = examples.labels[different]
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() < 2:
        few = [f"{name!r} ({n})" for name, n in zip(class_names, counts, strict=True) if n < 2]
        raise ValueError(
            f"{where} must have at least two different labeled examples of every class, one of "
            f"which is held out for testing. Received: fewer of {', '.join(few)}. Add some, or "
            "bring a test set."
        )
    size = max(len(different) // _TEST_SHARE, len(class_names))
    return np.isin(first, different[_held(labels, class_names, size)])


def _held(labels, class_names, size) -> np.ndarray:
    rng = np.random.RandomState([_HOLD_OUT, 0])
    held = np.zeros(len(labels), bool)
    held[greedy_rows(labels, class_names, size, rng, "size")] = True
    return held
