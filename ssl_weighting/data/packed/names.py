"""The names of a pack's examples, read by row."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, as_rows

_BLOCK = 2**16  # names that are in memory at once where all are read


class Names(ExampleTable):
    """Names [n], str objects, of which those that are asked for are in memory.

    Args:
        folder: of the pack; part: of the set.
    """

    def __init__(self, folder: str | os.PathLike, part: str):
        self._text = mapped_bytes(Path(folder) / f"{part}-names.bin")
        self._ends = mapped_array(Path(folder) / f"{part}-name-ends.npy")
        self.shape, self.dtype = self._ends.shape, np.dtype(object)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the names of rows; see `ExampleTable`."""
        rows = as_rows(rows, len(self))
        ends = self._ends[rows].tolist()
        starts = np.where(rows > 0, self._ends[rows - 1], 0).tolist() if len(rows) else []
        found = np.empty(len(rows), object)
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            found[place] = self._text[start:end].decode()
        return found

    def blocks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield all names in order; see `ExampleTable`."""
        return super().blocks(size or _BLOCK)


def encoded_names(names: Iterable[str]) -> tuple[bytes, np.ndarray]:
    """Return names as UTF-8, one after the other, and where each ends, [n] int64."""
    found = [name.encode() for name in names]
    return b"".join(found), np.cumsum([len(name) for name in found], dtype=np.int64)


def mapped_bytes(path: Path) -> mmap.mmap | bytes:
    """Return the bytes of a file, mapped into memory where there are any."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def mapped_array(path: Path) -> np.ndarray:
    """Return the array in an .npy file, mapped into memory where it has any rows."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError:  # an empty one cannot be mapped
        return np.load(path, allow_pickle=False)
