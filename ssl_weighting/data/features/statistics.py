"""What features are like over D ∪ U, by which models standardise or shorten them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import scipy.linalg

from ssl_weighting.data.copies import are_copies
from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import DataSplits

_KEPT = 64  # maps of 0.6 MB: ten seeds with and without V, folds, and a refit
_kept: dict[tuple, Components] = {}

LEAST = 1e-7  # what Keras' Normalization takes for a deviation that is smaller


class Statistics(NamedTuple):
    """Of d features."""

    mean: np.ndarray  # [d] float64
    std: np.ndarray  # [d] float64, at least `LEAST`

    def of(self, x: np.ndarray) -> np.ndarray:
        """Return rows [n, d] standardised."""
        return (x - self.mean) / self.std


def feature_statistics(splits: DataSplits) -> Statistics:
    """Return the statistics of D ∪ U, each example counted once.

    A feature that is constant there, as far as float32 can tell, has deviation 1: one that begins
    to vary in new examples must not be blown up.

    Args:
        splits: features [n, d] float32. Labels are not read.
    """
    x = _examples(splits)
    mean = x.mean(axis=0, dtype=np.float64)
    std = x.std(axis=0, dtype=np.float64)
    constant = std <= np.finfo(np.float32).eps * np.abs(mean)
    return Statistics(mean, np.where(constant, 1.0, np.maximum(std, LEAST)))


class Components(NamedTuple):
    """The map x -> x @ kernel + bias from d features to k of their principal components."""

    kernel: np.ndarray  # [d, k] float64
    bias: np.ndarray  # [k] float64

    def of(self, x: np.ndarray) -> np.ndarray:
        """Return the components [n, k] of rows [n, d]."""
        return x @ self.kernel + self.bias


def principal_components(splits: DataSplits, count: int) -> Components:
    """Return the map to the first principal components of D ∪ U, each example counted once.

    The last ones are kept: the runs of a study, and a refit, share D ∪ U with runs before them.
    Features are centred, not standardised. The components are orthogonal, in order of falling
    variance, and divided by one number, after which their mean variance is 1. Of a component's two
    directions it is the one in which its largest entry is positive.

    Args:
        splits: features [n, d] float32. Labels are not read.
        count: k.

    Raises:
        ValueError: there are not so many features, or D ∪ U spans no such space.
    """
    x = _examples(splits)
    key = (hashlib.sha256(np.ascontiguousarray(x)).hexdigest(), x.shape, count)
    if key not in _kept:
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = _components(x.astype(np.float64), count)
    return _kept[key]


def _components(x, count):
    d = x.shape[1]
    if not 1 <= count <= d:
        raise ValueError(
            f"`count` must be from 1 to {d}, the number of features. Received: count={count}"
        )
    mean = x.mean(axis=0)
    x -= mean
    covariance = x.T @ x / len(x)
    variances, directions = scipy.linalg.eigh(covariance, subset_by_index=[d - count, d - 1])
    least = d * np.finfo(np.float64).eps * variances[-1]
    if not variances[0] > least:
        raise ValueError(
            f"`count` must be at most {int((variances > least).sum())}: the {len(x)} examples of D "
            f"and U vary in no more directions. Received: count={count}"
        )
    directions = directions[:, ::-1]  # eigh begins with the least
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(count)])
    kernel = directions / np.sqrt(variances.mean())
    found = Components(kernel, -mean @ kernel)
    for one in found:  # shared by all that ask
        one.setflags(write=False)
    return found


def _examples(splits):
    alone = splits.labeled.take(~are_copies(splits.labeled, splits.unlabeled))
    return np.concatenate([loaded(splits.unlabeled.inputs), loaded(alone.inputs)])
