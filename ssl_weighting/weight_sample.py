"""What is looked at of Lambda between Lambda-steps: all of it, or of a large U a fixed sample.

The quantiles of 1e5 weights say what those of 1e8 say, and cost a thousandth. Without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLE = 100_000  # ids; of a U of up to so many examples all are looked at


def sampled_ids(num_unlabeled: int) -> np.ndarray:
    """Return the ids that are looked at: all of them, or `SAMPLE` in even distances, int64."""
    if num_unlabeled <= SAMPLE:
        return np.arange(num_unlabeled)
    return np.arange(SAMPLE) * num_unlabeled // SAMPLE


class WeightSample:
    """λ and visits of the sampled ids, on the host.

    Of all of U they are read when they are asked for. Of a sample copies are kept, of which what
    was visited is renewed: reading the whole sample touches as many pages of memory as it has ids.

    Args:
        num_unlabeled: |U|.
        lam, visits: ids [k] int64 -> [k], what they are now.

    Attributes:
        ids: [s] int64, rising.
    """

    def __init__(
        self,
        num_unlabeled: int,
        lam: Callable[[np.ndarray], np.ndarray],
        visits: Callable[[np.ndarray], np.ndarray],
    ):
        self.ids = sampled_ids(num_unlabeled)
        self.whole = len(self.ids) == num_unlabeled
        self._read = {"lam": lam, "visits": visits}
        self._kept: dict[str, np.ndarray] = {}

    @property
    def lam(self) -> np.ndarray:
        """λ of `ids`, [s] float32."""
        return self._values("lam")

    @property
    def visits(self) -> np.ndarray:
        """How often each of `ids` was moved, [s] float32 whole numbers."""
        return self._values("visits")

    def renew(self, ids: np.ndarray | None = None, column: str | None = None) -> None:
        """Read again what has been written.

        Args:
            ids: [k] int64, what was written; None: any.
            column: "lam" or "visits"; None: both.
        """
        for name in (column,) if column else tuple(self._read):
            if ids is None:
                self._kept.pop(name, None)
            elif name in self._kept:
                places = np.searchsorted(self.ids, ids)
                places = np.minimum(places, len(self.ids) - 1)
                hit = self.ids[places] == ids
                self._kept[name][places[hit]] = self._read[name](ids[hit])

    def _values(self, name):
        if self.whole:
            return self._read[name](self.ids)
        if name not in self._kept:
            self._kept[name] = np.array(self._read[name](self.ids))
        return self._kept[name]
