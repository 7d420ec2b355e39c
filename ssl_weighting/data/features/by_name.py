"""Feature sets by name: a user's own arrays, such as what a frozen backbone makes of examples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import Examples, RawDataset, base_name, row_names
from ssl_weighting.data.features.files import InputRows, input_rows, read_arrays
from ssl_weighting.data.keyed_arrays import NAMES, check_keys, described, labeled_parts
from ssl_weighting.data.names import printable
from ssl_weighting.data.own import own_dataset

KIND = "features"  # of KIND:PATH
_WITH_VIEWS = ("train", "unlabeled")  # the parts that U is made of


def load_features(dataset: str) -> RawDataset:
    """Return the set in a .npz or .parquet file or a folder of .npy files, see `read_arrays`.

    Keys: x_train, y_train; optional x_test with y_test (without them, a fifth of the training
    examples is held out, see `own_dataset`), x_unlabeled, x_validation with y_validation,
    class_names [C] strings, names_train, names_test, ... (what examples are called, strings; by
    default "x_train[0]", ...). Features are floats [n, d], kept as float32. x_train and x_unlabeled
    may be [n, 1 + K, d]: the features, which are the weak view, and K strong views of them; where
    only one of the two has views, those of the other are the features themselves.

    Args:
        dataset: features:PATH.

    Raises:
        FileNotFoundError: there is nothing at PATH.
        ValueError: a file is damaged, a key is missing or unknown, or an array does not fit.
    """
    check_features(dataset)
    path = dataset.partition(":")[2]
    parts, class_names = features_by_part(path, read_arrays(path))
    return own_dataset(
        Path(path).stem,
        parts,
        class_names,
        f"{'folder' if os.path.isdir(path) else 'file'} {base_name(path)}",
        rows="examples",
    )


def features_by_part(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """Return the parts of a set, and the names of its classes.

    Args:
        path: for errors.
        arrays: by key, see `load_features`.

    Raises:
        ValueError: a key is missing or unknown, or an array does not fit.
    """
    check_keys(path, arrays, NAMES)
    stacks = {
        p: _stack(path, f"x_{p}", arrays[f"x_{p}"]) for p in _WITH_VIEWS if f"x_{p}" in arrays
    }
    stacks = _alike(path, stacks)

    def inputs_of(part):
        if part in stacks:
            return np.ascontiguousarray(stacks[part][:, 0])
        return _checked(path, f"x_{part}", arrays[f"x_{part}"])

    parts, class_names = labeled_parts(path, arrays, inputs_of)
    names = {part: _names(path, part, arrays, len(one)) for part, one in parts.items()}
    _check_different(path, names)
    for part, one in parts.items():
        views = stacks[part][:, 1:] if part in stacks and stacks[part].shape[1] > 1 else None
        parts[part] = dataclasses.replace(one, names=names[part], views=views)
    return parts, class_names


def check_features(dataset: str, data_dir: str | os.PathLike | None = None) -> None:
    """Check what `load_features` is to load, before anything is read.

    Raises:
        FileNotFoundError: there is nothing at PATH.
        ValueError: it is no features:PATH, or `data_dir` is given.
    """
    kind, _, path = dataset.partition(":")
    if kind != KIND or not path:
        raise ValueError(f"`dataset` must be {KIND}:PATH. Received: dataset={dataset!r}.")
    if data_dir is not None:
        raise ValueError(
            f"`data_dir` must be left out for {KIND}:PATH, which names its file. "
            f"Received: data_dir={os.fspath(data_dir)!r}."
        )
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"`dataset` must name a file or a folder. Received: {dataset}, which is not there."
        )


def new_features(path: str | os.PathLike, size: int) -> InputRows:
    """Return new examples to label, their features float32 [m, size] block by block.

    Args:
        path: of a .npz or .parquet file, or a folder of .npy files, see `input_rows`.
        size: numbers that each example must have.

    Raises:
        ValueError: it is damaged, has no examples, or they do not fit. So do the blocks.
    """
    rows = input_rows(path)
    for _, first in rows.blocks(1):
        _check_vectors(path, "x", first)
        break
    if rows.shape[1:] != (size,) or not rows.shape[0]:
        raise ValueError(
            f"`x` in {path} must be [n, {size}] with n > 0, as this model was trained on {size} "
            f"features. Received: {list(rows.shape)}"
        )

    def blocks(count):
        for names, found in rows.blocks(count):
            with np.errstate(over="ignore"):  # `check_finite` tells
                yield [printable(name) for name in names], found.astype(np.float32, copy=False)

    return rows._replace(blocks=blocks)


def check_finite(path: str | os.PathLike, rows: InputRows, block: int) -> None:
    """Read all of `new_features` once, which compares checksums too.

    Args:
        path: of the file.
        rows: as of `new_features`.
        block: rows in memory at once.

    Raises:
        ValueError: numbers are not finite, or the file is damaged.
    """
    bad, start = [], 0
    for _, found in rows.blocks(block):
        bad += [start + row for row in np.flatnonzero(~np.isfinite(found).all(axis=1))]
        start += len(found)
    _refuse_rows(path, "x", bad, start)


def _checked(path, name, features) -> np.ndarray:
    """Return floats [n, d] as float32."""
    _check_vectors(path, name, features)
    return _stack(path, name, features)[:, 0]


def _check_vectors(path, name, features) -> None:
    if features.ndim != 2:
        raise ValueError(
            f"`{name}` in {path} must be floats [n, d]. Received: {described(features)}. "
            f"{_conversion(features)}"
        )
    _check_floats(path, name, features)


def _stack(path, name, features) -> np.ndarray:
    """Return [n, 1 + K, d] float32."""
    _check_floats(path, name, features)
    with np.errstate(over="ignore"):  # told below
        narrow = features.astype(np.float32, copy=False)
    stack = narrow[:, np.newaxis] if features.ndim == 2 else narrow
    bad = np.flatnonzero(~np.isfinite(stack).all(axis=(1, 2)))
    _refuse_rows(path, name, bad, len(stack))
    return stack


def _check_floats(path, name, features) -> None:
    if features.dtype.kind != "f" or features.ndim not in (2, 3) or 0 in features.shape[1:]:
        raise ValueError(
            f"`{name}` in {path} must be floats [n, d], or [n, 1 + K, d] with K views of each. "
            f"Received: {described(features)}. {_conversion(features)}"
        )


def _refuse_rows(path, name, bad, count) -> None:
    """Refuse features of which the rows `bad` are not finite."""
    if len(bad):
        raise ValueError(
            f"`{name}` in {path} must be finite in float32. Received: NaN or infinity in "
            f"{len(bad)} of {count} rows, the first is row {bad[0]}. Remove or mend them."
        )


def _alike(path, stacks) -> dict[str, np.ndarray]:
    """Return the stacks with as many views each, repeated where there are none."""
    counts = {part: stack.shape[1] for part, stack in stacks.items()}
    most = max(counts.values())
    if set(counts.values()) - {1, most}:
        raise ValueError(
            f"`x_train` and `x_unlabeled` in {path} must have as many views, or one of them none. "
            f"Received: {counts['train'] - 1} and {counts['unlabeled'] - 1}."
        )
    return {p: np.repeat(x, most, axis=1) if x.shape[1] < most else x for p, x in stacks.items()}


def _conversion(features) -> str:
    """Return how such an array becomes what is asked for."""
    if features.dtype.kind in "iu" and features.ndim == 4:
        return "Images are trained on as --dataset=npz:FILE."
    if features.dtype.kind in "iub" and features.ndim == 2:
        return "Store `x.astype('float32')`."
    return "Store one row of numbers an example, such as `x.reshape(len(x), -1)`."


def _names(path, part, arrays, count) -> np.ndarray:
    names = arrays.get(f"names_{part}")
    if names is None:
        names = row_names(f"x_{part}", count)
    if names.dtype.kind not in "UO" or names.shape != (count,):
        raise ValueError(
            f"`names_{part}` in {path} must be an array of strings [{count}], one for each of "
            f"`x_{part}`. Received: {names.dtype.name}{list(names.shape)}."
        )
    return np.array([printable(str(name)) for name in names], object)


def _check_different(path, names) -> None:
    first: dict[str, str] = {}
    for part, ones in names.items():
        for row, name in enumerate(ones):
            here = f"x_{part}[{row}]"
            if first.setdefault(name, here) != here:
                raise ValueError(
                    f"The names of examples in {path} must be different. Received: {name!r} for "
                    f"{first[name]} and {here}. Rename one, or leave out the names."
                )
