"""Read a user's own images from one .npz file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ssl_weighting.data.array_files import read_npz
from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset, base_name
from ssl_weighting.data.images.own import own_dataset

_REQUIRED = ("x_train", "y_train")
_PAIRS = (("x_test", "y_test"), ("x_validation", "y_validation"))
_OPTIONAL = ("x_test", "y_test", "x_unlabeled", "x_validation", "y_validation", "class_names")


def load_npz(path: str | os.PathLike) -> RawDataset:
    """Return the set in a file written with `np.savez`.

    Keys: x_train, y_train; optional x_test with y_test (without them, a fifth of the training
    images is held out, see `own_dataset`), x_unlabeled, x_validation with y_validation, class_names
    [C] strings (default: "0", "1", ...). Images are uint8 [n, H, W] or [n, H, W, C] with C = 1 or
    3, labels integers [n] or [n, 1]. Pickled objects are refused.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, a key is missing or unknown, or an array does not fit.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`dataset` must name a file as npz:PATH. Received: npz:{path}, which is not there."
        )
    arrays = read_npz(path)
    _check_keys(path, arrays)
    parts = {
        part: _examples(path, part, arrays)
        for part in ("train", "test", "unlabeled", "validation")
        if f"x_{part}" in arrays
    }
    return own_dataset(
        Path(path).stem,
        parts,
        _class_names(path, arrays, parts["train"]),
        f"file {base_name(path)}",
        lambda part, row: f"x_{part}[{row}]",
    )


def as_images(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of images as uint8 [n, H, W, C] with C = 1 or 3; grey ones may lack the C.

    Args:
        array: of a file, for training or for prediction.
        name: of it, for errors.

    Raises:
        ValueError: it is something else; says how it becomes what is asked for.
    """
    images = array[..., np.newaxis] if array.ndim == 3 else array
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} must be uint8 [n, H, W] or [n, H, W, C] with C = 1 or 3. "
            f"Received: {_described(array)}. {_conversion(images)}"
        )
    return images


def _check_keys(path, arrays) -> None:
    missing = [key for key in _REQUIRED if key not in arrays]
    for pair in _PAIRS:
        if any(key in arrays for key in pair):
            missing += [key for key in pair if key not in arrays]
    unknown = sorted(set(arrays) - {*_REQUIRED, *_OPTIONAL})
    if missing or unknown:
        raise ValueError(
            f"{path} must have the keys {', '.join(_REQUIRED)} and may have "
            f"{', '.join(_OPTIONAL)}. Received: {sorted(arrays)}; missing {missing}, unknown "
            f"{unknown}. Rename or add them."
        )


def _examples(path, part, arrays) -> Examples:
    images = as_images(arrays[f"x_{part}"], f"`x_{part}` in {path}")
    if part == "unlabeled":
        return Examples(images, np.full(len(images), UNKNOWN, np.int32))
    labels = arrays[f"y_{part}"]
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        hint = f" For one-hot rows store `y_{part}.argmax(axis=1)`." if one_hot else ""
        raise ValueError(
            f"`y_{part}` in {path} must be integers [{len(images)}], one for each of `x_{part}`. "
            f"Received: {labels.dtype.name}{list(labels.shape)}.{hint}"
        )
    _check_labels(path, part, labels, arrays["y_train"])
    return Examples(images, labels.reshape(-1).astype(np.int32))


def _described(array: np.ndarray) -> str:
    text = f"{array.dtype.name}{list(array.shape)}"
    if array.dtype.kind not in "iuf" or not array.size:
        return text
    return f"{text} with values from {array.min():g} to {array.max():g}"


def _conversion(images: np.ndarray) -> str:
    """Return how such an array becomes what is asked for."""
    if images.ndim != 4 or images.dtype.kind not in "iuf" or not images.size:
        return "Store one array of images of one size."
    if images.shape[3] not in (1, 3):
        first = images.shape[1] in (1, 3)
        moved = "Store `x.transpose(0, 2, 3, 1)`: the channels come last."
        return moved if first else "Store grey images or RGB, without transparency."
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return "For values in [0, 1] store `np.rint(255 * x).astype('uint8')`."
    if low >= 0 and high <= 255:
        return "Store `np.rint(x).astype('uint8')`."
    return (
        "Scale them from their range, such as -1 to 1 or 0 to 65535, to 0 to 255, and store "
        "`np.rint(...).astype('uint8')`."
    )


def _check_labels(path, part, labels, train_labels) -> None:
    """Check that labels are 0, 1, ... with no class left out of the training set."""
    if not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    # The number of examples also keeps a stray label from asking for a billion classes.
    classes = np.unique(train_labels)
    gaps = part == "train" and len(classes) != high + 1
    if low >= 0 and high < len(train_labels) and not gaps:
        return
    hint = "Renumber them: `np.searchsorted(np.unique(y_train), y)` for the y of every part."
    if low < 0:
        hint = "-1 is no class: images of unknown class belong into `x_unlabeled`, without labels."
    elif low == 1:
        hint = "Renumber them: classes count from 0. Store `y - 1` for the y of every part."
    raise ValueError(
        f"`y_{part}` in {path} must be classes 0, 1, ... that all have training examples. "
        f"Received: {labels.dtype.name} labels from {low} to {high}"
        f"{f', {len(classes)} different ones' if part == 'train' else ''}. {hint}"
    )


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
