"""Divide the labels into folds: each validates a model that learns from the others."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.numbers import check_whole

_FOLDS = 5  # keeps their stream of a seed apart from those of `splits`


def cross_fit_folds(splits: DataSplits, seed: int, folds: int = 2) -> tuple[DataSplits, ...]:
    """Return the splits `folds` times, each with one fold of D as V and the other folds as D.

    The examples of a class are dealt to the folds in turn, in an order drawn by `seed`; each class
    begins where the last one ended. So the folds differ by one example at most, in all and of each
    class, and no class is missing from the labels of any. U and the test set stay; V is left out.

    Args:
        splits: D, U, V and the test set.
        seed: of the order, from 0.
        folds: K, from 2 to the number of labels.

    Raises:
        ValueError: `folds` out of range, or a class with fewer than two labels, all of which one
            fold would hold.
    """
    labels = splits.labeled.labels
    check_whole("folds", folds, 2)
    counts = np.bincount(labels, minlength=splits.num_classes)
    few = [f"{name} ({n})" for name, n in zip(splits.class_names, counts, strict=True) if n < 2]
    if few:
        raise ValueError(
            "`num_labeled` must give every class at least two labels, or without one fold a class "
            f"had none. Received: fewer of {', '.join(few)}. Ask for more labels."
        )
    if folds > len(labels):
        raise ValueError(
            "`folds` must be at most the number of labels, one for each fold. Received: "
            f"folds={folds} with {len(labels)} labels. Lower it, or ask for more labels."
        )
    order = np.random.RandomState([_FOLDS, seed]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = []
    for held in reversed(range(folds)):  # the first model learns from the first of two folds
        inside = np.zeros(len(labels), bool)
        inside[order[held::folds]] = True
        labeled, fold = splits.labeled.take(~inside), splits.labeled.take(inside).loaded()
        found.append(dataclasses.replace(splits, labeled=labeled, validation=fold))
    return tuple(found)
