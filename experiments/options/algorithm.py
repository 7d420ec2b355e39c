"""Options of the base SSL algorithm and of theta's steps."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import (
    AT_MOST_ONE,
    FRACTION,
    IN_BATCHES,
    NOT_NEGATIVE,
    OR_MINUS_ONE,
    POSITIVE,
    Group,
    Need,
    is_one_of,
)
from ssl_weighting.training.recipes import CHOICES, MIXING, TWO_VIEWS
from ssl_weighting.training.solved import SOLVE, STEPS

_option = Group("algorithm")
_SOLVES = Need("--inner=solve", is_one_of("inner", (SOLVE,)))
_UNLABELED = Need("an algorithm with unlabeled losses", lambda c: c.uses_unlabeled)


def _of(*algorithms: str) -> Need:
    return Need("--algorithm=" + " or ".join(algorithms), is_one_of("algorithm", algorithms))


@dataclasses.dataclass(frozen=True)
class AlgorithmOptions:
    """The base algorithm, its losses and views, and the optimizer of theta."""

    algorithm: str = _option(
        "fixmatch",
        "base SSL algorithm",
        choices=(
            "supervised", "pseudo_label", "vat", "mean_teacher", "mixmatch", "uda", "remixmatch",
            "fixmatch",
        ),
        departs=False,
    )  # fmt: skip
    uda_version: str = _option(
        "2019",
        "UDA: recipe of the paper's time, its successor, FixMatch's",
        choices=CHOICES["uda_version"],
        needs=Need(
            "images, points or features, and --algorithm=uda",
            lambda c: c.model != "bert" and c.algorithm == "uda",
        ),
    )
    class_balanced: bool = _option(
        False,
        "labeled terms weigh as the inverse frequency of their class among the labels trained on",
    )
    threshold: float = _option(
        0.95,
        "confidence mask; 0 keeps every row",
        AT_MOST_ONE,
        NOT_NEGATIVE,
        needs=_of("pseudo_label", "uda", "fixmatch"),
    )
    temperature: float = _option(
        1.0,
        "UDA, MixMatch, ReMixMatch: temperature of the targets",
        POSITIVE,
        needs=_of("uda", "mixmatch", "remixmatch"),
    )
    entropy_coefficient: float = _option(
        0.0, "UDA, VAT: of the entropy of predictions on U", NOT_NEGATIVE, needs=_of("uda", "vat")
    )
    tsa: str = _option(
        "none",
        "UDA: which labels still teach",
        choices=("none", "linear", "log", "exp"),
        needs=_of("uda"),
    )
    mixup_beta: float = _option(
        0.5, "MixMatch, ReMixMatch: Beta(b, b) of MixUp", POSITIVE, needs=_of(*MIXING)
    )
    vat_epsilon: float = _option(
        6.0,
        "VAT: length of the perturbation; smaller for inputs of a smaller range",
        POSITIVE,
        needs=_of("vat"),
    )
    interleave: bool = _option(
        False,
        "FixMatch, UDA: mix the views in each slice of the batch, as upstream on several GPUs",
        needs=_of("uda", "fixmatch"),
    )
    wu: float = _option(
        1.0, "coefficient of the mean unlabeled loss", NOT_NEGATIVE, needs=_UNLABELED
    )
    ramp_steps: int = _option(
        -1,
        "wu rises from 0 over so many steps; 0: no ramp; -1: the algorithm's",
        OR_MINUS_ONE,
        needs=_UNLABELED,
    )
    steps: int = _option(2**20, "theta-steps", POSITIVE)
    inner: str = _option(
        STEPS,
        "what a theta-step is: one of the optimizer, or with a linear head on features an exact "
        "solution of the whole objective on all of D and U (docs/solve.md)",
        choices=CHOICES["inner"],
    )
    round_steps: int = _option(
        3, "solves between two renewals of the pseudo-labels", POSITIVE, needs=_SOLVES
    )
    inner_tolerance: float = _option(
        1e-6, "norm of the gradient that ends a solve", POSITIVE, needs=_SOLVES
    )
    labeled_batch: int = _option(64, "labeled examples a step", POSITIVE, needs=IN_BATCHES)
    unlabeled_ratio: int = _option(
        7,
        "unlabeled examples a step, per labeled one",
        POSITIVE,
        needs=_UNLABELED.with_(IN_BATCHES),
    )
    optimizer: str = _option("nesterov", "of theta", choices=CHOICES["optimizer"], needs=IN_BATCHES)
    learning_rate: float = _option(
        0.03, "step size of theta, alpha of Alg. 1", POSITIVE, needs=IN_BATCHES
    )
    lr_schedule: str = _option(
        "cosine",
        "of theta; cosine: 7/16 of a half turn",
        choices=("cosine", "floored_cosine", "warmup_linear", "constant"),
        needs=IN_BATCHES,
    )
    lr_warmup_steps: int = _option(
        0,
        "steps of linear rise before it",
        NOT_NEGATIVE,
        needs=Need(
            "--lr_schedule other than constant and --inner=steps",
            lambda c: c.lr_schedule != "constant" and c.inner == STEPS,
        ),
    )
    weight_decay: float = _option(
        5e-4, "of 0.5 ||kernel||^2 in the loss; adamws: decoupled", NOT_NEGATIVE
    )
    weight_decay_scope: str = _option(
        "kernels",
        "what it covers",
        choices=("kernels", "all"),
        needs=Need(
            "--weight_decay greater than 0 and another optimizer than bert_adamw",
            lambda c: c.weight_decay > 0 and (c.optimizer != "bert_adamw" or c.inner == SOLVE),
        ),
    )
    ema_decay: float = _option(
        0.999, "average of theta that is evaluated; 0: none", FRACTION, needs=IN_BATCHES
    )
    ema_scope: str = _option(
        "trainable",
        "what is averaged; all: BatchNorm's moving statistics too",
        choices=CHOICES["ema_scope"],
        needs=Need(
            "--ema_decay greater than 0 and --model=wide_resnet",
            lambda c: c.ema_decay > 0 and c.model == "wide_resnet",
        ),
    )
    strong_augment: str = _option(
        "auto",
        "strong views; auto: the algorithm's own",
        choices=("auto", "weak", "randaugment", "uda_randaugment", "ctaugment"),
        needs=Need(
            "images and --algorithm=" + " or ".join(TWO_VIEWS),
            lambda c: c.model == "wide_resnet" and c.algorithm in TWO_VIEWS,
        ),
        departs=False,  # said in words
    )
    cta_update: bool = _option(
        True,
        "CTAugment's rates learn (false: stay 1)",
        needs=Need(
            "images and --strong_augment=ctaugment",
            lambda c: c.model == "wide_resnet" and c.strong_views == "ctaugment",
        ),
    )
