"""Columns as a file, for people and their programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.files import replacing, write_atomically

FORMATS = (".csv", ".parquet")


def write_columns(path: str | os.PathLike, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of equal length as .csv or .parquet, by the ending of `path`.

    In a .csv file NaN is an empty field, and what a spreadsheet would run is text.

    Raises:
        ValueError: another ending. ImportError: .parquet without the package `pyarrow`.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"`path` must end in {' or '.join(FORMATS)}. Received: {path}")
    if path.suffix == ".csv":
        cells = [[_cell(value) for value in column] for column in columns.values()]
        write_atomically(path, csv_of([tuple(columns), *zip(*cells, strict=True)]))
        return
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "`path` must end in .csv where the package pyarrow is missing; "
            "`pip install pyarrow` brings .parquet"
        ) from error
    table = pyarrow.table(dict(columns))
    # The file is opened here: pyarrow opens none whose name is not UTF-8.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        parquet.write_table(table, file)


def _cell(value):
    missing = isinstance(value, np.floating) and np.isnan(value)
    return None if missing else value
