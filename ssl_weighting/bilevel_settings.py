"""The switches of Alg. 1 outside Eq. 6, and when they make a Lambda-step fall due."""

from __future__ import annotations

import dataclasses

from ssl_weighting.checks import check_number
from ssl_weighting.theta.weight_decay import SCOPES

INNER = ("steps", "solve")


@dataclasses.dataclass(frozen=True)
class BilevelSettings:
    """The switches of Alg. 1 outside Eq. 6.

    Attributes:
        inner_steps: N, theta-steps between Lambda-steps.
        lambda_warmup_steps: theta-steps before Lambda may move.
        lambda_at_start: first Lambda-step before any theta-step (the release) rather than after
            the first N (Alg. 1).
        infl_fresh_batch: the Lambda-step samples its own D', U' (Alg. 1, line 7); otherwise it
            reuses the batch of the theta-step that follows (the release).
        stale_w: that theta-step still sees the weights from before (the release).
        infl_own_features: the Lambda-step takes loss rows and features of that theta-step, dropout
            and all, so that only V passes through the net for it (last layer, with `stale_w`).
        weight_decay: coefficient of 0.5 ||K||^2 in the training objective.
        weight_decay_scope: what it covers, a name in `weight_decay.SCOPES`.
        score_every_step: score the batch of every theta-step with the last direction (last layer
            only); the mean of the scores moves the weights at the next Lambda-step.
        measure_noise: also score with either half of V', and report how far they agree; changes no
            weight, costs two more measurements.
        inner: what a theta-step is: "steps", one of the optimizer on a batch, or "solve", an exact
            solution of a convex head's whole objective (`theta.solve`).
        round_steps, inner_tolerance: of "solve", see `Solve`.
    """

    inner_steps: int = 512
    lambda_warmup_steps: int = 0
    lambda_at_start: bool = False
    infl_fresh_batch: bool = True
    stale_w: bool = False
    infl_own_features: bool = False
    weight_decay: float = 0.0
    weight_decay_scope: str = "kernels"
    score_every_step: bool = False
    measure_noise: bool = False
    inner: str = "steps"
    round_steps: int = 3
    inner_tolerance: float = 1e-6

    def __post_init__(self):
        """Check ranges.

        Raises:
            ValueError: a value out of range.
        """
        check_number("inner_steps", self.inner_steps, 1, whole=True)
        check_number("lambda_warmup_steps", self.lambda_warmup_steps, whole=True)
        check_number("weight_decay", self.weight_decay)
        if self.weight_decay_scope not in SCOPES:
            raise ValueError(
                f"`weight_decay_scope` must be one of {', '.join(SCOPES)}. "
                f"Received: {self.weight_decay_scope!r}"
            )
        if self.infl_own_features and (self.infl_fresh_batch or not self.stale_w):
            raise ValueError(
                "`infl_own_features` must come with stale_w=True and infl_fresh_batch=False: the "
                "Lambda-step is part of a theta-step. Received: "
                f"stale_w={self.stale_w}, infl_fresh_batch={self.infl_fresh_batch}"
            )
        if self.inner not in INNER:
            raise ValueError(f"`inner` must be one of {', '.join(INNER)}. Received: {self.inner!r}")
        if self.inner == "solve":
            self._check_solve()
        if self.infl_own_features and self.measure_noise:
            raise ValueError("`measure_noise` must be off with `infl_own_features`. Received: both")

    def _check_solve(self):
        check_number("weight_decay", self.weight_decay, above=0)
        check_number("round_steps", self.round_steps, 1, whole=True)
        check_number("inner_tolerance", self.inner_tolerance, above=0)
        for name in ("lambda_at_start", "stale_w", "score_every_step"):
            if getattr(self, name):
                raise ValueError(f'`{name}` must be False with inner="solve". Received: True')

    def lambda_due(self, step: int) -> bool:
        """Return whether a Lambda-step stands before theta-step number `step` (from 0)."""
        return self.lambda_steps_due(step) > self.lambda_steps_due(step - 1)

    def next_lambda_step(self, step: int) -> int:
        """Return the first step after `step` before which a Lambda-step may stand."""
        past = max(step - self.lambda_warmup_steps, -1)
        return self.lambda_warmup_steps + (past // self.inner_steps + 1) * self.inner_steps

    def lambda_steps_due(self, step: int) -> int:
        """Return how many Lambda-steps stand before theta-step number `step`."""
        past = step - self.lambda_warmup_steps
        return 0 if past < 0 else past // self.inner_steps + self.lambda_at_start
