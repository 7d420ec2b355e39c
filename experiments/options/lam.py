"""Options of the example weights Lambda and their optimizer."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import FRACTION, NOT_NEGATIVE, POSITIVE, Group, Need
from ssl_weighting.training.recipes import CHOICES

ORACLE = "oracle"  # as the library's `algorithms.ORACLE`, which imports TensorFlow

_option = Group("lambda")
LEARNS = Need("learned weights", lambda c: c.learns)
_MADAM = Need(
    "learned weights and --lambda_optimizer=madam",
    lambda c: c.learns and c.lambda_optimizer == "madam",
)
_ADAM = Need("learned weights and an Adam", lambda c: c.learns and c.lambda_optimizer != "sgd")


@dataclasses.dataclass(frozen=True)
class LambdaOptions:
    """What multiplies the unlabeled losses, and how it moves."""

    weighting: str = _option(
        "per_example",
        "what multiplies the unlabeled losses",
        choices=(
            "zero", "fixed", "single", "per_example", "shuffled", "random", "confidence", ORACLE,
        ),
        departs=False,
    )  # fmt: skip
    lambda_optimizer: str = _option(
        "madam", "of Lambda", choices=CHOICES["lambda_optimizer"], needs=LEARNS
    )
    lambda_lr: float = _option(0.01, "step size of Lambda, eta of Alg. 1", POSITIVE, needs=LEARNS)
    lambda_init: float = _option(
        1.0,
        "initial weight",
        NOT_NEGATIVE,
        needs=Need(
            "learned or fixed weights, or the oracle's",
            lambda c: c.learns or c.weighting in ("fixed", ORACLE),
        ),
    )
    lambda_max: float = _option(
        float("inf"), "weights are kept at or below", NOT_NEGATIVE, infinite=True, needs=LEARNS
    )
    inner_steps: int = _option(
        0, "N; 0: the preset's, or steps/20 in a shorter run", NOT_NEGATIVE, needs=LEARNS
    )
    lambda_warmup_steps: int = _option(
        0, "theta-steps before Lambda may move", NOT_NEGATIVE, needs=LEARNS
    )
    lambda_at_start: bool = _option(False, "first Lambda-step before any theta-step", needs=LEARNS)
    madam_t: str = _option(
        "per_example", "what Alg. 2's t counts", choices=("per_example", "global"), needs=_MADAM
    )
    madam_mask: str = _option(
        "nonzero", "Alg. 2's mask", choices=("nonzero", "membership"), needs=_MADAM
    )
    madam_beta1: float = _option(
        0.9,
        "Alg. 2's beta_1; 0 forgets, for labels that change between visits",
        FRACTION,
        needs=_ADAM,
    )
    madam_epsilon: float = _option(1e-60, "Alg. 2's epsilon", NOT_NEGATIVE, needs=_ADAM)
    stale_w: bool = _option(
        False, "the step after a Lambda-step still sees the old weights", needs=LEARNS
    )
