"""The numbers and switches of a training run, flat and by name, apart from its data and its net."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ssl_weighting.algorithms import SETTINGS
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.checks import check_number
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step_settings import LambdaStepSettings
from ssl_weighting.training import recipes
from ssl_weighting.training.derived import Derived
from ssl_weighting.training.solved import SOLVE, offence


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Derived):
    """What a trainer is made with.

    Each name is that of an option of the programs, whose --help tells what it does. The defaults
    are those of the options, before any recipe.
    """

    seed: int = 1
    # Whose labels Lambda is learned on, and what comes after it.
    validation: str = "held_out"
    folds: int = 2
    refit: bool = False
    # The base algorithm.
    algorithm: str = "fixmatch"
    uda_version: str = "2019"
    class_balanced: bool = False
    threshold: float = 0.95
    temperature: float = 1.0
    entropy_coefficient: float = 0.0
    tsa: str = "none"
    mixup_beta: float = 0.5
    vat_epsilon: float = 6.0
    interleave: bool = False
    wu: float = 1.0
    ramp_steps: int = 0
    # Steps on theta: of an optimizer, or each an exact solution (see `theta.solve`).
    inner: str = "steps"
    round_steps: int = 3
    inner_tolerance: float = 1e-6
    steps: int = 2**20
    labeled_batch: int = 64
    unlabeled_ratio: int = 7  # unlabeled examples of a batch, per labeled one
    optimizer: str = "nesterov"
    learning_rate: float = 0.03
    lr_schedule: str = "cosine"
    lr_warmup_steps: int = 0
    weight_decay: float = 5e-4
    weight_decay_scope: str = "kernels"
    ema_decay: float = 0.999
    ema_scope: str = "trainable"
    precision: str = "float32"
    jit: bool = False
    # Lambda and its optimizer.
    weighting: str = "per_example"  # a mode of `WeightStore`, or `algorithms.ORACLE`
    lambda_optimizer: str = "madam"
    lambda_lr: float = 0.01
    lambda_init: float = 1.0
    lambda_max: float = float("inf")
    madam_t: str = "per_example"
    madam_mask: str = "nonzero"
    madam_beta1: float = 0.9
    madam_epsilon: float = 1e-60
    # Alg. 1 outside Eq. 6.
    inner_steps: int = 512
    lambda_warmup_steps: int = 0
    lambda_at_start: bool = False
    stale_w: bool = False
    infl_fresh_batch: bool = True
    infl_own_features: bool = False
    score_every_step: bool = False
    measure_noise: bool = False
    lambda_batch: int = 0  # U' of a fresh Lambda-step; 0: the training batch's size; -1: all of U
    val_batch: int = 0  # V' of a Lambda-step; 0: as U', at most |V|
    val_replace: bool = False
    # Eq. 6.
    influence_params: str = "last_layer"
    inverse_hessian: str = "exact"
    per_example_engine: str = "forward"
    max_memory: float = 0.0  # GB; 0: no limit
    solve_iterations: int = 20
    solve_tolerance: float = 1e-6
    solve_scale: float = 0.0
    solve_repeats: int = 1
    solve_sample: int = 64
    damping: float = 0.1
    hess_l2_coeff: float = -1.0  # -1: `weight_decay`
    hess_wu: bool = True
    theta_hat: str = "kernel_bias"
    infl_mask_grad: bool = True
    infl_bn: str = "batch"
    curvature: str = "gauss_newton"
    # The head on features, and their strong views.
    head: str = "linear"
    components: int = 0  # principal components that it sees; 0: all features
    feature_views: str = "auto"
    feature_dropout: float = 0.2
    feature_noise: float = 0.2
    feature_mixing: float = 0.4

    def __post_init__(self):
        """Check what nothing else would: names of which an unknown one means another's default.

        Raises:
            ValueError: an unknown name, steps that are none, or what cannot be solved exactly.
        """
        check_number("steps", self.steps, 1, whole=True)
        for name, known in recipes.CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. Received: "
                    f"{name}={getattr(self, name)!r}"
                )
        if self.inner == SOLVE and (found := offence(self)):
            raise ValueError(
                f'`{found.name}` must be {found.must} with inner="solve": {found.why}. Received: '
                f'{found.name}={found.value!r}. Change it, or use inner="steps"'
            )


def feature_settings(**given: Any) -> TrainingSettings:
    """Return the settings of a head on features, which are those of the programs for it.

    Args:
        given: settings that win over the recipe's.

    Raises:
        ValueError: a name that is not known.
    """
    known = fields_of(TrainingSettings)
    if unknown := sorted(given.keys() - known):
        raise ValueError(
            f"The settings of training must be among {', '.join(sorted(known))}. "
            f"Received: {', '.join(unknown)}"
        )
    algorithm = given.get("algorithm", recipes.FEATURES["algorithm"])
    recipe = recipes.ALGORITHM_RECIPES.get(algorithm, {})
    if algorithm == "uda":
        version = given.get("uda_version", TrainingSettings.uda_version)
        recipe = recipe | recipes.UDA_RECIPES.get(version, {})
    features = recipes.of_features(algorithm)
    steps = given.get("steps", features["steps"])
    features["ema_decay"] = min(features["ema_decay"], recipes.largest_decay(steps))
    if given.get("inner") == SOLVE:
        features |= recipes.SOLVED
    options = vars(TrainingSettings()) | recipe | features | given
    made = {"ramp_steps": recipes.ramp_steps(algorithm, steps)} | recipes.following(options)
    return TrainingSettings(**{n: v for n, v in (options | made | given).items() if n in known})


def fields_of(settings: type) -> set[str]:
    """Return the names of a dataclass's fields."""
    return {field.name for field in dataclasses.fields(settings)}


def named(settings: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the attributes of `settings` that have one of the names."""
    return {name: value for name, value in vars(settings).items() if name in names}


def algorithm_settings(settings: TrainingSettings) -> dict[str, Any]:
    """Return the settings of the base algorithm, for `make_algorithm`."""
    version = settings.uda_version
    made = {"num_steps": _tsa_steps(settings), "strict": version != "fixmatch"}
    return named(settings, SETTINGS) | made


def _tsa_steps(settings):
    """FixMatch's UDA: a quarter of the run, 65,536 steps at most (its tsa_pos of 8)."""
    if settings.uda_version != "fixmatch":
        return settings.steps
    return max(1, min(settings.steps // 4, 2**16))


def bilevel_settings(settings: TrainingSettings) -> BilevelSettings:
    """Return the switches of Alg. 1; an optimizer that decays the weights itself does so alone."""
    alone = "adamw" in settings.optimizer and settings.inner != SOLVE
    decay = 0.0 if alone else settings.weight_decay
    return BilevelSettings(**named(settings, fields_of(BilevelSettings)) | {"weight_decay": decay})


def lambda_settings(settings: TrainingSettings) -> LambdaStepSettings:
    """Return the switches of Eq. 6."""
    s = settings
    solve = SolveOptions(
        damping=s.damping,
        iterations=s.solve_iterations,
        tolerance=s.solve_tolerance,
        scale=s.solve_scale,
        repeats=s.solve_repeats,
        seed=s.seed,
    )
    made = {
        "solve": solve,
        "max_memory": round(s.max_memory * 1e9) or None,
        "hess_l2_coeff": None if s.hess_l2_coeff < 0 else s.hess_l2_coeff,
    }
    return LambdaStepSettings(**named(s, fields_of(LambdaStepSettings)) | made)
