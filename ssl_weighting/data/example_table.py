"""Rows that need not be in memory: what may stand where an array of inputs or names does."""

from __future__ import annotations

import abc
import hashlib
import math
import operator
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

BLOCK = 2**24  # bytes that are read at a time where all rows are wanted one after the other
LARGE = 2**30  # bytes from which sets in memory are taken and joined without a copy
DIGEST = 32  # bytes of a SHA-256


class ExampleTable(abc.ABC):
    """Rows of one shape and dtype that need not be in memory.

    A kind of table gives `shape`, `dtype` and `gather`; one that knows the digests of its rows
    gives `row_digests` too and says so by `stores_digests`. Nothing makes an array of all rows but
    `loaded`: numpy's own conversion is refused, since it would do so unseen.

    Attributes:
        shape: (n, ...).
        dtype: of an element; object for names.
        stores_digests: whether `row_digests` are read and not made of the rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stores_digests: bool = False

    @abc.abstractmethod
    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows [k] int64, in any order and as often as asked for, [k, ...].

        The array is C-contiguous and the caller's own. Several threads may call at once.

        Raises:
            ValueError: a row is not in 0..n-1.
        """

    def row_digests(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the SHA-256 of the bytes of each of `rows`, None for all, [k, 32] uint8."""
        rows = np.arange(len(self)) if rows is None else as_rows(rows, len(self))
        found = np.empty((len(rows), DIGEST), np.uint8)
        size = self._rows_of_block()
        for start in range(0, len(rows), size):
            for place, row in enumerate(self.gather(rows[start : start + size]), start):
                found[place] = np.frombuffer(hashlib.sha256(row).digest(), np.uint8)
        return found

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions, the rows' own and one."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, wherever they are."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Return one row [...], or those of a slice, of numbers or of a mask, [k, ...]."""
        if isinstance(rows, slice):
            return self.gather(np.arange(*rows.indices(len(self))))
        if np.ndim(rows):
            return self.gather(as_rows(rows, len(self)))
        row = operator.index(rows)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a table of {len(self)} rows")
        return self.gather(np.array([row % len(self)]))[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks():
            yield from block

    def blocks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield all rows in order, `size` at a time, the last block fewer; None: by `BLOCK`.

        A block may be a view of what the table holds: it is not to be written to.
        """
        size = size or self._rows_of_block()
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def take(self, rows: np.ndarray) -> ExampleTable:
        """Return the table of `rows` [k] int64, or of those where a mask [n] bool is set."""
        return Taken(self, rows)

    def loaded(self) -> np.ndarray:
        """Return all rows as one array, which may be the table's own."""
        return self.gather(np.arange(len(self)))

    def tolist(self) -> list:
        """Return all rows as `numpy.ndarray.tolist` does."""
        return self.loaded().tolist()

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            f"A table of {self.dtype.name}{list(self.shape)} is read by rows. Received: a use that "
            "needs all of it as one array; `loaded()` makes it"
        )

    def _rows_of_block(self) -> int:
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        return max(BLOCK // max(width, 1), 1)


class ArrayTable(ExampleTable):
    """The rows of an array in memory, which is not copied.

    Args:
        array: [n, ...].
    """

    def __init__(self, array: np.ndarray):
        self._array = np.asarray(array)
        self.shape, self.dtype = self._array.shape, self._array.dtype

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of the rows; see `ExampleTable`."""
        return np.ascontiguousarray(self._array[as_rows(rows, len(self))])

    def blocks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield views of the array; see `ExampleTable`."""
        size = size or self._rows_of_block()
        for start in range(0, len(self), size):
            yield self._array[start : start + size]

    def loaded(self) -> np.ndarray:
        """Return the array itself."""
        return self._array


class Taken(ExampleTable):
    """Some rows of a table.

    Args:
        table: the table.
        rows: [k] int64, in any order and as often as wanted, or a mask [n] bool.

    Raises:
        ValueError: a row is not in 0..n-1.
    """

    def __init__(self, table: ExampleTable, rows: np.ndarray):
        rows = as_rows(rows, len(table))
        self._table, self._rows = table, rows
        self.shape, self.dtype = (len(rows), *table.shape[1:]), table.dtype
        self.stores_digests = table.stores_digests

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of the table behind; see `ExampleTable`."""
        return self._table.gather(self._rows[as_rows(rows, len(self))])

    def take(self, rows: np.ndarray) -> ExampleTable:
        """Return rows of the table behind; see `ExampleTable`."""
        return Taken(self._table, self._rows[as_rows(rows, len(self))])

    def row_digests(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return digests of the table behind; see `ExampleTable`."""
        return self._table.row_digests(
            self._rows if rows is None else self._rows[as_rows(rows, len(self))]
        )


class Joined(ExampleTable):
    """The rows of several tables, one table after the other.

    Args:
        tables: at least one; of one dtype and one shape of rows.

    Attributes:
        tables: those that are no `Joined` themselves.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, tables: Iterable[ExampleTable]):
        found = [part for one in tables for part in _parts(one)]
        kinds = {(table.dtype.name, *table.shape[1:]) for table in found}
        if len(kinds) != 1:
            listed = [f"{table.dtype.name}{list(table.shape)}" for table in found]
            raise ValueError(
                "`tables` must be at least one table, all of one dtype and shape of rows. "
                f"Received: {', '.join(listed) or 'none'}. Resize or convert them."
            )
        self.tables = tuple(found)
        self._ends = np.cumsum([len(table) for table in found])
        self.shape, self.dtype = (int(self._ends[-1]), *found[0].shape[1:]), found[0].dtype
        self.stores_digests = any(table.stores_digests for table in found)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of all tables; see `ExampleTable`."""
        rows = as_rows(rows, len(self))
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for places, table, own in self._of_tables(rows):
            found[places] = table.gather(own)
        return found

    def row_digests(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return digests of all tables; see `ExampleTable`."""
        if rows is None:
            return np.concatenate([table.row_digests() for table in self.tables])
        rows = as_rows(rows, len(self))
        found = np.empty((len(rows), DIGEST), np.uint8)
        for places, table, own in self._of_tables(rows):
            found[places] = table.row_digests(own)
        return found

    def _of_tables(self, rows):
        """Yield (places in `rows`, table, rows of that table) of the tables that are asked."""
        home = np.searchsorted(self._ends, rows, "right")
        for k in np.unique(home):
            places = np.flatnonzero(home == k)
            yield places, self.tables[k], rows[places] - (self._ends[k] - len(self.tables[k]))


def taken(inputs: np.ndarray | ExampleTable, rows: np.ndarray) -> np.ndarray | ExampleTable:
    """Return `rows` [k] int64, or a mask [n] bool, of inputs or of names.

    Rows of an array are copied, but for images that fill `LARGE` bytes: these, and rows of a table,
    become a table that reads them when asked.
    """
    if isinstance(inputs, ExampleTable):
        return inputs.take(rows)
    count = np.count_nonzero(rows) if np.asarray(rows).dtype == bool else len(rows)
    lazily = _is_large(inputs.dtype, count * math.prod(inputs.shape[1:]))
    return ArrayTable(inputs).take(rows) if lazily else inputs[rows]


def joined(parts: Sequence[np.ndarray | ExampleTable]) -> np.ndarray | ExampleTable:
    """Return parts of inputs, or of names, one after the other; see `taken`."""
    tables = any(isinstance(part, ExampleTable) for part in parts)
    if tables or _is_large(parts[0].dtype, sum(math.prod(part.shape) for part in parts)):
        return Joined(map(table_of, parts))
    return np.concatenate(parts)


def _is_large(dtype, size):
    # What works on texts, features and points needs arrays; these are small beside images.
    return dtype == np.uint8 and size >= LARGE


def table_of(inputs: np.ndarray | ExampleTable) -> ExampleTable:
    """Return a table of an array; tables stay what they are."""
    return inputs if isinstance(inputs, ExampleTable) else ArrayTable(inputs)


def loaded(inputs: np.ndarray | ExampleTable) -> np.ndarray:
    """Return an array of a table; arrays stay what they are."""
    return inputs.loaded() if isinstance(inputs, ExampleTable) else inputs


def as_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Return `rows` as int64 [k].

    Args:
        rows: whole numbers [k], or a mask [count] bool.
        count: how many rows there are.

    Raises:
        ValueError: they are something else, or one is not in 0..count-1.
    """
    rows = np.asarray(rows)
    fits = rows.ndim == 1 and (rows.dtype.kind in "iu" or not rows.size)
    if rows.dtype == bool:
        fits = rows.shape == (count,)
        rows = np.flatnonzero(rows) if fits else rows
    low, high = (int(rows.min()), int(rows.max())) if fits and rows.size else (0, -1)
    if not fits or low < 0 or high >= count:
        received = f"rows from {low} to {high}" if fits else f"{rows.dtype.name}{list(rows.shape)}"
        raise ValueError(
            f"`rows` must be in 0..{count - 1}, whole numbers [k] or a mask [{count}]. "
            f"Received: {received}."
        )
    return rows.astype(np.int64, copy=False)


def _parts(table):
    return table.tables if isinstance(table, Joined) else (table,)
