"""--exclude: the names in its file, and the sets of a run without them.

The file has one name a line, or is a table with a column of names. Without TensorFlow.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

from experiments.options.config import Config
from ssl_weighting.data.csv_cells import unguarded
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
    """Return the names in a UTF-8 file: one a line, or the column `name` of a .csv file.

    Empty lines do not count.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no UTF-8, has no name, or, a .csv file, no such column.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"--exclude must name a file. Received: {path}, not there"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--exclude must name a UTF-8 file. Received: {path}: {error}") from error
    table = Path(path).suffix.lower() == ".csv"
    names = _column(path, text) if table else text.replace("\r\n", "\n").split("\n")
    names = [name for name in names if name]
    if not names:
        raise ValueError(
            f"--exclude must name a file with the name of an example in each line. Received: "
            f"{path} without any"
        )
    return names


def _column(path, text) -> list[str]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"--exclude must name a table. Received: {path}: {error}") from error
    if rows and COLUMN not in rows[0]:
        raise ValueError(
            f"--exclude must name a .csv file with a column `{COLUMN}`. Received: {path} with the "
            f"columns {', '.join(map(str, rows[0]))}. Other files have one name a line"
        )
    return [unguarded(row[COLUMN] or "") for row in rows]
