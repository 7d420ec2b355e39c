"""The settings of all parts of Alg. 1 in one row, by the names that programs' options have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ssl_weighting.algorithms import ALGORITHMS, SETTINGS, make_algorithm
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.weight_store import LEARNED, WeightStore

# `fit` takes the theta-steps one by one: a Lambda-step cannot look into the next one.
_OF_THE_TRAINER_ALONE = {"stale_w", "infl_own_features", "infl_fresh_batch"}
_SOLVE = {
    "damping": "damping",
    "solve_iterations": "iterations",
    "solve_tolerance": "tolerance",
    "solve_scale": "scale",
    "solve_repeats": "repeats",
}
_STORE = {"weighting": "per_example", "lambda_lr": 0.01, "lambda_init": 1.0, "lambda_max": None}
_INNER_STEPS = 100  # the paper's N for all algorithms but FixMatch
_MADE_HERE = {"teacher", "num_classes", "seed"}  # settings of algorithms that the model knows
WITHOUT_UNLABELED = "supervised"


def _fields(kind):
    return {field.name for field in dataclasses.fields(kind)}


_BILEVEL = _fields(BilevelSettings) - _OF_THE_TRAINER_ALONE
_INFLUENCE = _fields(LambdaStepSettings) - {"solve"}
_ALGORITHM = SETTINGS - _MADE_HERE


class Settings(NamedTuple):
    """The settings of each part."""

    bilevel: BilevelSettings
    influence: LambdaStepSettings
    store: dict[str, Any]
    algorithm: dict[str, Any]


def settings_of(given: Mapping[str, Any], seed: int) -> Settings:
    """Return settings by part.

    Args:
        given: fields of `BilevelSettings`, `LambdaStepSettings`, `SolveOptions` and algorithms,
            and what is said of Lambda, by name.
        seed: of random samples of H.

    Raises:
        ValueError: a name that no part has, or a value out of range.
    """
    known = _BILEVEL | _INFLUENCE | _ALGORITHM | _SOLVE.keys() | _STORE.keys()
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"Settings must be among {', '.join(sorted(known))}. Received: {unknown}")
    if given.get("inverse_hessian") == "unrolled":
        raise ValueError(
            "`inverse_hessian` must be another than unrolled in `fit`, which cannot repeat "
            "theta-steps. Received: unrolled. `BilevelTrainer` can"
        )
    solve = {_SOLVE[name]: value for name, value in given.items() if name in _SOLVE}
    solve = dataclasses.replace(LambdaStepSettings().solve, seed=seed, **solve)
    return Settings(
        BilevelSettings(**{"inner_steps": _INNER_STEPS} | _among(given, _BILEVEL)),
        LambdaStepSettings(solve=solve, **_among(given, _INFLUENCE)),
        _STORE | _among(given, _STORE),
        _among(given, _ALGORITHM),
    )


def _among(given, names):
    return {name: value for name, value in given.items() if name in names}


def store_of(settings: Settings, num_unlabeled: int, seed: int) -> WeightStore:
    """Return Lambda, initial, moved by M-Adam where it learns."""
    made, most = settings.store, settings.store["lambda_max"]
    learns = made["weighting"] in LEARNED
    return WeightStore(
        num_unlabeled,
        made["weighting"],
        MAdam(made["lambda_lr"]) if learns else None,
        lambda_init=made["lambda_init"],
        lambda_max=float("inf") if most is None else most,
        seed=seed,
    )


def algorithm_of(
    algorithm: str | Callable, settings: Settings, teacher, num_classes: int, seed: int
) -> Callable:
    """Return the base algorithm.

    Args:
        algorithm: a name, or the algorithm itself, which brings its settings along.
        settings: from `settings_of`.
        teacher: the averaged net, None where nothing is averaged.
        num_classes: C; seed: of its draws.

    Raises:
        ValueError: an unknown name, settings beside an algorithm that has its own, or a name whose
            algorithm needs no unlabeled examples or an average that is missing.
    """
    if not isinstance(algorithm, str):
        if settings.algorithm:
            raise ValueError(
                "`algorithm` must be a name where its settings are given beside it. Received: "
                f"{type(algorithm).__name__} with {sorted(settings.algorithm)}. Give them to "
                f"{type(algorithm).__name__}(...)"
            )
        return algorithm
    if algorithm not in ALGORITHMS or algorithm == WITHOUT_UNLABELED:
        known = ", ".join(name for name in ALGORITHMS if name != WITHOUT_UNLABELED)
        raise ValueError(f"`algorithm` must be one of {known}. Received: algorithm={algorithm!r}")
    if algorithm == "mean_teacher" and teacher is None:
        raise ValueError(
            "`ema_decay` must be above 0 for mean_teacher, whose teacher is the averaged net. "
            "Received: ema_decay=0. Give, for example, ema_decay=0.99"
        )
    made = {"teacher": teacher, "num_classes": num_classes, "seed": seed}
    return make_algorithm(algorithm, **settings.algorithm | made)
