"""Examples that lie in several files: which file has a row, and how many are open at once."""

from __future__ import annotations

import abc
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, as_rows
from ssl_weighting.data.images.picture import PictureError
from ssl_weighting.data.packed.manifest import Shard

MOST_OPEN = 200  # files of a part; systems allow a process 1,024 in all, as a rule
_AT_ONCE = 1024  # rows that are read together


class DamagedRowError(PictureError):
    """An example of a pack that is not what was packed; the message names it and its file."""

    def __init__(self, name: str, file: str | os.PathLike, reason: str):
        ValueError.__init__(
            self,
            f"{name} must be in the pack as it was packed. Received: {file}, damaged since "
            f"({reason}). Copy the pack again, or pack the images again",
        )
        self.name, self.reason = name, reason


class ShardedTable(ExampleTable):
    """Images of a part of a pack, [n, H, W, C] uint8; a kind of file gives `_open` and `_read`.

    Args:
        folder: of the pack.
        shards: of the part, in order.
        shape: (H, W, C).
        digests: [n, 32] uint8, of each image.
        names: [n], an array or a table, for errors.
    """

    stores_digests = True

    def __init__(
        self,
        folder: str | os.PathLike,
        shards: Sequence[Shard],
        shape: tuple[int, int, int],
        digests: np.ndarray,
        names: np.ndarray | ExampleTable,
    ):
        self._folder, self._shards = Path(folder), tuple(shards)
        self._ends = np.cumsum([shard.rows for shard in shards])
        self._digests, self._names = digests, names
        self.shape, self.dtype = (int(self._ends[-1]), *shape), np.dtype(np.uint8)
        self._opened = functools.lru_cache(MOST_OPEN)(self._open)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of rows; see `ExampleTable`.

        Raises:
            DamagedRowError: one is not what was packed any more.
        """
        rows = as_rows(rows, len(self))
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for start in range(0, len(rows), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            self._read(rows[some], found[some])
        return found

    def row_digests(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the digests that were packed; see `ExampleTable`."""
        if rows is None:
            return np.array(self._digests)
        return self._digests[as_rows(rows, len(self))]

    @abc.abstractmethod
    def _open(self, k: int) -> Any:
        """Return what reads shard k, from several threads at once."""

    @abc.abstractmethod
    def _read(self, rows: np.ndarray, found: np.ndarray) -> None:
        """Write the images of rows [m] int64 into `found` [m, H, W, C]."""

    def _of_shards(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (shard, places in `rows`, rows of that shard) of the shards that are asked."""
        home = np.searchsorted(self._ends, rows, "right")
        order = np.argsort(home, kind="stable")
        cuts = np.flatnonzero(np.diff(home[order])) + 1
        for places in np.split(order, cuts) if len(rows) else ():
            k = int(home[places[0]])
            yield k, places, rows[places] - (self._ends[k] - self._shards[k].rows)

    def _damaged(self, row: int, k: int, reason: str) -> DamagedRowError:
        return DamagedRowError(self._names[row], self._folder / self._shards[k].file, reason)
