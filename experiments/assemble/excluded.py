"""--exclude: the names in its file, and the sets of a run without them.

The file has one name a line, or is a table, .csv or .parquet, with a column of names. Without
TensorFlow.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

from experiments.options.config import Config
from ssl_weighting.data.csv_cells import unguarded
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.exclusion import without_examples

COLUMN = "name"


def without_excluded(config: Config, splits: DataSplits) -> DataSplits:
    """Return the splits without what the options exclude from U.

    Raises:
        OSError, ValueError: as `names_in` and `without_examples`.
    """
    return without_examples(splits, names_in(config.exclude)) if config.exclude else splits


def digest_of_excluded(config: Config) -> dict[str, str]:
    """Return {"exclude": digest of the names, whatever their order}; {} where there are none."""
    if not config.exclude:
        return {}
    names = sorted(set(names_in(config.exclude)))
    return {"exclude": hashlib.sha256(json.dumps(names).encode()).hexdigest()}


def names_in(path: str) -> list[str]:
    """Return the names in a file: one a line, or the column `name` of a .csv or .parquet file.

    Empty lines and cells do not count.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no UTF-8 or, by its name, no such table, or has no such column or no name.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"--exclude must name a file. Received: {path}, not there")
    read = {".csv": _names_of_csv, ".parquet": _names_of_parquet}
    names = [name for name in read.get(Path(path).suffix.lower(), _lines)(path) if name]
    if not names:
        raise ValueError(
            f"--exclude must name a file with the name of an example in each line. Received: "
            f"{path} without any"
        )
    return names


def _text(path) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--exclude must name a UTF-8 file. Received: {path}: {error}") from error


def _lines(path) -> list[str]:
    return _text(path).replace("\r\n", "\n").split("\n")


def _names_of_csv(path) -> list[str]:
    try:
        rows = list(csv.DictReader(io.StringIO(_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"--exclude must name a table. Received: {path}: {error}") from error
    if rows:
        _check_columns(path, list(rows[0]))
    return [unguarded(row[COLUMN] or "") for row in rows]


def _names_of_parquet(path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            names = file.read([n for n in columns if n == COLUMN]).to_pydict()
    except (*DAMAGE, pa.ArrowException) as error:
        raise ValueError(f"--exclude must name a table. Received: {path}: {error}") from error
    _check_columns(path, columns)
    return [str(name) for name in names[COLUMN] if name is not None]


def _check_columns(path, columns) -> None:
    if COLUMN not in columns:
        raise ValueError(
            f"--exclude must name a {Path(path).suffix} file with a column `{COLUMN}`. Received: "
            f"{path} with the columns {', '.join(map(str, columns))}. Other files have one name a "
            "line"
        )
