"""Tables of many rows on disk: in chunks called after their content, and the few rows that changed.

Rows that a run touches are spread over the whole table, so that most chunks would change between
two saves. A save therefore writes a chunk anew only where many of its rows have changed since its
file was written; of the others it keeps the changed rows beside the chunks, as the delta.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import write_atomically

CHUNK = 65_536  # rows of a file
MUCH = 16  # a chunk is written anew where more than one of so many of its rows has changed
_MANY = 64  # sets of rows that are kept side by side before they are merged
_MOST = 4  # more than one row in so many are not remembered one by one: all may have changed
ROWS = "rows"  # of the delta


class Column(NamedTuple):
    """One value a row."""

    key: str
    dtype: str
    read: Callable[[np.ndarray], np.ndarray]  # row numbers [k] int64 -> [k]


class Saved(NamedTuple):
    """What a save has left on the disk, and the delta, which the caller keeps."""

    rows: int
    chunk: int  # rows of a chunk, but for the last
    columns: dict[str, str]  # key -> dtype
    chunks: tuple[tuple[str, str], ...]  # (file, SHA-256 of it) of each chunk
    delta: dict[str, np.ndarray]  # ROWS [m] int64, rising, and of each column its values [m]

    def described(self) -> dict[str, Any]:
        """Return all but the delta as JSON can carry it."""
        return {k: v for k, v in self._asdict().items() if k != "delta"}


def saved_from(described: Mapping[str, Any], delta: Mapping[str, np.ndarray]) -> Saved:
    """Return what `described` described, with its delta.

    Raises:
        KeyError, TypeError, ValueError: it is no such description.
    """
    chunks = tuple((str(file), str(sha256)) for file, sha256 in described["chunks"])
    columns = {str(key): str(dtype) for key, dtype in described["columns"].items()}
    saved = Saved(int(described["rows"]), int(described["chunk"]), columns, chunks, dict(delta))
    if len(chunks) != -(-saved.rows // saved.chunk) or saved.delta.keys() != {ROWS, *columns}:
        raise ValueError("a table whose chunks or columns are not those that it names")
    return saved


class Changed:
    """Which rows have been written since a save.

    Args:
        rows: of the table.

    Attributes:
        since: the save; None: there is none, or so much has changed that every row may have.
    """

    def __init__(self, rows: int):
        self._rows, self.since = rows, None
        self._parts: list[np.ndarray] = []

    @property
    def all(self) -> bool:
        """Whether every row may have changed."""
        return self.since is None

    def add(self, rows: np.ndarray | None) -> None:
        """Take note of `rows` [k] int64, in any order; None: of every row."""
        if self.all:
            return
        if rows is None:
            self.since, self._parts = None, []
            return
        self._parts.append(np.unique(rows))
        if len(self._parts) > _MANY:
            self._parts = [self.rows()]
            if len(self._parts[0]) > self._rows // _MOST:
                self.add(None)

    def rows(self) -> np.ndarray | None:
        """Return the rows, rising and each once; None: all of them."""
        if self.all:
            return None
        return np.unique(np.concatenate([np.zeros(0, np.int64), *self._parts]))

    def clear(self, since: Saved) -> None:
        """Begin anew: all that has been written is in `since`, whose values are not held on to."""
        self.since, self._parts = since._replace(delta={ROWS: since.delta[ROWS]}), []


class ChunkFolder:
    """The chunks of all saves of one table.

    Args:
        folder: where the files lie; made when first needed.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(
        self,
        rows: int,
        columns: tuple[Column, ...],
        changed: np.ndarray | None = None,
        before: Saved | None = None,
    ) -> Saved:
        """Write the chunks that need it.

        Args:
            rows: of the table; columns: all of it.
            changed: [k] int64, rising: rows written since `before`; None: every row may have been.
            before: the last save, or None.

        Raises:
            OSError: the disk is full or not writable; names the file.
        """
        kinds = {column.key: column.dtype for column in columns}
        if before and (before.rows, before.chunk, before.columns) != (rows, CHUNK, kinds):
            before = None
        mine = None
        if before and changed is not None:
            mine = np.union1d(changed, before.delta[ROWS]).astype(np.int64)
            if not self._is_as_before(columns, mine, before):
                mine = None
        chunks, late, written = [], [np.zeros(0, np.int64)], set()
        for k, start in enumerate(range(0, rows, CHUNK)):
            stop = min(start + CHUNK, rows)
            if mine is not None:
                some = mine[slice(*np.searchsorted(mine, (start, stop)))]
                kept = before.chunks[k]
                if len(some) * MUCH <= stop - start and (self.folder / kept[0]).is_file():
                    chunks.append(kept)
                    late.append(some)
                    continue
            chunks.append(self._write(columns, start, stop, written))
        delta = {ROWS: np.concatenate(late)}
        delta |= {column.key: column.read(delta[ROWS]) for column in columns}
        return Saved(rows, CHUNK, kinds, tuple(chunks), delta)

    def _write(self, columns, start, stop, written):
        rows = np.arange(start, stop)
        buffer = io.BytesIO()
        np.savez(buffer, **{column.key: column.read(rows) for column in columns})
        content = buffer.getvalue()
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder / f"{sha256[:32]}.npz"
        # Rows that were never touched are alike in many chunks.
        if path.name not in written and not (path.is_file() and path.read_bytes() == content):
            write_atomically(path, content)
        written.add(path.name)
        return path.name, sha256

    def _is_as_before(self, columns, mine, before):
        """Look at one chunk, another at every save, for changes that nobody took note of."""
        k = int(mine.sum()) % len(before.chunks)
        start = k * before.chunk
        try:
            held = self._read(before, k)
        except DAMAGE:
            return True  # written anew if it is gone; if it is damaged, found when it is read
        rows = np.arange(start, start + len(next(iter(held.values()))))
        known = np.isin(rows, mine)
        for column in columns:
            size = np.dtype(column.dtype).itemsize
            now, then = (x.view(f"V{size}") for x in (column.read(rows), held[column.key]))
            same = known | (now == then)
            if not same.all():
                warnings.warn(
                    f"{(~same).sum()} rows of {column.key} were moved and nobody took note of it "
                    "(`WeightStore.note`): all rows are saved anew. Earlier checkpoints may lack "
                    "changes",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return False
        return True

    def check(self, saved: Saved) -> None:
        """Make sure that every chunk of a save is as it was written.

        Raises:
            ValueError: one is not, or is missing; names it.
        """
        for file, sha256 in dict.fromkeys(saved.chunks):
            try:
                found = hashlib.sha256((self.folder / file).read_bytes()).hexdigest()
            except OSError as error:
                raise ValueError(f"chunk {file} cannot be read: {error}") from error
            if found != sha256:
                raise ValueError(f"SHA-256 differs for chunk {file}")

    def load(self, saved: Saved) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the table as it was saved, chunk by chunk: (its first row, key -> values)."""
        rows = saved.delta[ROWS]
        for k in range(len(saved.chunks)):
            start, block = k * saved.chunk, self._read(saved, k)
            stop = start + len(next(iter(block.values())))
            some = slice(*np.searchsorted(rows, (start, stop)))
            for key, values in block.items():
                values[rows[some] - start] = saved.delta[key][some]
            yield start, block

    def _read(self, saved, k):
        with np.load(self.folder / saved.chunks[k][0], allow_pickle=False) as file:
            return {key: file[key] for key in saved.columns}

    def keep(self, used: set[str]) -> None:
        """Delete the files that no save names any more, and what killed processes have left."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in used:
                path.unlink(missing_ok=True)


class Tables(NamedTuple):
    """A table that is to be saved."""

    rows: int
    columns: tuple[Column, ...]
    changed: np.ndarray | None  # rows written since `register.since`; None: every row
    register: Changed  # begins anew once the save stands


class Stored(NamedTuple):
    """A table that was saved, and has been checked."""

    folder: ChunkFolder
    saved: Saved

    def blocks(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield (first row, key -> values) of one chunk after the other."""
        return self.folder.load(self.saved)

    def whole(self) -> dict[str, np.ndarray]:
        """Return key -> values of all rows."""
        found = {key: np.empty(self.saved.rows, kind) for key, kind in self.saved.columns.items()}
        for start, block in self.blocks():
            for key, values in block.items():
                found[key][start : start + len(values)] = values
        return found
