"""The switches of Alg. 1 outside Eq. 6, and when its steps fall due."""

from __future__ import annotations

import dataclasses

from ssl_weighting.theta.weight_decay import SCOPES


@dataclasses.dataclass(frozen=True)
class BilevelSettings:
    """The switches of Alg. 1 outside Eq. 6.

    Attributes:
        inner_steps: N, theta-steps between Lambda-steps.
        warmup_steps: theta-steps before Lambda may move.
        lambda_at_start: first Lambda-step before any theta-step (the release) rather than after
            the first N (Alg. 1).
        fresh_batch: the Lambda-step samples its own D', U' (Alg. 1, line 7); otherwise it reuses
            the batch of the theta-step that follows (the release).
        stale_weights: that theta-step still sees the weights from before (the release).
        own_features: the Lambda-step takes loss rows and features of that theta-step, dropout and
            all, so that only V passes through the net for it (last layer, with `stale_weights`).
        weight_decay: coefficient of 0.5 ||K||^2 in the training objective.
        weight_decay_scope: what it covers, a name in `weight_decay.SCOPES`.
        score_every_step: score the batch of every theta-step with the last direction (last layer
            only); the mean of the scores moves the weights at the next Lambda-step.
        measure_noise: also score with either half of V', and report how far they agree; changes no
            weight, costs two more measurements.
    """

    inner_steps: int = 512
    warmup_steps: int = 0
    lambda_at_start: bool = False
    fresh_batch: bool = True
    stale_weights: bool = False
    own_features: bool = False
    weight_decay: float = 0.0
    weight_decay_scope: str = "kernels"
    score_every_step: bool = False
    measure_noise: bool = False

    def __post_init__(self):
        """Check ranges.

        Raises:
            ValueError: a value out of range.
        """
        if self.inner_steps < 1:
            raise ValueError(f"`inner_steps` must be >= 1. Received: {self.inner_steps}")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(
                "`warmup_steps` and `weight_decay` must be >= 0. Received: "
                f"warmup_steps={self.warmup_steps}, weight_decay={self.weight_decay}"
            )
        if self.weight_decay_scope not in SCOPES:
            raise ValueError(
                f"`weight_decay_scope` must be one of {', '.join(SCOPES)}. "
                f"Received: {self.weight_decay_scope!r}"
            )
        if self.own_features and (self.fresh_batch or not self.stale_weights):
            raise ValueError(
                "`own_features` must come with stale_weights=True and fresh_batch=False: the "
                "Lambda-step is part of a theta-step. Received: "
                f"stale_weights={self.stale_weights}, fresh_batch={self.fresh_batch}"
            )

    def lambda_due(self, step: int) -> bool:
        """Return whether a Lambda-step stands before theta-step number `step` (from 0)."""
        past = step - self.warmup_steps
        return past % self.inner_steps == 0 and (past > 0 or (past == 0 and self.lambda_at_start))

    def next_lambda_step(self, step: int) -> int:
        """Return the first step after `step` before which a Lambda-step may stand."""
        past = max(step - self.warmup_steps, -1)
        return self.warmup_steps + (past // self.inner_steps + 1) * self.inner_steps
