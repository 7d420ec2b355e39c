"""Exact theta-steps of a convex head: each is one solution of the whole objective, in float64.

Eq. 6 speaks of theta* = argmin L(theta, Lambda). On fixed features with fixed pseudo-labels a
linear softmax head has such a minimum, and L-BFGS finds it. Pseudo-labels are those of the head at
the beginning of a round of several theta-steps; the first ones are those of the head on D alone, so
that nothing depends on initial values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.checks import check_labeled, check_number, check_unlabeled
from ssl_weighting.losses import targets_of
from ssl_weighting.models.network import named_outputs
from ssl_weighting.structs import LossRows
from ssl_weighting.theta.convex_head import Problem, minimum
from ssl_weighting.theta.step import MEANS, NonFiniteError
from ssl_weighting.theta.weight_decay import is_decayed


class Round(NamedTuple):
    """The rows of a round of theta-steps as far as no step of it changes them."""

    weighing: tuple[tf.Tensor, ...]  # what `Solve._weigh` needs to know of them
    features: np.ndarray  # [R, d + 1] float64, with a trailing 1
    targets: np.ndarray  # [R, C] float64
    added: np.ndarray  # [R] float64: what each row's loss has beside the cross-entropy
    base: np.ndarray  # [R] float64: coefficients with all lambda = 1
    labeled: np.ndarray  # [R] bool
    mask_rate: float

    def problem(self, coefficients: np.ndarray, decay: np.ndarray) -> Problem:
        """Return what is minimised at these coefficients; rows without one are left out."""
        has = coefficients != 0
        return Problem(self.features[has], self.targets[has], coefficients[has], decay)


class Solve:
    """Takes theta-steps that are solutions; stands where a `ThetaStep` does.

    Args:
        model: Keras model inputs -> {"features", "logits"} that learns nothing but a Dense layer
            between them.
        algorithm: `Anchored`, of rows that are cross-entropies.
        store: `WeightStore`, which is read.
        ema: `ExponentialMovingAverage` of theta, of decay 0.
        source: batches that are the whole of D and U (data.whole.WholeSource).
        weight_decay: coefficient of 0.5 ||K||^2 in the objective, greater than 0: else it may have
            no minimum.
        weight_decay_scope: what it covers, a name in `weight_decay.SCOPES`.
        round_steps: theta-steps between two renewals of the pseudo-labels.
        tolerance: ||grad||_2 below which a theta is a solution.

    Attributes:
        unreported: as of `ThetaStep`.

    Raises:
        ValueError: a number out of range, or a model that is not such a head.
    """

    def __init__(
        self,
        model,
        algorithm,
        store,
        ema,
        source,
        *,
        weight_decay: float,
        weight_decay_scope: str = "kernels",
        round_steps: int = 3,
        tolerance: float = 1e-6,
    ):
        check_number("weight_decay", weight_decay, above=0)
        check_number("round_steps", round_steps, 1, whole=True)
        check_number("tolerance", tolerance, above=0)
        self.model, self.algorithm, self.store, self.ema = model, algorithm, store, ema
        self.source, self.round_steps, self.tolerance = source, round_steps, tolerance
        self.params = _head_of(model)
        decays = [weight_decay * is_decayed(v, weight_decay_scope) for v in self.params]
        self.decay = np.repeat(decays, [self.params[0].shape[0], 1])
        self.unreported = np.zeros(1 + len(MEANS))
        self.forget()
        self._rows = tf.function(self._rows_fn, autograph=False)
        self._weigh = tf.function(self._weigh_fn, autograph=False)

    def forget(self) -> None:
        """Throw away the rows of the round, which are made again from the anchor."""
        self._round = None

    def take(self, step: int, count: int) -> dict[str, float]:
        """Take the theta-steps number `step` to `step + count - 1` and `report`; see `advance`."""
        self.advance(step, count)
        return self.report()

    def advance(self, step: int, count: int) -> None:
        """Take the theta-steps number `step` to `step + count - 1`.

        Raises:
            NonFiniteError: no solution was found, with its step.
            ValueError: labels or ids of another shape or out of range.
        """
        for k in range(step, step + count):
            if k == 0:
                self._start()
            if k % self.round_steps == 0:
                self.algorithm.renew()
                self.forget()
            self._round = self._round or self._made(k)
            self._solve(self._round, self._coefficients(k), k)
            self.ema.update()

    def report(self) -> dict[str, float]:
        """Return means over the steps since the last report: those of `MEANS`."""
        count, *sums = self.unreported.tolist()
        self.unreported = np.zeros_like(self.unreported)
        return {name: total / count for name, total in zip(MEANS, sums, strict=True)}

    def problem(self, step: int) -> Problem:
        """Return the objective of theta-step number `step`, at the current anchor and Lambda."""
        self._round = self._round or self._made(step)
        return self._round.problem(self._coefficients(step), self.decay)

    @property
    def theta(self) -> np.ndarray:
        """The head [d + 1, C] float64, the bias below the kernel."""
        return np.concatenate([np.atleast_2d(v.numpy()) for v in self.params]).astype(np.float64)

    def _start(self):
        """Solve the head on D alone."""
        self.forget()
        made = self._made(0)
        alone = made.problem(np.where(made.labeled, made.base, 0.0), self.decay)
        self._minimise(alone, np.zeros_like(self.theta), 0)

    def _solve(self, made, coefficients, step):
        problem = made.problem(coefficients, self.decay)
        loss, theta = self._minimise(problem, self.theta, step)
        whole = Problem(made.features, made.targets, made.base, self.decay)
        each = made.base * (whole.row_losses(theta) + made.added)
        split = each[made.labeled].sum(), each[~made.labeled].sum()
        loss += coefficients @ made.added
        self.unreported = self.unreported + np.array([1, loss, *split, made.mask_rate])

    def _minimise(self, problem, start, step):
        """Move theta to the minimum; return the objective there and the place."""
        found = minimum(problem, start, self.tolerance)
        if not found.gradient_norm < self.tolerance:
            raise NonFiniteError(
                f"The head has no solution at step {step}: after {found.evaluations} evaluations "
                f"||gradient|| is {found.gradient_norm:.3g}, not below --inner_tolerance="
                f"{self.tolerance:g}. Lambda is untouched. Raise --weight_decay or "
                "--inner_tolerance, or check the inputs"
            )
        kernel, bias = self.params
        kernel.assign(found.theta[:-1].astype(np.float32))
        bias.assign(found.theta[-1].astype(np.float32))
        return problem.value_and_gradient(found.theta)[0], found.theta

    def _made(self, step) -> Round:
        labeled, unlabeled = self.source.at(step)
        rows, weighing = self._rows(labeled, unlabeled, tf.constant(step, tf.int64))
        features, targets, added, base, mask = (t.numpy().astype(np.float64) for t in rows)
        self._refuse_non_finite(features, step)
        is_labeled = weighing[0].numpy()[:, 0] < 0
        return Round(
            weighing,
            np.concatenate([features, np.ones([len(features), 1])], axis=1),
            targets / targets.sum(axis=1, keepdims=True),  # in float32 they sum to 1 but nearly
            added,
            base,
            is_labeled,
            float(mask[~is_labeled].mean()) if not is_labeled.all() else 0.0,
        )

    def _refuse_non_finite(self, features, step):
        if not (np.isfinite(features).all() and np.isfinite(self.theta).all()):
            raise NonFiniteError(
                f"The features and the head must be finite at step {step}. Received: NaN or "
                "infinity. Check the inputs, and resume from the last checkpoint"
            )

    def _coefficients(self, step):
        weighed = self._weigh(*self._round.weighing, tf.constant(step, tf.int64))
        return weighed.numpy().astype(np.float64)

    def _rows_fn(self, labeled, unlabeled, step):
        check_labeled(labeled, "labeled", self.params[0].shape[1])
        check_unlabeled(unlabeled, self.store.num_unlabeled)
        rows = self.algorithm(self._forward, labeled, unlabeled, step)
        targets, added = targets_of(rows.loss_of_logits)
        base = objective.row_coefficients(rows, None)
        weighing = rows.ids, rows.share, rows.confidence, rows.coefficient, rows.mask
        return (rows.features, targets, added, base, rows.mask), weighing

    def _weigh_fn(self, ids, share, confidence, coefficient, mask, step):
        """Return the coefficients of a round's rows under the current Lambda, [R]."""
        lam = self.store.gather(ids, confidence, self.params[0].shape[1], step)
        nothing = dict.fromkeys(LossRows._fields)
        parts = {"ids": ids, "share": share, "coefficient": coefficient, "mask": mask}
        rows = LossRows(**nothing | parts)
        return objective.row_coefficients(rows, objective.row_weights(rows, lam))

    def _forward(self, inputs, *, makes_rows=True, moves_statistics=True):
        del makes_rows, moves_statistics
        return named_outputs(self.model(inputs, training=False))


def _head_of(model):
    """Return kernel and bias of a model that learns nothing else."""
    params = list(model.trainable_variables)
    shapes = [tuple(v.shape) for v in params]
    if len(shapes) != 2 or len(shapes[0]) != 2 or shapes[1] != shapes[0][1:]:
        raise ValueError(
            "`model` must learn the kernel [d, C] and the bias [C] of one Dense layer, whose "
            f"objective is convex. Received: {model.name}, which learns {shapes}. Take a linear "
            'head, or inner="steps"'
        )
    return params
