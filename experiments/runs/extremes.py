"""Which examples of U a run weighted most: one rule for tiles, tables of texts and their files."""

from __future__ import annotations

import numpy as np

from experiments.runs.record import RunRecord
from experiments.runs.run_files import Arrays

FEWEST = 3  # visits of an example that may be called a suspect

SIDES = {"down": "Most down-weighted", "up": "Most up-weighted"}

WHICH = (
    "whose λ ended below and above its initial value; of equal λ, those with the most accumulated "
    "influence. Labeled ones, which may stand in U too, are left out."
)


def scored(weights: Arrays) -> np.ndarray:
    """Return [|U|] bool: whose λ was updated, but for labeled examples that stand in U too.

    The label of those is known: their λ tells nothing about a pseudo-label.

    Args:
        weights: columns of example_weights.parquet; an older run's say of none that it is labeled.
    """
    visited = weights["visits"] > 0
    return visited & ~weights["labeled"] if "labeled" in weights else visited


def weighted(weights: Arrays, lambda_init: float, side: str) -> np.ndarray:
    """Return the rows of the `scored` examples on one side of the initial λ, the furthest first.

    Of equal λ (many lie at a bound) the one with more accumulated influence goes first, the one
    with harmful influence on the side "down". Rows decide between what is equal in both.

    Args:
        weights: as in `scored`; "influence" decides between equal λ, where there is one.
        lambda_init: λ that all began with.
        side: a key of `SIDES`.
    """
    sign = 1 if side == "down" else -1
    moved = sign * (np.float32(lambda_init) - weights["lam"]) > 0
    rows = np.flatnonzero(scored(weights) & moved)
    influence = weights["influence"][rows] if "influence" in weights else np.zeros(len(rows))
    return rows[np.lexsort((-sign * influence, sign * weights["lam"][rows]))]


def weighted_in(run: RunRecord, side: str) -> np.ndarray:
    """Return `weighted` of a finished run."""
    return weighted(run.weights, run.config["config"].get("lambda_init", 1.0), side)
