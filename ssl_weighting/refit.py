"""One model on all labels: learn Lambda first, then train anew with it.

Not in the paper. Labels that validate are labels that no model learns from: V, or the fold that
each model of a cross-fit lacks. Once Lambda is learned they have done their work. A fresh model,
with initial values of its own, takes theta-steps alone (Alg. 1, lines 4 and 5) on all labels; the
learned Lambda stays as it is, and pseudo-labels are the fresh model's.
"""

from __future__ import annotations

from collections.abc import Iterator

from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.cross_fit import CrossFitTrainer
from ssl_weighting.structs import Event, Most, Stops


class RefitTrainer:
    """Learns Lambda, then refits; stands where one `BilevelTrainer` would.

    Args:
        learning: what learns Lambda.
        refit: trainer of a fresh model on all labels, with the `frozen` weights of `learning`.
        learning_steps: theta-steps of `learning`; the refit's are counted on from there.

    Raises:
        ValueError: weights that are others, or not frozen; no step to learn in; `refit` on other
            devices.
    """

    def __init__(
        self,
        learning: BilevelTrainer | CrossFitTrainer,
        refit: BilevelTrainer,
        learning_steps: int,
    ):
        _check(learning, refit, learning_steps)
        self.learning, self.refit, self.learning_steps = learning, refit, learning_steps
        self.store, self.settings = learning.store, learning.settings
        self.parameters, self.devices = learning.parameters, learning.devices
        self.source, self.model = refit.source, refit.model

    def steps(self, until: int, stops: Stops = None, most: Most = None) -> Iterator[Event]:
        """Learn, then refit, until `until` theta-steps in all; tell of every piece.

        A block of theta-steps ends where the learning does. Arguments, events and errors as of
        `BilevelTrainer.steps`.
        """
        yield from self.learning.steps(min(until, self.learning_steps), stops, most)
        if until <= self.learning_steps:
            return
        for member in self.learning.members:
            member.theta.forget()
        before = self.learning_steps
        later = (lambda step: stops(step + before) - before) if stops else None
        for event in self.refit.steps(until - before, later, most):
            yield event._replace(step=event.step + before)

    @property
    def refits(self) -> bool:
        """Whether the refit has begun."""
        return self.refit.step > 0

    @property
    def members(self) -> tuple[BilevelTrainer, ...]:
        """The trainers of the models that train now; their state is the run's, beside Lambda's."""
        return self.refit.members if self.refits else self.learning.members

    @property
    def step(self) -> int:
        """Theta-steps taken, the refit's after those of the learning."""
        return self.learning.step + self.refit.step

    @step.setter
    def step(self, value: int) -> None:
        self.learning.step = min(value, self.learning_steps)
        self.refit.step = max(value - self.learning_steps, 0)

    @property
    def lambda_steps(self) -> int:
        """Lambda-steps taken."""
        return self.learning.lambda_steps

    @lambda_steps.setter
    def lambda_steps(self, value: int) -> None:
        self.learning.lambda_steps = value


def _check(learning, refit, learning_steps):
    if refit.store.learns or refit.store.lam is not learning.store.lam:
        raise ValueError(
            "`refit` must have the weights that are learned, frozen. Received: "
            f"{'weights that learn' if refit.store.learns else 'other weights'}. Build it with "
            "`learning.store.frozen()`"
        )
    if learning_steps < 1:
        raise ValueError(f"`learning_steps` must be at least 1. Received: {learning_steps}")
    if refit.devices.count != learning.devices.count:
        raise ValueError(
            "`refit` must be on as many devices as `learning`. Received: "
            f"{refit.devices.count} and {learning.devices.count}"
        )
