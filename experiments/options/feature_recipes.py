"""What features change about the defaults of `Config`: a head trained in seconds on a CPU."""

from __future__ import annotations

from experiments.options.algorithm import MIXING, TWO_VIEWS
from experiments.options.backbone import NO_BACKBONE
from experiments.options.influence import WHOLE
from experiments.options.kinds import FEATURE_ROWS, kind_of

# Not in the paper. Weight decay and damping are small, so that Eq. 6 speaks of the objective that
# is minimised; products with H are far cheaper than its (dC)^2 entries.
FEATURES = {
    "model": "features", "optimizer": "adam", "learning_rate": 3e-3, "lr_schedule": "constant",
    "weight_decay": 3e-3, "ema_decay": 0.0, "steps": 2000, "checkpoint_every": 500,
    "num_labeled": 40, "val_size": 40, "labeled_batch": 64, "unlabeled_ratio": 4,
    "algorithm": "pseudo_label", "threshold": 0.0, "lambda_lr": 0.05, "lambda_max": 3.0,
    "inverse_hessian": "conjugate_gradient", "solve_iterations": 200, "damping": 0.01,
}  # fmt: skip
_ALGORITHMS = {"mean_teacher": {"ema_decay": 0.99}}  # its teacher is the average
LAMBDA_STEPS, EVALUATIONS, WARM_UP = 60, 20, 10  # of a run; one over its share of the steps
VIEWS = 3  # strong views of an example that a backbone is shown


def feature_recipe(dataset: str, algorithm: str, backbone: str = NO_BACKBONE) -> dict:
    """Return the options of features before those that are given; {} for other data."""
    if kind_of(dataset) is not FEATURE_ROWS and backbone == NO_BACKBONE:
        return {}
    return FEATURES | _ALGORITHMS.get(algorithm, {})


def following(options: dict) -> dict:
    """Return what follows from the other options: every λ moves at every Lambda-step, if it may."""
    steps = options["steps"]
    fixed = options["algorithm"] in MIXING or options["interleave"]  # batches go by the labeled one
    two = options["algorithm"] in TWO_VIEWS and options["feature_views"] in ("auto", "given")
    return {
        "views": VIEWS if two and options["backbone"] != NO_BACKBONE else 0,
        "lambda_warmup_steps": steps // WARM_UP,
        "inner_steps": max(1, steps // LAMBDA_STEPS),
        "eval_every": max(1, steps // EVALUATIONS),
        "lambda_batch": WHOLE if options["infl_fresh_batch"] and not fixed else 0,
    }
