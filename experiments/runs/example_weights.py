"""example_weights.parquet of a run folder: a line for each example of U, with its Lambda.

As the files of `run_files`: nothing half written, checked when it is read. Without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs.run_files import RunError
from ssl_weighting.data.files import replacing

# Columns of example_weights.parquet, each [|U|], that every run has.
WEIGHT_COLUMNS = {
    "id": np.int64, "lam": np.float32, "visits": np.int32, "pseudo_label": np.int32,
    "confidence": np.float32, "loss": np.float32, "true_label": np.int32,
    "last_influence": np.float32,
}  # fmt: skip
# Runs of texts have `text`, those with known groups `group`; all have the others, older runs fewer.
# source: "labeled" or "validation" where the example is one of theirs too, else "unlabeled".
# influence: accumulated, see `results`. influence_mean, influence_error: Eq. 6 a visit.
OPTIONAL_COLUMNS = {
    "name": object, "source": object, "labeled": bool, "influence": np.float64,
    "influence_mean": np.float64, "influence_error": np.float64, "suspect": bool,
    "group": str, "text": object,
}  # fmt: skip


def write_example_weights(path: Path, columns: Mapping[str, Any]) -> None:
    """Write example_weights.parquet: `WEIGHT_COLUMNS` and any of `OPTIONAL_COLUMNS`, each [|U|]."""
    import pandas as pd

    arrays = {name: np.asarray(columns[name], kind) for name, kind in WEIGHT_COLUMNS.items()}
    arrays |= {name: columns[name] for name in OPTIONAL_COLUMNS if name in columns}
    # Files are opened here: pyarrow opens none whose name is not UTF-8.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        pd.DataFrame(arrays).to_parquet(file, index=False)


def read_example_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of example_weights.parquet, each [|U|], sorted by id.

    Raises:
        RunError: unreadable, a column missing, a doubled id, or a λ that is not finite.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:
            present = pq.read_schema(file).names
            kinds = {n: kind for n, kind in WEIGHT_COLUMNS.items() if n != "last_influence"}
            kinds |= {n: kind for n, kind in OPTIONAL_COLUMNS.items() if n in present}
            frame = pd.read_parquet(file, columns=list(kinds), engine="pyarrow")
        columns = {name: frame[name].to_numpy(kind) for name, kind in kinds.items()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).replace(str(path), path.name)
        raise RunError(f"{path.name} cannot be read: {reason}") from error
    if not np.isfinite(columns["lam"]).all():
        raise RunError(f"{path.name} holds weights that are not finite")
    order = np.argsort(columns["id"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    if np.any(np.diff(columns["id"]) == 0):
        raise RunError(f"{path.name} holds the same id twice")
    return columns
