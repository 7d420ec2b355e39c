"""A table of the examples with their weights, as a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ssl_weighting.data.files import replacing

FORMATS = (".csv", ".parquet")


def write_table(path: str | os.PathLike, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length as .csv or .parquet, by the ending of `path`.

    Raises:
        ValueError: another ending. ImportError: .parquet without the package `pyarrow`.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"`path` must end in {' or '.join(FORMATS)}. Received: {path}")
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, columns)
        else:
            _write_csv(temporary, columns)


def _write_csv(path, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _write_parquet(path, columns):
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "`path` must end in .csv where the package pyarrow is missing; "
            "`pip install pyarrow` brings .parquet"
        ) from error
    parquet.write_table(pyarrow.table(dict(columns)), path)
