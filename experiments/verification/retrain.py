"""The oracle of Eq. 6: train again with another weight, and see where the validation loss went.

    dL_S(V, theta*) / d lambda_u = (L_S(V) at lambda_u + D - L_S(V) at lambda_u - D) / 2 D + O(D^2)

Every training starts at theta* and takes steps of the chord method, theta <- theta - M^-1 grad,
with M the derivative of the gradient at theta*. Nothing here comes from Eq. 6 or from its solvers.

With *frozen* targets this is what Eq. 6 predicts. With *live* ones they follow the net at every
step: q + q(theta) - q(theta*), q the frozen ones and q(.) those that the net makes of the weak
views, constants in each gradient, as in self-training; the root is its fixed point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import linalg

from experiments.verification.minimise import AIM, GOAL, Minimum
from experiments.verification.problems import Data
from experiments.verification.task import Task

SHRINK, TRIES = 4, 5  # a smaller step where the two do not agree, so many times
AGREEMENT, NOISE = 0.02, 1e-10  # relative; absolute, what rounding leaves of a difference
STEPS = 60


class Retrained(NamedTuple):
    """d L_S(V) / d lambda_u by retraining, [n] one entry an id."""

    changes: np.ndarray  # by the smaller of the two steps
    disagreement: np.ndarray  # |difference between the two| / |changes|
    delta: np.ndarray  # the smaller step
    norm: np.ndarray  # the largest gradient norm at which one of the four trainings ended

    @property
    def sound(self) -> np.ndarray:
        """Whether all four trainings ended below `GOAL` and the two steps agree, [n] bool."""
        with np.errstate(invalid="ignore"):  # inf * 0 where two trainings ended at the same value
            difference = self.disagreement * np.abs(self.changes)
        agree = (self.disagreement <= AGREEMENT) | (difference <= NOISE)
        return agree & (self.norm < GOAL)


def retrain(
    task: Task,
    data: Data,
    minimum: Minimum,
    ids: np.ndarray,
    *,
    live: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Retrained:
    """Retrain four times for every id, with lambda_u + D, - D, + D/2 and - D/2.

    D starts at the problem's `delta`. Where trainings fail or the two differences disagree, it is
    made smaller: a minimum that a large step loses says nothing about the derivative.

    Args:
        ids: [n] int, places among the unlabeled examples.
        live: whether targets follow the net.
        say: told how far it is.
    """
    chord, found = Chord(task, data, minimum, live), []
    for n, u in enumerate(ids):
        for power in range(TRIES):
            one = _differences(chord, u, task.problem.delta / SHRINK**power)
            if one.sound:
                break
        found.append(one)
        if n % 50 == 49:
            say(f"{'live' if live else 'frozen'} targets: {n + 1} of {len(ids)} ids retrained")
    return Retrained(*map(np.array, zip(*found, strict=True)))


def _differences(chord, u, delta):
    ends = {d: chord.retrained(u, d) for d in (delta, -delta, delta / 2, -delta / 2)}
    wide, narrow = ((ends[d][0] - ends[-d][0]) / (2 * d) for d in (delta, delta / 2))
    disagreement = abs(wide - narrow) / abs(narrow) if narrow else np.inf
    return Retrained(narrow, disagreement, delta / 2, max(end[1] for end in ends.values()))


class Chord:
    """Trainings that start at one minimum."""

    def __init__(self, task: Task, data: Data, minimum: Minimum, live: bool):
        self.task, self.data, self.minimum, self.live = task, data, minimum, live
        self.own = task.targets(minimum.params, data)
        slope = minimum.hessian
        if live:
            slope = slope - task.target_pull(minimum.params, data, data.example_weights).numpy()
        self.factor = linalg.lu_factor(slope)

    def retrained(self, u: int, change: float) -> tuple[float, float]:
        """Return L_S(V) after training with lambda_u + change, and the gradient norm.

        Ends where a step does not lower the norm: `change` is too large for M, or only rounding is
        left.
        """
        lam = self.data.example_weights.numpy()
        lam[u] += change
        lam, params, best_norm = tf.constant(lam), self.minimum.params, np.inf
        for _ in range(STEPS):
            g = self.task.gradient(params, self.data, self._targets(params), lam)[1].numpy()
            norm = np.linalg.norm(g)
            if norm >= best_norm:
                break
            best, best_norm = params, norm
            if norm < AIM:
                break
            params = best - linalg.lu_solve(self.factor, g)
        return float(self.task.validation(best, self.data)[0]), float(best_norm)

    def _targets(self, params):
        if not self.live:
            return self.minimum.targets
        return self.minimum.targets + self.task.targets(params, self.data) - self.own
