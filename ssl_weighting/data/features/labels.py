"""Rows, labels and unlabeled rows as scikit-learn's callers give them, as a set of features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset

UNLABELED = -1  # in `y`, as in `sklearn.semi_supervised`


class LabeledRows(NamedTuple):
    """Labels taken apart.

    Attributes:
        labeled: [n] bool, the rows of `y` that have a label.
        classes: [C] the labels, sorted, in their own dtype.
        codes: [labeled.sum()] int32, their places in `classes`.
    """

    labeled: np.ndarray
    classes: np.ndarray
    codes: np.ndarray


def labeled_rows(y: np.ndarray, all_labeled: bool) -> LabeledRows:
    """Return which rows have labels, and these.

    Args:
        y: [n] labels of any kind that sorts; -1 marks a row without one, in an array of strings
            too, which then has dtype object.
        all_labeled: -1 is a class like any other.

    Raises:
        ValueError: fewer than two classes; labels that are missing or cannot be sorted; strings
            "-1".
    """
    _refuse_missing(y)
    labeled = np.ones(len(y), bool) if all_labeled else ~marked(y)
    if not labeled.any():
        raise ValueError(
            "`y` must have labels of at least two classes. Received: -1, unlabeled, for all "
            f"{len(y)} rows. Label some of each class."
        )
    try:
        classes, codes = np.unique(y[labeled], return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"`y` must have labels of one kind. Received: {error}. Store all as strings."
        ) from error
    if len(classes) < 2:
        marks = "" if labeled.all() else ", and -1, which marks rows without a label"
        raise ValueError(
            "`y` must have labels of at least two classes. Received: one class, "
            f"{classes.tolist()[0]!r}{marks}. Add labels of another one."
        )
    return LabeledRows(labeled, classes, codes.astype(np.int32))


def marked(y: np.ndarray) -> np.ndarray:
    """Return [n] bool: which entries of `y` are the mark of an unlabeled row.

    Raises:
        ValueError: `y` are strings and one of them is "-1"; a label is missing.
    """
    if y.dtype.kind in "US":
        if np.any(y == y.dtype.type(UNLABELED)):
            raise ValueError(
                '`y` must mark unlabeled rows with the number -1. Received: the string "-1". '
                "Build it as an array of objects, `np.array([...], dtype=object)`."
            )
        return np.zeros(len(y), bool)
    if y.dtype.kind == "O":
        _refuse_missing(y)
        return np.array([not isinstance(v, str | bytes) and v == UNLABELED for v in y], bool)
    return y == UNLABELED


def _refuse_missing(y):
    missing = [value for value in y if value is None or value != value] if y.dtype == object else ()
    if missing:
        raise ValueError(
            "`y` must have no missing entries: the number -1 marks a row without a label. "
            f"Received: {missing[0]}."
        )


def codes_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return [n] int32: the places of labels `y` among sorted `classes`.

    Raises:
        ValueError: one is not among them.
    """
    places = {label: k for k, label in enumerate(classes.tolist())}
    foreign = [label for label in y.tolist() if label not in places]
    if foreign:
        raise ValueError(
            f"`validation` must have labels among those of `y`, {classes.tolist()}. "
            f"Received: {foreign[0]!r}."
        )
    return np.array([places[label] for label in y.tolist()], np.int32)


def as_dataset(
    x: np.ndarray,
    codes: np.ndarray,
    classes: np.ndarray,
    x_unlabeled: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None,
) -> RawDataset:
    """Return a set of features without a test part: the training rows stand in for it.

    Exact copies count as one example, as in people's own files of features, but for two labels of
    one example: both are taken as they are.

    Args:
        x: [n, d] float32, with `codes` [n] int32 of `classes` [C].
        x_unlabeled: [m, d] float32, m may be 0.
        validation: V's rows [v, d] float32 and codes [v] int32; None to draw V.
    """
    train = Examples(x, codes)
    unlabeled = Examples(x_unlabeled, np.full(len(x_unlabeled), UNKNOWN, np.int32))
    return RawDataset(
        "arrays",
        train,
        train,
        tuple(str(k) for k in range(len(classes))),
        "arrays",
        unlabeled=unlabeled if len(x_unlabeled) else None,
        validation=None if validation is None else Examples(*validation),
        copies_are_one=True,
    )
