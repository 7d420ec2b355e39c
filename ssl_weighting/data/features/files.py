"""The files in which features come: .npz, a folder of .npy files, .parquet; one form for all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ssl_weighting.data.array_files import read_npy_folder, read_npz
from ssl_weighting.data.array_rows import npy_rows, npz_rows
from ssl_weighting.data.damage import DAMAGE, check_claim
from ssl_weighting.data.keyed_arrays import PARTS

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

_COLUMNS = ("x", "y", "split", "name", "views")


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of a training file by key: x_train, y_train, ..., names_train, ...

    A .parquet file has one row an example: `x` a list of d numbers, `y` a class (an integer or its
    name; null: unlabeled), and maybe `split` (train, unlabeled, validation, test; null as without
    it: train where there is a class, else unlabeled), `name` (its row number from 0), and
    `views`, K lists of d numbers.

    Raises:
        ValueError: it is damaged, of another kind, or a column does not fit; names the file.
    """
    table = _table(path)
    return _arrays(path) if table is None else _by_part(path, table)


class InputRows(NamedTuple):
    """New examples in a file, of which a few at a time are in memory."""

    shape: tuple[int, ...]  # [n, d]
    blocks: Callable[[int], Iterator[tuple[list[str], np.ndarray]]]  # rows -> names, x [m, d]


def input_rows(path: str | os.PathLike) -> InputRows:
    """Return new examples: the array or column `x`, named by `names` or the column `name`.

    Without these, names are the row numbers from 0.

    Raises:
        ValueError: as `read_arrays`; there is no `x`. So do the blocks.
    """
    if _is_parquet(path):
        return _parquet_rows(path)
    found = npy_rows(path) if os.path.isdir(path) else npz_rows(path)
    _check_inputs(path, found)
    x, names = found["x"], found.get("names")
    if names is not None and names.shape != x.shape[:1]:
        raise ValueError(
            f"`names` in {path} must be one for each of the {x.shape[0]} rows of `x`. "
            f"Received: {list(names.shape)}"
        )

    def blocks(size):
        start, given = 0, names and names.blocks(size)
        for block in x.blocks(size):
            numbers = range(start, start + len(block))
            yield [str(name) for name in (next(given) if given else numbers)], block
            start += len(block)

    return InputRows(x.shape, blocks)


def _check_inputs(path, keys) -> None:
    if "x" not in keys:
        raise ValueError(f"{path} must hold features `x`. Received: {sorted(keys)}")


def _parquet_rows(path) -> InputRows:
    def blocks(size):
        with _parquet(path) as file:
            columns = [name for name in ("x", "name") if name in file.schema_arrow.names]
            start = 0
            for batch in file.iter_batches(size, columns=columns):
                table = _as_table(batch)
                names = _names(table, "names", slice(None), start)["names"]
                yield names.tolist(), _vectors(path, table, "x")
                start += len(table)

    with _parquet(path) as file:
        _check_inputs(path, file.schema_arrow.names)
        count = file.metadata.num_rows
    width = next((x.shape[1:] for _, x in blocks(1)), (0,))
    return InputRows((count, *width), blocks)


def _as_table(batch):
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _arrays(path):
    return read_npy_folder(path) if os.path.isdir(path) else read_npz(path)


def _is_parquet(path) -> bool:
    if os.path.isdir(path) or Path(path).suffix == ".npz":
        return False
    if Path(path).suffix != ".parquet":
        raise ValueError(
            f"Features must be a file .npz or .parquet, or a folder of .npy files. Received: {path}"
        )
    return True


@contextlib.contextmanager
def _parquet(path) -> Iterator[parquet.ParquetFile]:
    """Open a .parquet file; damage that is met inside is named."""
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ValueError(f"{path} needs pyarrow: pip install pyarrow") from error
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} must be a .parquet file. Received: {reason}") from error


def _table(path) -> pyarrow.Table | None:
    """Return a .parquet file's table, None for other files."""
    if not _is_parquet(path):
        return None
    with _parquet(path) as file:
        groups = range(file.metadata.num_row_groups)
        check_claim(sum(file.metadata.row_group(k).total_byte_size for k in groups))
        return file.read()


def _by_part(path, table) -> dict[str, np.ndarray]:
    missing = {"x", "y"} - set(table.column_names)
    if missing or set(table.column_names) - set(_COLUMNS):
        raise ValueError(
            f"{path} must have the columns x and y, and may have {', '.join(_COLUMNS[2:])}. "
            f"Received: {table.column_names}. Rename, add or drop them."
        )
    x, split = _vectors(path, table, "x"), _splits(path, table)
    with_views = _with_views(path, table, x) if "views" in table.column_names else x
    labels, classes = _labels(path, table, split)
    found: dict[str, np.ndarray] = {} if classes is None else {"class_names": classes}
    for part in PARTS:
        rows = np.flatnonzero(split == part)
        if not len(rows) and part != "train":
            continue
        found[f"x_{part}"] = (with_views if part in ("train", "unlabeled") else x)[rows]
        if part != "unlabeled":
            found[f"y_{part}"] = labels[rows]
        found |= _names(table, f"names_{part}", rows)
    return found


def _vectors(path, table, name) -> np.ndarray:
    """Return a column of lists of numbers, as long as each other, as [n, d]."""
    import pyarrow.compute as pc

    column = _flat(table, name)
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False) if _lists(column) else []
    if not len(lengths) or not np.all(lengths == lengths[0]):
        raise ValueError(
            f"`{name}` in {path} must be a list of numbers in every row, as many in each. "
            f"Received: {column.type}, {len(column)} rows with {_distinct(lengths)} numbers."
        )
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)


def _with_views(path, table, x) -> np.ndarray:
    """Return [n, 1 + K, d]: the features and their views, themselves again where there are none."""
    import pyarrow.compute as pc

    column = _flat(table, "views")
    there = pc.is_valid(column).to_numpy(zero_copy_only=False)
    given = column.filter(pc.is_valid(column))
    inner = pc.list_flatten(given) if _lists(column) else None
    if inner is None or not _lists(inner):
        raise ValueError(
            f"`views` in {path} must be lists of views, each a list of numbers. "
            f"Received: {column.type}"
        )
    counts = pc.list_value_length(given).to_numpy(zero_copy_only=False)
    sizes = pc.list_value_length(inner).to_numpy(zero_copy_only=False)
    if not len(counts) or np.any(counts != counts[0]) or np.any(sizes != x.shape[1]):
        raise ValueError(
            f"`views` in {path} must be as many in each row that has any, of {x.shape[1]} numbers. "
            f"Received: {_distinct(counts)} views of {_distinct(sizes)} numbers."
        )
    views = np.repeat(x[:, np.newaxis], 1 + int(counts[0]), axis=1)
    values = pc.list_flatten(inner).to_numpy(zero_copy_only=False)
    views[there, 1:] = values.reshape(len(counts), -1, x.shape[1])
    return views


def _splits(path, table) -> np.ndarray:
    """Return the part of each row, [n] str."""
    import pyarrow.compute as pc

    known = pc.is_valid(_labels_column(table)).to_numpy(zero_copy_only=False)
    found = np.where(known, "train", "unlabeled").astype(object)
    if "split" in table.column_names:
        given = np.array(_flat(table, "split").to_pylist(), object)
        named = np.array([one is not None for one in given], bool)
        found[named] = given[named]
        found[(found == "train") & ~known] = "unlabeled"
    wrong = ~np.isin(found, PARTS) | (np.isin(found, ("test", "validation")) & ~known)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"`split` in {path} must be one of {', '.join(PARTS)}, and test and validation rows "
            f"must have a class. Received: split={found[row]!r} in row {row}, "
            f"{'with' if known[row] else 'without'} a class."
        )
    return found


def _labels_column(table) -> Any:
    """Return column y with null where pandas, which has whole numbers as float64, wrote NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _flat(table, "y")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _labels(path, table, split) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the classes [n] int64, -1 for none, and their names where they have some."""
    import pyarrow as pa

    column = _labels_column(table)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = np.array([text or "" for text in column.to_pylist()], object)
        names = np.unique(values[split == "train"].astype(str))
        places: Mapping[str, int] = {name: k for k, name in enumerate(names.tolist())}
        labeled = split != "unlabeled"
        foreign = sorted({text for text in values[labeled] if text not in places})
        if foreign:
            raise ValueError(
                f"`y` in {path} must be one of the training rows' classes {names.tolist()}. "
                f"Received: {foreign[0]!r}."
            )
        return np.array([places.get(text, -1) for text in values], np.int64), names
    try:
        return column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"`y` in {path} must be integers, or names of classes. "
            f"Received: {column.type} ({error})"
        ) from error


def _names(table, key, rows, first=0) -> dict[str, np.ndarray]:
    """Return what rows are called: where the file does not say, their numbers from `first`."""
    if "name" in table.column_names:
        names = np.array(_flat(table, "name").to_pylist(), object)
    else:
        names = np.arange(first, first + len(table))
    return {key: names[rows].astype(str)}


def _flat(table, name) -> Any:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _lists(column) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(column.type) for is_one in kinds)


def _distinct(numbers) -> str:
    return " or ".join(f"{number:g}" for number in np.unique(numbers)[:5]) or "no"
