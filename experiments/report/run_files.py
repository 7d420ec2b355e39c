"""Readers of a run's larger files: metrics, example weights, extreme images and toy snapshots.

Every reader either returns checked plain arrays or raises `RunError`; nothing read is executed
(no pickles).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import validation
from experiments.report.validation import RunError

Lines = tuple[Mapping[str, Any], ...]

WEIGHT_COLUMNS = {
    "id": np.int64,
    "lam": np.float32,
    "visits": np.int64,
    "pseudo_label": np.int64,
    "confidence": np.float32,
    "loss": np.float32,
    "true_label": np.int64,
}
EXTREME_ARRAYS = ("down_ids", "down_images", "up_ids", "up_images")
SNAPSHOT_ARRAYS = (
    "iterations",
    "grid_x",
    "grid_y",
    "probability",
    "lam",
    "unlabeled",
    "unlabeled_label",
    "labeled",
    "labeled_label",
)


def read_metrics(path: Path) -> tuple[Lines, Lines]:
    """Reads the "eval" and the "lambda" lines of metrics.jsonl.

    Returns:
      (evals, lambdas), each in order of strictly increasing "step"; at least one evaluation.

    Raises:
      RunError: unreadable, a broken line (named by number), steps out of order, no evaluation.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(f"{path.name} cannot be read: {reason}") from error
    kinds: dict[str, list[Mapping[str, Any]]] = {"eval": [], "lambda": []}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            _sort_in(line, f"{path.name} line {number}", kinds)
    if not kinds["eval"]:
        raise RunError(f"{path.name} holds no evaluation")
    return tuple(kinds["eval"]), tuple(kinds["lambda"])


def _sort_in(text: str, where: str, kinds: dict[str, list[Mapping[str, Any]]]) -> None:
    line = validation.parse_object(text, where)
    kind = line.get("kind")
    if kind not in ("eval", "lambda"):
        return
    fields = validation.EVAL_FIELDS if kind == "eval" else validation.LAMBDA_FIELDS
    validation.check_fields(line, fields, where)
    validation.check_histogram(line.get("lam_histogram"), where)
    if kinds[kind] and line["step"] <= kinds[kind][-1]["step"]:
        raise RunError(f"{where}: step {line['step']} of kind {kind!r} is doubled or out of order")
    kinds[kind].append(line)


def read_example_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads the columns of example_weights.parquet that the report uses, sorted by id.

    Returns:
      {"id", "lam", "visits", "pseudo_label", "confidence", "loss", "true_label"}, each [|U|], and
      "group" (text) where the run knew groups, "text" where the examples are texts.

    Raises:
      RunError: unreadable, a column missing, a doubled id, or a λ that is not finite.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        kinds = dict(WEIGHT_COLUMNS)
        present = pq.read_schema(path).names
        kinds |= {
            name: kind for name, kind in (("group", str), ("text", object)) if name in present
        }
        frame = pd.read_parquet(path, columns=list(kinds), engine="pyarrow")
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


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in names}
    # The zip layer has its own ways to fail on a damaged file; none of them is our mistake.
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        AttributeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).replace(str(path), path.name)
        raise RunError(f"{path.name} cannot be read: {reason}") from error


def read_extreme_examples(path: Path) -> dict[str, np.ndarray]:
    """Reads the most down- and up-weighted images: ids [n] and images [n, H, W, C] uint8.

    Raises:
      RunError: unreadable, or arrays of other shapes or types.
    """
    arrays = _read_arrays(path, EXTREME_ARRAYS)
    for side in ("down", "up"):
        ids, images = arrays[f"{side}_ids"], arrays[f"{side}_images"]
        shaped = images.ndim == 4 and images.shape[-1] in (1, 3) and min(images.shape[1:]) > 0
        if images.dtype != np.uint8 or not shaped or ids.shape != images.shape[:1]:
            raise RunError(
                f"{path.name}: `{side}_images` must be uint8 [n, H, W, 1 or 3] with n ids. "
                f"Received: {images.dtype} {images.shape} with ids {ids.shape}"
            )
    return arrays


def read_snapshots(path: Path) -> dict[str, np.ndarray]:
    """Reads the toy snapshots; shapes as in the run format, P(class 1) on a grid [K, G_y, G_x].

    Raises:
      RunError: unreadable, shapes that do not fit together, or values that are not finite.
    """
    arrays = _read_arrays(path, SNAPSHOT_ARRAYS)
    count, points = len(np.atleast_1d(arrays["iterations"])), arrays["unlabeled"].shape[:1]
    grid = (*arrays["grid_y"].shape, *arrays["grid_x"].shape)
    expected = {
        "iterations": (count,),
        "probability": (count, *grid),
        "lam": (count, *points),
        "unlabeled": (*points, 2),
        "unlabeled_label": points,
        "labeled": (*arrays["labeled_label"].shape, 2),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise RunError(
                f"{path.name}: `{name}` must have shape {shape}. Received: {arrays[name].shape}"
            )
    if count == 0 or len(grid) != 2 or min(grid) < 2:
        raise RunError(f"{path.name} holds no snapshot on a grid of at least 2 x 2")
    for name, values in arrays.items():
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise RunError(f"{path.name}: `{name}` must hold finite numbers")
    if np.any(np.diff(arrays["grid_x"]) <= 0) or np.any(np.diff(arrays["grid_y"]) <= 0):
        raise RunError(f"{path.name}: the grid must be increasing")
    return arrays
