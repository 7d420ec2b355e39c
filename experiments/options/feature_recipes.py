"""What features change about the defaults of `Config`: a head trained in seconds on a CPU."""

from __future__ import annotations

from experiments.options.backbone import NO_BACKBONE
from experiments.options.kinds import FEATURE_ROWS, kind_of
from ssl_weighting.training import recipes
from ssl_weighting.training.recipes import TWO_VIEWS
from ssl_weighting.training.solved import SOLVE, STEPS

# Beside the library's recipe: what the programs alone ask for.
FEATURES = recipes.FEATURES | {
    "model": "features", "checkpoint_every": 500, "num_labeled": 40, "val_size": 40,
}  # fmt: skip
EVALUATIONS = 20  # of a run
VIEWS = 3  # strong views of an example that a backbone is shown


def feature_recipe(
    dataset: str, algorithm: str, backbone: str = NO_BACKBONE, inner: str = STEPS
) -> dict:
    """Return the options of features before those that are given; {} for other data."""
    if kind_of(dataset) is not FEATURE_ROWS and backbone == NO_BACKBONE:
        return {}
    solved = recipes.SOLVED if inner == SOLVE else {}
    return FEATURES | recipes.of_features(algorithm) | solved


def following(options: dict) -> dict:
    """Return what follows from the other options: see `recipes.following`."""
    two = options["algorithm"] in TWO_VIEWS and options["feature_views"] in ("auto", "given")
    return recipes.following(options) | {
        "views": VIEWS if two and options["backbone"] != NO_BACKBONE else 0,
        "eval_every": options["round_steps"]
        if options["inner"] == SOLVE
        else max(1, options["steps"] // EVALUATIONS),
    }
