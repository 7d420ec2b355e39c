"""Whole numbers that a caller gives: sizes, seeds, counts. Without TensorFlow."""

from __future__ import annotations

import numbers


def check_whole(name: str, value, least: int, most: float = float("inf")) -> None:
    """Check a whole number where it enters.

    Args:
        name: of the argument; value: what was given.
        least, most: the range, both ends included.

    Raises:
        ValueError: it is no whole number, or outside the range.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (whole and least <= value <= most):
        words = f"at least {least}" if most == float("inf") else f"from {least} to {most}"
        what = "" if whole else "a whole number, "
        raise ValueError(f"`{name}` must be {what}{words}. Received: {name}={value}.")
