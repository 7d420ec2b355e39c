"""The labeled sets of UDA's own experiments, for runs that are to stand beside its numbers."""

from __future__ import annotations

import numpy as np

LABELED_SETS = ("drawn", "uda", "uda_balanced")
UDA_DATASETS = ("cifar10", "svhn_cropped")


def uda_labeled_rows(
    dataset: str, labels: np.ndarray, num_labeled: int, balanced: bool = False
) -> np.ndarray:
    """Returns the rows of the training set that UDA labels.

    They depend on no seed: UDA's runs differ in their training alone.

    Args:
      dataset: of `UDA_DATASETS`. CIFAR-10: the first rows in the order of its files. SVHN: the
        first of one permutation; UDA never reads the extra part.
      labels: [n] int, of the whole training set in the order of its files.
      num_labeled: rows to take; divisible by the number of classes if `balanced`.
      balanced: the first of each class instead, UDA's option for CIFAR-10.

    Returns:
      [num_labeled] int64 rows, in UDA's order; `balanced`: ascending.

    Raises:
      ValueError: UDA has no such set, or the training set has too few rows.

    Source: UDA's preprocessing of images.
    """
    if dataset not in UDA_DATASETS:
        raise ValueError(
            f"UDA's labeled sets are those of {' and '.join(UDA_DATASETS)}. Received: {dataset}."
        )
    if num_labeled > len(labels):
        raise ValueError(
            f"`num_labeled` must be at most {len(labels)}, the size of the training set. "
            f"Received: num_labeled={num_labeled}."
        )
    if not balanced:
        order = np.arange(len(labels))
        if dataset == "svhn_cropped":
            order = np.random.RandomState(0).permutation(len(labels))
        return order[:num_labeled]
    classes = np.unique(labels)
    each, rest = divmod(num_labeled, len(classes))
    if dataset != "cifar10" or rest:
        raise ValueError(
            "UDA's balanced set is one of cifar10, with as many labels of each of the "
            f"{len(classes)} classes. Received: {dataset}, num_labeled={num_labeled}."
        )
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in classes]))
