"""Mean and deviation of features, by which models standardise them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_weighting.data.copies import are_copies
from ssl_weighting.data.examples import DataSplits


class Statistics(NamedTuple):
    """Of d features."""

    mean: np.ndarray  # [d] float64
    std: np.ndarray  # [d] float64, greater than 0


def feature_statistics(splits: DataSplits) -> Statistics:
    """Return the statistics of D ∪ U, each example counted once.

    A feature that is constant there, as far as float32 can tell, has deviation 1: one that begins
    to vary in new examples must not be blown up.

    Args:
        splits: features [n, d] float32. Labels are not read.
    """
    alone = splits.labeled.take(~are_copies(splits.labeled, splits.unlabeled))
    x = np.concatenate([splits.unlabeled.inputs, alone.inputs])
    mean = x.mean(axis=0, dtype=np.float64)
    std = x.std(axis=0, dtype=np.float64)
    constant = std <= np.finfo(np.float32).eps * np.abs(mean)
    return Statistics(mean, np.where(constant, 1.0, std))
