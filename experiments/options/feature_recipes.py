"""What features change about the defaults of `Config`: a head trained in seconds on a CPU."""

from __future__ import annotations

from experiments.options.kinds import FEATURE_ROWS, kind_of
from ssl_weighting.training import recipes

# Beside the library's recipe: what the programs alone ask for.
FEATURES = recipes.FEATURES | {
    "model": "features", "checkpoint_every": 500, "num_labeled": 40, "val_size": 40,
}  # fmt: skip
EVALUATIONS = 20  # of a run


def feature_recipe(dataset: str, algorithm: str) -> dict:
    """Return the options of features before those that are given; {} for other data."""
    if kind_of(dataset) is not FEATURE_ROWS:
        return {}
    return FEATURES | recipes.of_features(algorithm)


def following(options: dict) -> dict:
    """Return what follows from the other options: see `recipes.following`."""
    evaluated = {"eval_every": max(1, options["steps"] // EVALUATIONS)}
    return recipes.following(options) | evaluated
