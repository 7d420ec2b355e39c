"""The files of a run folder one by one: how each is written and read, and what it must hold.

Nothing half written is left behind by a writer; a reader returns checked plain values or raises
`RunError`, and executes nothing that it reads (no pickles). Without TensorFlow.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import replacing, write_atomically
from ssl_weighting.data.names import printable

Arrays = Mapping[str, np.ndarray]
# What a run writes into its folder, beside its checkpoints.
FILES = frozenset({
    "config.json", "metrics.jsonl", "summary.json", "example_weights.parquet",
    "extreme_examples.npz", "snapshots.npz", "lambda_history.npz", "timing.jsonl", "tensorboard",
    "model.keras", "scorer", "skipped.csv",
})  # fmt: skip
EXTREME_ARRAYS = ("down_ids", "down_images", "up_ids", "up_images")
SNAPSHOT_ARRAYS = (
    "iterations", "grid_x", "grid_y", "probability", "lam", "unlabeled", "unlabeled_label",
    "labeled", "labeled_label",
)  # fmt: skip


class RunError(ValueError):
    """A run's file that cannot be used; the message names the file and the reason."""


class Kind(NamedTuple):
    """What a value of a JSON file must be; annotates the fields of the schemas in `record`."""

    fits: Callable[[Any], bool]
    words: str


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _between(low, high):
    def fits(value):
        # Comparisons alone: they are safe for huge integers and false for NaN.
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        )

    return fits


def _list_of(fits):
    return lambda value: isinstance(value, list) and all(map(fits, value))


_is_number = _between(-1e300, 1e300)


def _is_histogram(value):
    parts = value if isinstance(value, dict) else {}
    edges, counts = parts.get("edges"), parts.get("counts")
    return (
        _list_of(_is_number)(edges)
        and _list_of(_between(0, 1e300))(counts)
        and len(edges) == len(counts) + 1 >= 2
        and bool(np.all(np.diff(edges) > 0))
    )


Text = Annotated[str, Kind(lambda value: isinstance(value, str), "text")]
Flag = Annotated[bool, Kind(lambda value: isinstance(value, bool), "true or false")]
Count = Annotated[int, Kind(_is_count, "a whole number")]
Number = Annotated[float, Kind(_is_number, "a number")]
Percent = Annotated[float, Kind(_between(0.0, 100.0), "a number in [0, 100]")]
Share = Annotated[float, Kind(_between(0.0, 1.0), "a number in [0, 1]")]
Object = Annotated[dict, Kind(lambda value: isinstance(value, dict), "an object")]
Texts = Annotated[list, Kind(_list_of(lambda value: isinstance(value, str)), "a list of texts")]
Objects = Annotated[list, Kind(_list_of(lambda one: isinstance(one, dict)), "a list of objects")]
Counts = Annotated[list, Kind(_list_of(_is_count), "a list of whole numbers")]
Numbers = Annotated[list, Kind(_list_of(_is_number), "a list of numbers")]
Histogram = Annotated[dict, Kind(_is_histogram, "an object of k + 1 increasing edges and k counts")]


@functools.cache
def kinds_of(schema: type) -> dict[str, Kind]:
    """Return name -> kind of a schema: a class whose fields are annotated by `Kind`, or by | None.

    Args:
        schema: a dataclass or a TypedDict.
    """
    hints = typing.get_type_hints(schema, include_extras=True)
    return {name: _kind(hint) for name, hint in hints.items()}


def _kind(hint) -> Kind:
    if hasattr(hint, "__metadata__"):
        return hint.__metadata__[0]
    kind = _kind(typing.get_args(hint)[0])
    return Kind(lambda value: value is None or kind.fits(value), f"{kind.words} or null")


def check_fields(values: Mapping[str, Any], schema: type, where: str) -> None:
    """Compare an object with its schema; a missing field has the schema's default, or null.

    Raises:
        RunError: names the file, the first field that is wrong, and what it must be.
    """
    for name, kind in kinds_of(schema).items():
        value = values.get(name, getattr(schema, name, None))
        if not kind.fits(value):
            received = repr(value)[:60]
            raise RunError(f"{where}: `{name}` must be {kind.words}. Received: {name}={received}")


def parse_object(text: str, where: str) -> dict[str, Any]:
    """Parse one JSON object; NaN and Infinity are refused.

    Raises:
        RunError: not JSON, not an object, or with a non-finite constant.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{where} must hold a JSON object. Received: {type(value).__name__}")
    return _printable(value) if "\\ud" in text.lower() else value


def _printable(value):
    """Return the value with `printable` texts: a JSON file holds some that no page can hold."""
    if isinstance(value, dict):
        return {printable(key): _printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return printable(value) if isinstance(value, str) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def read_text(path: Path) -> str:
    """Return a text file of a run.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # Without the path: reports are shared, and folders of one's machine are nobody's business.
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(f"{path.name} cannot be read: {reason}") from error


def is_metrics(path: Path) -> bool:
    """Return whether each line of a file is one of metrics.jsonl; the last may be cut short."""
    if not path.exists():
        return True
    try:
        *whole, rest = path.read_bytes().decode().split("\n")
        lines = [parse_object(text, path.name) for text in whole]
    except (OSError, UnicodeDecodeError, RunError):
        return False
    begins = '{"kind": "'
    ours = begins.startswith(rest) or rest.startswith(begins)
    return ours and all(isinstance(x.get("kind"), str) and _is_count(x.get("step")) for x in lines)


def read_object(path: Path, schema: type) -> dict[str, Any]:
    """Return a checked JSON file.

    Raises:
        RunError: unreadable, or not of the schema.
    """
    values = parse_object(read_text(path), path.name)
    check_fields(values, schema, path.name)
    return values


def write_object(path: Path, values: Mapping[str, Any], schema: type) -> None:
    """Write a JSON file; what is written can be read.

    Raises:
        RunError: a field is not of the schema, or unknown to it.
        OSError: it cannot be written.
    """
    check_fields(values, schema, path.name)
    unknown = values.keys() - kinds_of(schema).keys()
    if unknown:
        raise RunError(f"{path.name}: unknown to its schema: {', '.join(sorted(unknown))}")
    write_atomically(path, json.dumps(values, indent=1, allow_nan=False))


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in names}
    except DAMAGE as error:
        reason = str(error).replace(str(path), path.name)
        raise RunError(f"{path.name} cannot be read: {reason}") from error


def write_extreme_examples(path: Path, arrays: tuple[np.ndarray, ...]) -> None:
    """Write extreme_examples.npz, the arrays in order of `EXTREME_ARRAYS`."""
    with replacing(path) as temporary:
        np.savez(temporary, **dict(zip(EXTREME_ARRAYS, arrays, strict=True)))


def read_extreme_examples(path: Path) -> dict[str, np.ndarray]:
    """Return the most harmful (down) and helpful images: ids [n] and images [n, H, W, C] uint8.

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


def write_snapshots(path: Path, arrays: tuple[np.ndarray, ...]) -> None:
    """Write snapshots.npz, the arrays in order of `SNAPSHOT_ARRAYS`."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **dict(zip(SNAPSHOT_ARRAYS, arrays, strict=True)))


def read_snapshots(path: Path) -> dict[str, np.ndarray]:
    """Return the toy snapshots, with P(class 1) on a grid [K, G_y, G_x].

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
