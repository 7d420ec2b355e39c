"""Reads people's own images out of one .npz file."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset, base_name

_REQUIRED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = ("x_unlabeled", "x_validation", "y_validation", "class_names")


def load_npz(path: str | os.PathLike) -> RawDataset:
    """Return the set in a file written with `np.savez`.

    Keys: x_train, y_train, x_test, y_test; optional x_unlabeled, x_validation with y_validation,
    class_names [C] strings (default: "0", "1", ...). Images are uint8 [n, H, W] or [n, H, W, C]
    with C = 1 or 3, labels integers [n] or [n, 1]. Pickled objects are refused.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, a key is missing or unknown, or an array does not fit.
    """
    arrays = _read(path)
    _check_keys(path, arrays)
    parts = {
        part: _examples(path, part, arrays)
        for part in ("train", "test", "unlabeled", "validation")
        if f"x_{part}" in arrays
    }
    names = _class_names(path, arrays, parts["train"])
    return RawDataset(Path(path).stem, class_names=names, source=f"file {base_name(path)}", **parts)


def _read(path) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`dataset` must name a file as npz:PATH. Received: npz:{path}, which is not there."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    # TypeError: a bare array, from np.save, cannot be entered.
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be an .npz file of plain arrays, without pickled objects. "
            f"Received: {error}. Write it with `np.savez(path, x_train=..., ...)`."
        ) from error


def _check_keys(path, arrays) -> None:
    missing = [key for key in _REQUIRED if key not in arrays]
    if ("x_validation" in arrays) != ("y_validation" in arrays):
        missing += [key for key in ("x_validation", "y_validation") if key not in arrays]
    unknown = sorted(set(arrays) - {*_REQUIRED, *_OPTIONAL})
    if missing or unknown:
        raise ValueError(
            f"{path} must have the keys {', '.join(_REQUIRED)} and may have "
            f"{', '.join(_OPTIONAL)}. Received: {sorted(arrays)}; missing {missing}, unknown "
            f"{unknown}. Rename or add them."
        )


def _examples(path, part, arrays) -> Examples:
    images = arrays[f"x_{part}"]
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        received = f"{images.dtype.name}{list(arrays[f'x_{part}'].shape)}"
        raise ValueError(
            f"`x_{part}` in {path} must be uint8 [n, H, W] or [n, H, W, C] with C = 1 or 3. "
            f"Received: {received}. For values in [0, 1] store `np.rint(255 * x).astype('uint8')`."
        )
    if part == "unlabeled":
        return Examples(images, np.full(len(images), UNKNOWN, np.int32))
    labels = arrays[f"y_{part}"]
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
        raise ValueError(
            f"`y_{part}` in {path} must be integers [{len(images)}], one for each of `x_{part}`. "
            f"Received: {labels.dtype.name}{list(labels.shape)}."
        )
    # Also keeps a stray label from asking for a billion classes.
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < len(arrays["y_train"]):
        raise ValueError(
            f"`y_{part}` in {path} must be classes 0, 1, ... that all have training examples. "
            f"Received: labels from {labels.min()} to {labels.max()}. Renumber them."
        )
    return Examples(images, labels.reshape(-1).astype(np.int32))


def _class_names(path, arrays, train: Examples) -> tuple[str, ...]:
    if "class_names" not in arrays:
        return tuple(str(c) for c in range(int(train.labels.max(initial=-1)) + 1))
    names = arrays["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise ValueError(
            f"`class_names` in {path} must be an array of strings [C]. "
            f"Received: {names.dtype.name}{list(names.shape)}."
        )
    return tuple(names.tolist())
