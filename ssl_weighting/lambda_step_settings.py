"""The switches of `lambda_step`: what Eq. 6 speaks of and how it is solved."""

from __future__ import annotations

import dataclasses

from ssl_weighting.checks import check_number
from ssl_weighting.inverse_hessian import METHODS, SolveOptions
from ssl_weighting.per_example_gradients import ENGINES

BATCH_NORM_MODES = ("batch", "moving")
CURVATURES = ("hessian", "gauss_newton")
LAST_LAYER = "last_layer"
THETA_HATS = ("kernel", "kernel_bias")


@dataclasses.dataclass(frozen=True)
class LambdaStepSettings:
    """The switches of Eq. 6 (rows of the presets table in the README).

    Attributes:
        influence_params: "last_layer" (closed forms, float64), "all", or a regular expression on
            the paths of the model's trainable variables (automatic differentiation).
        inverse_hessian: a name in `inverse_hessian.METHODS`.
        solve: how long and how exactly it solves; `solve.damping` is c >= 0, added to H.
        solve_sample: rows of one random sample of H (method stochastic_cg).
        per_example_engine: how g . v is computed outside the last layer.
        max_memory: bytes that one pass outside the last layer may take; None: no limit.
        hess_l2_coeff: coefficient of 0.5 ||K||^2 in H, K what weight decay covers; None: that of
            the training objective.
        hess_wu: whether H uses wu (with its ramp) rather than 1 in its place.
        theta_hat: the last layer's parameters in Eq. 6, "kernel_bias" or "kernel".
        infl_mask_grad: whether the mask is part of l_U in Eq. 6 (the paper) or left out.
        infl_bn: "batch" or "moving" statistics in the Lambda-pass; neither moves them.
        curvature: "hessian" or "gauss_newton".
    """

    influence_params: str = LAST_LAYER
    inverse_hessian: str = "exact"
    solve: SolveOptions = dataclasses.field(default_factory=lambda: SolveOptions(damping=0.1))
    solve_sample: int = 64
    per_example_engine: str = "forward"
    max_memory: int | None = None
    hess_l2_coeff: float | None = None
    hess_wu: bool = True
    theta_hat: str = "kernel_bias"
    infl_mask_grad: bool = True
    infl_bn: str = "batch"
    curvature: str = "gauss_newton"

    def __post_init__(self):
        """Check names and ranges.

        Raises:
            ValueError: an unknown name or a number out of range.
        """
        for name, known in (
            ("inverse_hessian", tuple(METHODS)),
            ("per_example_engine", tuple(ENGINES)),
            ("theta_hat", THETA_HATS),
            ("infl_bn", BATCH_NORM_MODES),
            ("curvature", CURVATURES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. Received: {getattr(self, name)!r}"
                )
        if self.hess_l2_coeff is not None:
            check_number("hess_l2_coeff", self.hess_l2_coeff)
        check_number("solve_sample", self.solve_sample, 1, whole=True)
        if self.max_memory is not None:
            check_number("max_memory", self.max_memory, 1, whole=True)
