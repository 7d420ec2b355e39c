"""A user's own labeled set as arrays by key, x_train, y_train, ...: which there are, what fits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples

PARTS = ("train", "test", "unlabeled", "validation")
_REQUIRED = ("x_train", "y_train")
_PAIRS = (("x_test", "y_test"), ("x_validation", "y_validation"))
_OPTIONAL = ("x_test", "y_test", "x_unlabeled", "x_validation", "y_validation", "class_names")
NAMES = tuple(f"names_{part}" for part in PARTS)


def check_keys(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], more: tuple[str, ...] = ()
) -> None:
    """Check that every array that a set must have is there, and no other one.

    Args:
        path: for errors.
        arrays: by key.
        more: further keys that there may be.

    Raises:
        ValueError: a key is missing or unknown.
    """
    missing = [key for key in _REQUIRED if key not in arrays]
    for pair in _PAIRS:
        if any(key in arrays for key in pair):
            missing += [key for key in pair if key not in arrays]
    unknown = sorted(set(arrays) - {*_REQUIRED, *_OPTIONAL, *more})
    if missing or unknown:
        raise ValueError(
            f"{path} must have the keys {', '.join(_REQUIRED)} and may have "
            f"{', '.join((*_OPTIONAL, *more))}. Received: {sorted(arrays)}; missing {missing}, "
            f"unknown {unknown}. Rename or add them."
        )


def labeled_parts(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    inputs_of: Callable[[str], np.ndarray],
) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """Return the parts that a set has, and the names of its classes ("0", "1", ... by default).

    Args:
        path: for errors.
        arrays: by key, which `check_keys` has passed; labels are integers [n] or [n, 1],
            `class_names` [C] strings.
        inputs_of: part -> its inputs, checked.

    Raises:
        ValueError: an array of labels or names does not fit.
    """
    parts = {}
    for part in PARTS:
        if f"x_{part}" in arrays:
            inputs = inputs_of(part)
            parts[part] = Examples(inputs, _labels(path, part, arrays, len(inputs)))
    return parts, _class_names(path, arrays, parts["train"])


def described(array: np.ndarray) -> str:
    """Return dtype, shape and range of an array, in words."""
    text = f"{array.dtype.name}{list(array.shape)}"
    if array.dtype.kind not in "iuf" or not array.size:
        return text
    return f"{text} with values from {array.min():g} to {array.max():g}"


def _labels(path, part, arrays, count) -> np.ndarray:
    if part == "unlabeled":
        return np.full(count, UNKNOWN, np.int32)
    labels = arrays[f"y_{part}"]
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        hint = f" For one-hot rows store `y_{part}.argmax(axis=1)`." if one_hot else ""
        raise ValueError(
            f"`y_{part}` in {path} must be integers [{count}], one for each of `x_{part}`. "
            f"Received: {labels.dtype.name}{list(labels.shape)}.{hint}"
        )
    _check_labels(path, part, labels, arrays["y_train"])
    return labels.reshape(-1).astype(np.int32)


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
        hint = (
            "-1 is no class: examples of unknown class belong into `x_unlabeled`, without labels."
        )
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
