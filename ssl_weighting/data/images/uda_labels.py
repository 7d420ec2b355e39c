"""The labeled sets of UDA's own experiments, for runs that are to stand beside its numbers."""

from __future__ import annotations

import numpy as np

from ssl_weighting.data.class_profile import greedy_rows

LABELED_SETS = ("drawn", "uda", "uda_balanced")
UDA_SETS_OF = {"uda": ("cifar10", "svhn_cropped"), "uda_balanced": ("cifar10",)}


def uda_labeled_rows(
    labeled_set: str,
    dataset: str,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    num_labeled: int,
) -> np.ndarray:
    """Return the rows of the training set that UDA labels.

    They depend on no seed: UDA's runs differ in their training alone.

    Args:
        labeled_set: "uda", of CIFAR-10 the first rows in the order of its files, of SVHN (without
            the extra part) the first of one permutation; or "uda_balanced", UDA's option for
            CIFAR-10: the first rows of each class.
        dataset: one that UDA has such a set of.
        labels: [n] int, of the whole training set in the order of its files.
        class_names: C names, for errors.
        num_labeled: rows to take, at most n.

    Returns:
        [num_labeled] int64 rows, in UDA's order; balanced ones ascending.

    Raises:
        ValueError: UDA has no such set, or a class has too few rows for the balanced one.

    Source: UDA's preprocessing of images.
    """
    if dataset not in UDA_SETS_OF[labeled_set]:
        raise ValueError(
            f"labeled_set={labeled_set} is one of {' and '.join(UDA_SETS_OF[labeled_set])}. "
            f"Received: {dataset}. Have the labels drawn."
        )
    if labeled_set == "uda_balanced":
        return greedy_rows(labels, class_names, num_labeled, None, "num_labeled", balanced=True)
    if dataset == "svhn_cropped":
        return np.random.RandomState(0).permutation(len(labels))[:num_labeled]
    return np.arange(len(labels))[:num_labeled]
