"""The reference's way to draw a labeled subset: follow the class frequencies greedily."""

from __future__ import annotations

import numpy as np


def greedy_counts(class_counts: np.ndarray, num_examples: int) -> np.ndarray:
    """How many examples of each class make up a subset that follows the class frequencies.

    s_c = count_c / max count; then `num_examples` times the class with the largest
    s_c - n_c / max(max n, 1) gets one more, the lowest class on ties. Balanced sets give balanced
    subsets; every class gets one before any gets two.

    Args:
        class_counts: [C] int, examples of each class in the whole set, not all 0.
        num_examples: size of the subset.

    Returns:
        [C] int64, summing to `num_examples`. Classes without examples get none.

    Source: the split program of the FixMatch release.
    """
    share = class_counts / class_counts.max()
    share[class_counts == 0] = -np.inf
    counts = np.zeros(len(class_counts), np.int64)
    for _ in range(num_examples):
        counts[np.argmax(share - counts / max(counts.max(), 1))] += 1
    return counts


def geometric_counts(num_classes: int, num_examples: int, ratio: float) -> np.ndarray:
    """Return class sizes that fall geometrically from the first to 1/ratio of it at the last.

    Exact sizes are rounded by largest remainders, the lowest class first on ties. A class that
    would get none then takes one of the largest.

    Args:
        num_classes: C, at least 2.
        num_examples: their sum, at least C.
        ratio: at least 1; 1: sizes that differ by one at most.

    Returns:
        [C] int64, none 0.
    """
    share = ratio ** (-np.arange(num_classes) / (num_classes - 1))
    exact = num_examples * share / share.sum()
    counts = np.floor(exact).astype(np.int64)
    left = num_examples - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    while not counts.all():
        counts[np.argmax(counts)] -= 1
        counts[np.argmin(counts)] = 1
    return counts


def greedy_rows(
    labels: np.ndarray,
    class_names: tuple[str, ...],
    num_examples: int,
    rng: np.random.RandomState | None,
    what: str,
    allowed: np.ndarray | None = None,
    balanced: bool = False,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Draw rows in the proportions of `greedy_counts`.

    The classes' lists of rows are shuffled in class order out of one stream, as the release does
    with numpy's global generator: for seeds from 1 and everything allowed, these are its rows.

    Args:
        labels: [n] int32, all known.
        class_names: C names, for errors.
        num_examples: rows to draw.
        rng: the stream that shuffles; None keeps the order of the set, so that the first of each
            class are drawn.
        what: the argument that asked for `num_examples`, for errors.
        allowed: [n] bool, rows that may be drawn; None for all. The proportions are those of all.
        balanced: as many of each class, whatever the frequencies (the first ones get one more).
        counts: [C] int64 summing to `num_examples`, in place of these proportions.

    Returns:
        [num_examples] int64 rows, ascending.

    Raises:
        ValueError: if a class has too few rows.
    """
    rows_of = [np.flatnonzero(labels == c) for c in range(len(class_names))]
    sizes = [1 if balanced else len(rows) for rows in rows_of]
    wanted = greedy_counts(np.array(sizes), num_examples) if counts is None else counts
    for rows in rows_of if rng else ():
        rng.shuffle(rows)
    if allowed is not None:
        rows_of = [rows[allowed[rows]] for rows in rows_of]
    short = [c for c, rows in enumerate(rows_of) if len(rows) < wanted[c]]
    if short:
        needs = ", ".join(f"{class_names[c]!r} {wanted[c]} of {len(rows_of[c])}" for c in short)
        left_out = 0 if allowed is None else np.sum(~allowed)
        taken = f" {left_out} are taken, or equal to one that is, as the model sees them."
        raise ValueError(
            f"`{what}` must leave every class enough examples to draw from. "
            f"Received: {what}={num_examples}, which needs, by class, {needs} available."
            f"{taken if left_out else ''} Ask for fewer, or add examples of these classes."
        )
    chosen = [rows[:count] for rows, count in zip(rows_of, wanted, strict=True)]
    return np.sort(np.concatenate(chosen))
