"""Numbers that a caller gives: sizes, seeds, counts, and rows of them. Without TensorFlow."""

from __future__ import annotations

import numbers

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, table_of


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


def rows_not_finite(inputs: np.ndarray | ExampleTable) -> np.ndarray:
    """Return [m] int64, the rows of `inputs` [n, ...] that have NaN or infinity.

    Integers have none and are not looked at; floats are, block by block: a boolean for each would
    take a quarter of their memory.
    """
    bad, start = [np.arange(0)], 0
    for block in table_of(inputs).blocks() if inputs.dtype.kind == "f" else ():
        sound = np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
        bad.append(start + np.flatnonzero(~sound))
        start += len(block)
    return np.concatenate(bad)
