"""Lambda without extra labels: K models, each validated on the labels it lacks, one Lambda.

Not in the paper. Its V is extra labels, on which one may as well train. Here the labels D are cut
into folds D_1 ... D_K, model k learns from all of them but D_k, and Lambda descends the mean of K
validation losses,

    1/K sum_k L_S(D_k; theta_k(Lambda)),

whose gradient is the mean of Eq. 6 over the models. All score the same unlabeled batch, so that a
Lambda-step is still one update of each of its weights. Between Lambda-steps the models do not touch
each other: each trains as `BilevelTrainer` does. `refit` makes one model of what they learned.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.evaluation import Evaluator, log_softmax
from ssl_weighting.lambda_step import rank_correlation


class CrossFitTrainer:
    """Runs Alg. 1 on several models that share Lambda; stands where one `BilevelTrainer` would.

    Args:
        members: trainers with the same `WeightStore` and the same settings. Their Lambda-steps
            must score the same unlabeled examples.

    Raises:
        ValueError: fewer than two members, another store, or members that score every step or
            train on stale weights.
    """

    def __init__(self, members: Sequence[BilevelTrainer]):
        _check(members)
        self.members = tuple(members)
        self.store, self.settings = members[0].store, members[0].settings
        self.source, self.parameters = members[0].source, members[0].parameters
        self.model, self.devices = members[0].model, members[0].devices
        # How many different ids a batch has varies where it runs over the end of an epoch.
        self._update = tf.function(self.store.update, autograph=False, reduce_retracing=True)

    steps, train = BilevelTrainer.steps, BilevelTrainer.train  # Alg. 1, with the steps below

    @property
    def step(self) -> int:
        """Theta-steps that every member has taken."""
        return self.members[0].step

    @step.setter
    def step(self, value: int) -> None:
        for member in self.members:
            member.step = value

    @property
    def lambda_steps(self) -> int:
        """Lambda-steps taken together."""
        return self.members[0].lambda_steps

    @lambda_steps.setter
    def lambda_steps(self, value: int) -> None:
        for member in self.members:
            member.lambda_steps = value

    def advance(self, num_steps: int) -> None:
        """Let every member take `num_steps` theta-steps.

        Raises:
            ValueError: as `BilevelTrainer.advance`.
            NonFiniteError: a member's loss is not finite.
        """
        for member in self.members:
            member.advance(num_steps)

    def report(self) -> dict[str, float]:
        """Return the means over members of what they report."""
        return _means([member.report() for member in self.members])

    def lambda_step_is_due(self) -> bool:
        """Return whether a Lambda-step stands before the next theta-step and was not taken yet."""
        return self.members[0].lambda_step_is_due()

    def next_pause(self) -> int:
        """Return the first step after this one at which a block of theta-steps must end."""
        return min(member.next_pause() for member in self.members)

    def lambda_step(self) -> dict[str, float]:
        """Move Lambda by the mean of the members' Eq. 6.

        A member whose method found no solution has no say; if none has, Lambda is left alone.

        Returns:
            The means over members of what `LambdaStep` reports, and "members_spearman": the rank
            correlation of two members' scores, mean over all pairs, NaN where one is undefined.
            Scores that are mostly noise of the few labels do not correlate.

        Raises:
            NonFiniteError: as `BilevelTrainer.measure`.
        """
        found = [member.measure() for member in self.members]
        heard = [m for m in found if not m.report["skipped"]]
        if heard:
            gradients = [m.lam_gradient / len(heard) for m in heard]
            ids = tf.concat([m.ids for m in heard], 0)
            rows, gradient = self.store.checked(ids, tf.concat(gradients, 0))
            self._update(rows, gradient)
            self.store.note(rows)
        self.lambda_steps += 1
        report = _means([m.report for m in found])
        solves = dict.fromkeys(m.report["solve"] for m in found)
        report |= {"solve": ", ".join(solves), "skipped": not heard, "finite": True}
        return report | {"members_spearman": _agreement(found)}


class Ensemble:
    """An evaluator whose probabilities are the mean of several models'.

    Args:
        members: evaluators of the models.
    """

    def __init__(self, members: Sequence[Evaluator]):
        self.members = tuple(members)
        self.batch_size = members[0].batch_size

    def logits(self, inputs: np.ndarray, **options) -> np.ndarray:
        """Return log mean_k p_k of all `inputs`, [n, C] float32; options as `Evaluator.logits`."""
        logs = [log_softmax(m.logits(inputs, **options).astype(np.float64)) for m in self.members]
        return (np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))).astype(np.float32)

    error_and_loss = Evaluator.error_and_loss


def _agreement(found):
    return float(np.mean([_rank_correlation(*pair) for pair in itertools.combinations(found, 2)]))


def _rank_correlation(one, other):
    if one.ids.shape != other.ids.shape or bool(tf.reduce_any(one.ids != other.ids)):
        return float("nan")
    return rank_correlation(one.lam_gradient, other.lam_gradient)


def _means(reports):
    numbers = {k for k, v in reports[0].items() if isinstance(v, int | float)}
    return {k: float(np.mean([r[k] for r in reports])) for k in reports[0] if k in numbers}


def _check(members):
    if len(members) < 2:
        raise ValueError(f"`members` must be at least two trainers. Received: {len(members)}")
    if any(m.store is not members[0].store or m.settings != members[0].settings for m in members):
        raise ValueError(
            "`members` must share one weight store and equal settings. Received: different ones. "
            "Build the WeightStore once and hand it to each."
        )
    if members[0].settings.score_every_step or members[0].settings.stale_w:
        raise ValueError(
            "`members` must be trainers without `score_every_step` and `stale_w`. Received: "
            "one of these. Switch both off."
        )
