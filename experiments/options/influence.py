"""Options of Eq. 6: which parameters it speaks of, and how it is solved."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import (
    IN_BATCHES,
    NOT_NEGATIVE,
    OR_MINUS_ONE,
    POSITIVE,
    ROUNDING,
    Group,
    Need,
)
from experiments.options.lam import LEARNS

LAST_LAYER = "last_layer"  # as `lambda_step_settings.LAST_LAYER`, which imports TensorFlow
_ITERATIVE = ("conjugate_gradient", "stochastic_cg", "unrolled", "neumann")
_SCALED = ("neumann", "stochastic_cg")

_option = Group("influence")
_READS_H = Need(
    "learned weights and a method that reads H",
    lambda c: c.learns and c.inverse_hessian not in ("identity", "unrolled"),
)
_HEAD = Need(
    f"learned weights and --influence_params={LAST_LAYER}",
    lambda c: c.learns and c.influence_params == LAST_LAYER,
)
_BEYOND_HEAD = Need(
    f"learned weights and --influence_params other than {LAST_LAYER}",
    lambda c: c.learns and c.influence_params != LAST_LAYER,
)


def _solved_by(words: str, *methods: str) -> Need:
    text = f"learned weights and --inverse_hessian{words}"
    return Need(text, lambda c: c.learns and c.inverse_hessian in methods)


_STOCHASTIC = _solved_by("=stochastic_cg", "stochastic_cg")


@dataclasses.dataclass(frozen=True)
class InfluenceOptions:
    """The switches of Eq. 6."""

    inverse_hessian: str = _option(
        "exact",
        "how H x = v is solved",
        choices=(
            "exact", "identity", "outer_product", "conjugate_gradient", "stochastic_cg",
            "unrolled", "neumann", "kfac", "ekfac",
        ),
        needs=LEARNS,
    )  # fmt: skip
    influence_params: str = _option(
        LAST_LAYER, "parameters of Eq. 6: last_layer, all, or REGEX of paths", needs=LEARNS
    )
    per_example_engine: str = _option(
        "forward",
        "how g . v is computed beyond the last layer, to compare costs (docs/influence.md)",
        choices=(
            "forward", "ghost", "layerwise", "layerwise_vectorized", "vectorized_map", "serial",
        ),
        needs=_BEYOND_HEAD,
    )  # fmt: skip
    max_memory: float = _option(
        0.0,
        "GB that one pass beyond the last layer may take, for nets that fill it; 0: no limit",
        NOT_NEGATIVE,
        needs=_BEYOND_HEAD,
        effect=ROUNDING,
    )
    solve_iterations: int = _option(
        20,
        "most iterations K of a solver, where it stops before its tolerance",
        POSITIVE,
        needs=_solved_by(f" of {', '.join(_ITERATIVE)}", *_ITERATIVE),
    )
    solve_tolerance: float = _option(
        1e-6,
        "relative residual that ends it, looser to save time",
        NOT_NEGATIVE,
        needs=_solved_by("=conjugate_gradient or neumann", "conjugate_gradient", "neumann"),
    )
    solve_scale: float = _option(
        0.0,
        "neumann, stochastic_cg: alpha, smaller where it diverges; 0: by power iteration",
        NOT_NEGATIVE,
        needs=_solved_by(f" of {', '.join(_SCALED)}", *_SCALED),
    )
    solve_repeats: int = _option(
        1, "stochastic_cg: runs that are averaged, against its noise", POSITIVE, needs=_STOCHASTIC
    )
    solve_sample: int = _option(
        64, "stochastic_cg: rows of a sample of H, against its noise", POSITIVE, needs=_STOCHASTIC
    )
    score_every_step: bool = _option(
        False, "score every batch with the last direction", needs=_HEAD
    )
    damping: float = _option(
        0.1, "c, added to H over kernel and bias", NOT_NEGATIVE, needs=_READS_H
    )
    hess_l2_coeff: float = _option(
        -1.0, "of weight decay in H; -1: --weight_decay", OR_MINUS_ONE, needs=_READS_H
    )
    hess_wu: bool = _option(True, "H uses --wu for the unlabeled mean (false: 1)", needs=_READS_H)
    theta_hat: str = _option(
        "kernel_bias", "parameters of Eq. 6", choices=("kernel", "kernel_bias"), needs=_HEAD
    )
    infl_mask_grad: bool = _option(True, "the mask is part of l_U in Eq. 6", needs=LEARNS)
    infl_fresh_batch: bool = _option(
        True, "sample new D', U' for the Lambda-step", needs=LEARNS.with_(IN_BATCHES)
    )
    infl_own_features: bool = _option(
        False,
        "the Lambda-step takes the features of its theta-step, to save a pass through a large net",
        needs=LEARNS,
    )
    lambda_batch: int = _option(
        0,
        "U' of a fresh Lambda-step; 0: the training batch's size; -1: all of U, 8192 at most",
        OR_MINUS_ONE,
        needs=LEARNS.with_(IN_BATCHES),
    )
    infl_bn: str = _option(
        "batch",
        "BatchNorm statistics of the Lambda-pass",
        choices=("batch", "moving"),
        needs=Need(
            "learned weights and --model=wide_resnet",
            lambda c: c.learns and c.model == "wide_resnet",
        ),
    )
    curvature: str = _option(
        "gauss_newton",
        "for losses indefinite in z: their positive part, or as they are, to see what that costs",
        choices=("hessian", "gauss_newton"),
        needs=_READS_H,
    )
    val_batch: int = _option(
        0,
        "V' of a Lambda-step, smaller to save time where V is large; 0: as U', at most |V|",
        NOT_NEGATIVE,
        needs=LEARNS,
    )
    val_replace: bool = _option(False, "draw V' with replacement", needs=LEARNS)
