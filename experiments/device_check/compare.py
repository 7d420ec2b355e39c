"""A trace beside the recorded one: how far they are apart, as a share of what is allowed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from experiments.device_check.cases import LAMBDA_LR
from experiments.device_check.trace import Trace

LAMBDA = 0.05  # of a weight's step
# An influence whose sign or size rounding could decide does not say where its weight went.
CERTAIN = 10


class Tolerance(NamedTuple):
    """What is allowed: of losses and norms a share of them, of influences a share of the largest.

    Attributes:
        first, last: at the first theta-step and at step `LENGTH`, in between on a line.
        influence: of the largest influence of its Lambda-step.
        steps: theta-steps that are compared; None: all.
    """

    first: float
    last: float
    influence: float
    steps: int | None = None

    def at(self, step: int) -> float:
        """Return what is allowed at a step, from 1."""
        return self.first + (self.last - self.first) * (step - 1) / (LENGTH - 1)


LENGTH = 20
TOLERANCES = {
    # Sums in another order; twenty steps multiply what they leave.
    "float32": Tolerance(2e-4, 2e-3, 1e-3),
    # Products of ten or eleven bits (float16, TF32) take another way soon.
    "half": Tolerance(5e-2, 5e-2, 5e-2, steps=3),
}


class Deviation(NamedTuple):
    """The worst of a comparison: its size over what is allowed (above 1 fails), and where."""

    share: float
    where: str


def compare(found: Trace, recorded: Trace, tolerance: Tolerance) -> Deviation:
    """Return the worst deviation of a trace from the recorded one.

    Args:
        found: as long as `recorded`, or as `tolerance.steps`.
        recorded: the reference.
        tolerance: one of `TOLERANCES`.
    """
    steps = tolerance.steps or len(recorded.loss)
    deviations = []
    for name in ("loss", "gradient_norm"):
        ours, theirs = getattr(found, name), getattr(recorded, name)[:steps]
        if len(ours) != len(theirs):
            return Deviation(math.inf, f"{len(ours)} steps instead of {len(theirs)}")
        for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
            share = _share(abs(a - b), tolerance.at(step) * abs(b))
            deviations.append(Deviation(share, f"{name.replace('_', ' ')} of step {step}"))
    expected = [one for one in recorded.lambda_steps if one["step"] < steps]
    if [one["step"] for one in found.lambda_steps] != [one["step"] for one in expected]:
        return Deviation(math.inf, "other Lambda-steps than recorded")
    doubtful = set()
    for ours, theirs in zip(found.lambda_steps, expected, strict=True):
        deviations += _of_lambda_step(ours, theirs, tolerance, doubtful)
    return max(deviations, key=lambda one: one.share)


def certain(recorded: Trace, tolerance: Tolerance) -> float:
    """Return the share of a trace's weights that are compared."""
    doubtful, shares = set(), [1.0]
    for one in recorded.lambda_steps:
        doubtful |= _doubtful(one, tolerance)
        shares.append(np.mean([i not in doubtful for i in one["ids"]]))
    return float(min(shares))


def _of_lambda_step(ours, theirs, tolerance, doubtful):
    """Return the deviations of one Lambda-step; ids whose weights are not certain are added."""
    where = f"before step {theirs['step'] + 1}"
    loss = theirs["validation_loss"]
    apart = abs(ours["validation_loss"] - loss)
    allowed = tolerance.at(theirs["step"] + 1) * abs(loss)
    yield Deviation(_share(apart, allowed), f"validation loss {where}")
    if ours["ids"] != theirs["ids"]:
        yield Deviation(math.inf, f"other examples {where}")
        return
    influence = np.array(theirs["influence"])
    apart = np.abs(np.array(ours["influence"]) - influence).max()
    yield Deviation(
        _share(apart, tolerance.influence * np.abs(influence).max()), f"an influence {where}"
    )
    doubtful |= _doubtful(theirs, tolerance)
    apart = np.abs(np.array(ours["lam"]) - np.array(theirs["lam"]))
    apart = apart[[i not in doubtful for i in theirs["ids"]]]
    yield Deviation(_share(apart.max(initial=0.0), LAMBDA * LAMBDA_LR), f"a weight {where}")


def _doubtful(recorded, tolerance):
    influence = np.abs(recorded["influence"])
    sure = (influence >= CERTAIN * tolerance.influence * influence.max()) | (influence == 0)
    return {i for i, is_sure in zip(recorded["ids"], sure, strict=True) if not is_sure}


def _share(apart, allowed):
    if not math.isfinite(apart):
        return math.inf
    return float(apart / allowed) if allowed else (0.0 if apart == 0 else math.inf)
