"""example_weights.parquet of a run folder: a line for each example of U, with its Lambda.

As the files of `run_files`: nothing half written, checked when it is read. Without TensorFlow. It
is written and can be read in blocks, so that neither needs memory for all of U.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs.run_files import Arrays, RunError
from ssl_weighting.data.files import replacing

BLOCK = 131_072  # examples of a row group, at most
# Columns of example_weights.parquet, each [|U|], that every run has.
WEIGHT_COLUMNS = {
    "id": np.int64, "lam": np.float32, "visits": np.int32, "pseudo_label": np.int32,
    "confidence": np.float32, "loss": np.float32, "true_label": np.int32,
    "last_influence": np.float32,
}  # fmt: skip
# Runs of texts have `text`, those with known groups `group`; all have the others, older runs fewer.
# source: "labeled" or "validation" where the example is one of theirs too, else "unlabeled".
# influence: accumulated, see `WeightStore.block`. influence_mean, influence_error: Eq. 6 a visit.
OPTIONAL_COLUMNS = {
    "name": object, "source": object, "labeled": bool, "influence": np.float64,
    "influence_mean": np.float64, "influence_error": np.float64, "suspect": bool,
    "group": str, "text": object,
}  # fmt: skip
_NOT_READ = ("last_influence",)


def write_example_weights(path: Path, blocks: Iterable[Mapping[str, Any]]) -> None:
    """Write example_weights.parquet, a row group for each of `blocks`, of which there is one.

    Args:
        path: of the file.
        blocks: `WEIGHT_COLUMNS` and any of `OPTIONAL_COLUMNS`, [n] each, of one block after the
            other; all have the same columns.
    """
    import pyarrow.parquet as pq

    # Files are opened here: pyarrow opens none whose name is not UTF-8.
    with (
        replacing(path) as temporary,
        open(temporary, "wb") as file,
        contextlib.ExitStack() as stack,
    ):
        writer = None
        for block in blocks:
            table = _as_table(block, writer.schema if writer else None)
            writer = writer or stack.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table)


def _as_table(block, schema):
    import pandas as pd
    import pyarrow as pa

    arrays = {name: np.asarray(block[name], kind) for name, kind in WEIGHT_COLUMNS.items()}
    arrays |= {name: block[name] for name in OPTIONAL_COLUMNS if name in block}
    table = pa.Table.from_pandas(pd.DataFrame(arrays), schema=schema, preserve_index=False)
    if schema:
        return table
    # A column without a value has no type, and later blocks may have values.
    fields = [f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


def read_example_weights(path: Path, columns: Collection[str] | None = None) -> Arrays:
    """Return the columns of example_weights.parquet, each [|U|], sorted by id.

    Args:
        path: of the file.
        columns: which of those that there are; None: all that are of use.

    Raises:
        RunError: unreadable, a column missing, a doubled id, or a λ that is not finite.
    """
    blocks = list(read_blocks(path, columns and {*columns, "id"}))
    found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.argsort(found["id"], kind="stable")
    found = {name: values[order] for name, values in found.items()}
    if np.any(np.diff(found["id"]) == 0):
        raise RunError(f"{path.name} holds the same id twice")
    return found


def read_blocks(path: Path, columns: Collection[str] | None = None) -> Iterator[Arrays]:
    """Yield the columns of one row group after the other, as they stand in the file.

    Args:
        path, columns: as in `read_example_weights`.

    Raises:
        RunError: unreadable, a column missing, or a λ that is not finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {n: kind for n, kind in WEIGHT_COLUMNS.items() if n not in _NOT_READ}
    try:
        with open(path, "rb") as opened:
            file = pq.ParquetFile(opened)
            present = file.schema_arrow.names
            kinds |= {n: kind for n, kind in OPTIONAL_COLUMNS.items() if n in present}
            if columns is not None:
                kinds = {n: kind for n, kind in kinds.items() if n in columns}
            if missing := sorted(kinds.keys() - set(present)):
                raise ValueError(f"it has no column {', '.join(missing)}")
            for group in range(file.num_row_groups) or (None,):
                frame = _group(file, group, list(kinds)).to_pandas()
                yield _checked(path, {n: frame[n].to_numpy(kind) for n, kind in kinds.items()})
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).replace(str(path), path.name)
        raise RunError(f"{path.name} cannot be read: {reason}") from error


def _group(file, number, columns):
    if number is None:  # of no example
        return file.schema_arrow.empty_table().select(columns)
    return file.read_row_group(number, columns=columns)


def _checked(path, block):
    if "lam" in block and not np.isfinite(block["lam"]).all():
        raise RunError(f"{path.name} holds weights that are not finite")
    return block
