"""Pixels in .npy files, mapped into memory: the system keeps what is read, and lets it go."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

import numpy as np

from ssl_weighting.data.packed.names import mapped_bytes
from ssl_weighting.data.packed.shards import MOST_OPEN, ShardedTable

BUDGET = 2**28  # bytes of files that the tables of a part hold mapped, about
# Whoever touches a page is given those around it, where they are in memory.
_AROUND = 2**16


class MappedTable(ShardedTable):
    """Images whose pixels lie in .npy files; see `ShardedTable`.

    Each image is compared with its digest when it is read, which takes two microseconds of 32x32.
    """

    def _open(self, k):
        shard = self._shards[k]
        shape = (shard.rows, *self.shape[1:])
        budget = BUDGET // min(len(self._shards), MOST_OPEN)
        return _Mapped(self._folder / shard.file, shape, budget)

    def _read(self, rows, found):
        for k, places, own in self._of_shards(rows):
            found[places] = self._opened(k).rows(own)
        expected = self._digests[rows]
        for place, image in enumerate(found):
            if hashlib.sha256(image).digest() != expected[place].tobytes():
                k = int(np.searchsorted(self._ends, rows[place], "right"))
                raise self._damaged(int(rows[place]), k, "its pixels are others")


class _Mapped:
    """A file of pixels, of which about `budget` bytes stay mapped."""

    def __init__(self, path: Path, shape: tuple[int, ...], budget: int):
        self._map, self._budget, self._touched = mapped_bytes(path), budget, 0
        count = int(np.prod(shape))
        # The header's size is what the file has beside the pixels; their digests cover the rest.
        self._start = len(self._map) - count
        if self._start < 0:
            raise ValueError(
                f"{path} must hold {shape[0]} images. Received: {len(self._map):,} bytes. "
                "Copy the pack again, or pack the images again"
            )
        self._array = np.frombuffer(self._map, np.uint8, count, self._start).reshape(shape)
        self._map.madvise(mmap.MADV_RANDOM)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of rows."""
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 > 0 and (np.diff(rows) == 1).all():
            self._ask_ahead(first, last + 1)
            found = self._array[first : last + 1].copy()
        else:
            found = self._array[rows]
        self._touched += len(rows) * max(self._array[0].nbytes, _AROUND)
        if self._touched > self._budget:
            self._touched = 0
            self._map.madvise(mmap.MADV_DONTNEED)  # what is read again comes from the file again
        return found

    def _ask_ahead(self, first, last):
        width = self._array[0].nbytes
        start = (self._start + first * width) // mmap.PAGESIZE * mmap.PAGESIZE
        self._map.madvise(mmap.MADV_WILLNEED, start, self._start + last * width - start)
