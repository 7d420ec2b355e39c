"""Tell of each example of U whether D or V has it too."""

from __future__ import annotations

import numpy as np

from ssl_weighting.data.copies import Contents
from ssl_weighting.data.examples import DataSplits


class Sources:
    """Where examples of U come from, as many at a time as are asked for.

    Args:
        splits: the sets.
    """

    def __init__(self, splits: DataSplits):
        self._unlabeled = splits.unlabeled.inputs
        parts = ("validation", "labeled")  # what is in both counts as labeled
        self._contents = {part: Contents(getattr(splits, part)) for part in parts}

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Return [k] str objects: "labeled" of what is, or equals, one of D, "validation" of V's.

        All others are "unlabeled".

        Args:
            ids: [k] int64 in 0..|U|-1.
        """
        found = np.full(len(ids), "unlabeled", object)
        for source, contents in self._contents.items():
            found[contents.of(self._unlabeled, ids)] = source
        return found


def sources_of_u(splits: DataSplits, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return the sources of the ids from `start` to `stop` - 1, [n] str objects; see `Sources.of`.

    Args:
        splits: the sets.
        start, stop: first id of U and the one behind the last; None: all from `start` on.
    """
    stop = len(splits.unlabeled) if stop is None else stop
    return Sources(splits).of(np.arange(start, stop))
