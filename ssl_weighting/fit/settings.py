"""The settings of all parts of Alg. 1 in one row, by the names that programs' options have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ssl_weighting.algorithms import ALGORITHMS, SETTINGS, make_algorithm
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.lambda_step_settings import LambdaStepSettings
from ssl_weighting.training.settings import (
    TrainingSettings,
    bilevel_settings,
    fields_of,
    lambda_settings,
)
from ssl_weighting.weight_store import MODES

# `fit` takes the theta-steps one by one: a Lambda-step cannot look into the next one.
_OF_THE_TRAINER_ALONE = {"stale_w", "infl_own_features", "infl_fresh_batch"}
_OF_THE_SOLVE = {
    "damping", "solve_iterations", "solve_tolerance", "solve_scale", "solve_repeats",
}  # fmt: skip
_OF_LAMBDA = {"weighting", "lambda_lr", "lambda_init", "lambda_max"}
_BILEVEL = fields_of(BilevelSettings) - _OF_THE_TRAINER_ALONE
_INFLUENCE = fields_of(LambdaStepSettings) - {"solve"}
_MADE_HERE = {"teacher", "num_classes", "seed"}  # settings of algorithms that the model knows
_ALGORITHM = SETTINGS - _MADE_HERE
# N is the paper's for all algorithms but FixMatch.
_DEFAULTS = {"inner_steps": 100, "weight_decay": 0.0}
WITHOUT_UNLABELED = "supervised"


class Settings(NamedTuple):
    """The settings of each part."""

    bilevel: BilevelSettings
    influence: LambdaStepSettings
    weights: TrainingSettings  # of which those of Lambda are read
    algorithm: dict[str, Any]  # that are given


def settings_of(given: Mapping[str, Any], seed: int) -> Settings:
    """Return settings by part.

    Args:
        given: fields of `BilevelSettings` and `LambdaStepSettings`, of the solve, of Lambda and of
            algorithms, by the names and in the units of `TrainingSettings`.
        seed: of random samples of H and of what draws weights.

    Raises:
        ValueError: a name that no part has, or a value out of range.
    """
    ours = _BILEVEL | _INFLUENCE | _OF_THE_SOLVE | _OF_LAMBDA
    if unknown := sorted(given.keys() - ours - _ALGORITHM):
        known = ", ".join(sorted(ours | _ALGORITHM))
        raise ValueError(f"Settings must be among {known}. Received: {unknown}")
    if given.get("inverse_hessian") == "unrolled":
        raise ValueError(
            "`inverse_hessian` must be another than unrolled in `fit`, which cannot repeat "
            "theta-steps. Received: unrolled. `BilevelTrainer` can"
        )
    made = TrainingSettings(seed=seed, **_DEFAULTS | _among(given, ours))
    if made.weighting not in MODES:
        raise ValueError(
            f"`weighting` must be one of {', '.join(MODES)}. Received: {made.weighting!r}"
        )
    parts = bilevel_settings(made), lambda_settings(made)
    return Settings(*parts, made, _among(given, _ALGORITHM))


def _among(given, names):
    return {name: value for name, value in given.items() if name in names}


def algorithm_of(
    algorithm: str | Callable, given: Mapping[str, Any], teacher, num_classes: int, seed: int
) -> Callable:
    """Return the base algorithm.

    Args:
        algorithm: a name, or the algorithm itself, which brings its settings along.
        given: its settings, see `Settings`.
        teacher: the averaged net, None where nothing is averaged.
        num_classes: C; seed: of its draws.

    Raises:
        ValueError: an unknown name, settings beside an algorithm that has its own or that it does
            not have, or a name whose algorithm needs no unlabeled examples or an average that is
            missing.
    """
    if not isinstance(algorithm, str):
        if given:
            raise ValueError(
                "`algorithm` must be a name where its settings are given beside it. Received: "
                f"{type(algorithm).__name__} with {sorted(given)}. Give them to "
                f"{type(algorithm).__name__}(...)"
            )
        return algorithm
    if algorithm not in ALGORITHMS or algorithm == WITHOUT_UNLABELED:
        known = ", ".join(name for name in ALGORITHMS if name != WITHOUT_UNLABELED)
        raise ValueError(f"`algorithm` must be one of {known}. Received: algorithm={algorithm!r}")
    known = inspect.signature(ALGORITHMS[algorithm]).parameters.keys() - _MADE_HERE
    if idle := sorted(given.keys() - known):
        raise ValueError(
            f"The settings of {algorithm} must be among {', '.join(sorted(known))}. "
            f"Received: {idle}"
        )
    if algorithm == "mean_teacher" and teacher is None:
        raise ValueError(
            "`ema_decay` must be above 0 for mean_teacher, whose teacher is the averaged net. "
            "Received: ema_decay=0. Give, for example, ema_decay=0.99"
        )
    made = {"teacher": teacher, "num_classes": num_classes, "seed": seed}
    return make_algorithm(algorithm, **given | made)
