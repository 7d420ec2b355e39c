"""What algorithms, and features, change about the defaults of a training run. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_weighting.training.solved import SOLVE, STEPS

ALGORITHM_RECIPES = {
    "supervised": {"weighting": "fixed"},
    # Table 1's older rows: 64 + 64 examples a step.
    "pseudo_label": {"unlabeled_ratio": 1},
    "vat": {
        "unlabeled_ratio": 1, "wu": 0.3, "entropy_coefficient": 0.06, "optimizer": "adamw",
        "learning_rate": 0.002, "lr_schedule": "constant", "weight_decay": 0.02,
    },
    "mean_teacher": {"unlabeled_ratio": 1, "wu": 50.0},
    "mixmatch": {
        "unlabeled_ratio": 1, "wu": 100.0, "temperature": 0.5, "mixup_beta": 0.5,
        "cta_update": True,  # the release freezes the rates of FixMatch alone
    },
    # The upstream file with CTAugment, whose strong views are anchored to the weak one, as here.
    "remixmatch": {
        "unlabeled_ratio": 1, "wu": 1.5, "temperature": 0.5, "mixup_beta": 0.75,
        "learning_rate": 0.002, "weight_decay": 0.02, "cta_update": True,
    },
    "uda": {"lambda_warmup_steps": 20_000},
    "fixmatch": {},
}  # fmt: skip
_UDA = {"pixel_scaling": "standardized", "weight_decay_scope": "all"}
UDA_RECIPES = {
    # What the paper's UDA rows used: 64 / 320, no mask, no average, a warm-up of 20,000 steps.
    "2019": _UDA | {
        "wrn_variant": "uda_2019", "threshold": 0.0, "unlabeled_ratio": 5, "steps": 400_000,
        "lr_schedule": "floored_cosine", "ema_decay": 0.0,
    },
    # Behind the numbers of UDA's last README.
    "2020": _UDA | {
        "wrn_variant": "uda", "threshold": 0.8, "temperature": 0.4, "unlabeled_ratio": 7,
        "steps": 500_000, "ema_decay": 0.9999, "ema_scope": "all",
    },
    # The defaults, FixMatch's own, with UDA's loss.
    "fixmatch": {"strong_augment": "randaugment"},
}  # fmt: skip
CHOICES = {
    "inner": (STEPS, SOLVE),
    "uda_version": tuple(UDA_RECIPES),
    "optimizer": ("nesterov", "adam", "adamw", "bert_adamw"),
    "ema_scope": ("trainable", "all"),
    "lambda_optimizer": ("madam", "adam", "sgd"),
    "feature_views": ("auto", "given", "perturbed", "mixed", "none"),
    "precision": ("float32", "mixed_float16", "mixed_bfloat16"),
}
# Share of the run over which wu rises: 0.4 of it, or 16,384 of 2^20 steps.
RAMPS = {
    "pseudo_label": 0.4, "vat": 0.4, "mean_teacher": 0.4, "mixmatch": 1 / 64, "remixmatch": 1 / 64,
}  # fmt: skip

# Of features, not in the paper: a head trained in seconds on a CPU. Weight decay and damping are
# small, so that Eq. 6 speaks of the objective that is minimised; products with H are far cheaper
# than its (dC)^2 entries.
FEATURES = {
    "optimizer": "adam", "learning_rate": 3e-3, "lr_schedule": "constant", "weight_decay": 3e-3,
    "ema_decay": 0.0, "steps": 2000, "labeled_batch": 64, "unlabeled_ratio": 4,
    "algorithm": "pseudo_label", "threshold": 0.0, "lambda_lr": 0.05, "lambda_max": 3.0,
    "inverse_hessian": "conjugate_gradient", "solve_iterations": 200, "damping": 0.01,
}  # fmt: skip
# Of `inner="solve"`: eight rounds of three solves, a Lambda-step before each but the first. Damping
# holds no more than the direction in which all biases grow together, to which softmax is blind.
SOLVED = {
    "steps": 24, "lambda_lr": 0.15, "inverse_hessian": "exact", "damping": 1e-8,
    "ema_decay": 0.0,
}  # fmt: skip
_FEATURE_ALGORITHMS = {"mean_teacher": {"ema_decay": 0.99}}  # its teacher is the average
MIXING = ("mixmatch", "remixmatch")  # in groups of the labeled batch's size
TWO_VIEWS = ("mean_teacher", "mixmatch", "uda", "remixmatch", "fixmatch")  # read strong views
HIDDEN_LAYERS = {"linear": 0, "mlp": 2}  # by `head`
WHOLE, MOST = -1, 8192  # `lambda_batch`: all of U, which is so many examples at most
LAMBDA_STEPS, WARM_UP = 60, 10  # of a run; one over its share of the steps
AVERAGES_OF_A_SHORT_RUN = 10  # decays are at most such that averages cover a tenth of a run


# What own data would have of an optimizer's steps and batches, which a solve has none of.
_OF_STEPS = (
    "steps", "learning_rate", "solve_iterations", "solve_tolerance", "lambda_batch",
    "lambda_warmup_steps", "inner_steps",
)  # fmt: skip


def planned_steps(options: Mapping[str, Any]) -> int:
    """Return the optimizer's steps that options ask for; 0: as many as time allows."""
    return 0 if options.get("inner") == SOLVE else options.get("steps", 0)


def for_inner(recipe: Mapping[str, Any], inner: str) -> dict[str, Any]:
    """Return what of a recipe for own data holds for a kind of theta-step."""
    return {n: v for n, v in recipe.items() if inner != SOLVE or n not in _OF_STEPS}


def ramp_steps(algorithm: str, steps: int) -> int:
    """Return over how many steps an algorithm's wu rises."""
    return round(RAMPS.get(algorithm, 0.0) * steps)


def largest_decay(steps: int) -> float:
    """Return the largest decay of an average in a run of `steps`."""
    return max(0.0, round(1 - AVERAGES_OF_A_SHORT_RUN / max(1, steps), 5))


def of_features(algorithm: str) -> dict[str, Any]:
    """Return what features change, for one algorithm."""
    return FEATURES | _FEATURE_ALGORITHMS.get(algorithm, {})


def group_of(options: Mapping[str, Any]) -> int:
    """Return of how many examples an unlabeled batch must be a multiple; 1: of any number.

    Args:
        options: algorithm, interleave and labeled_batch, by name.
    """
    goes_by_the_labeled = options["algorithm"] in MIXING or options["interleave"]
    return options["labeled_batch"] if goes_by_the_labeled else 1


def following(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from options: on features, every λ moves at every Lambda-step, if it may.

    Args:
        options: inner, steps, algorithm, interleave, labeled_batch and infl_fresh_batch, by name.
    """
    steps = options["steps"]
    if options["inner"] == SOLVE:
        return {"ramp_steps": 0, "lambda_warmup_steps": 0, "inner_steps": 1, "lambda_batch": 0}
    return {
        "lambda_warmup_steps": steps // WARM_UP,
        "inner_steps": max(1, steps // LAMBDA_STEPS),
        "lambda_batch": WHOLE if options["infl_fresh_batch"] and group_of(options) == 1 else 0,
    }
