"""Scores of examples that no run has seen: what their weights would do to the validation loss.

The last v = H^-1 grad L_S(V) of a run stays what it is, whichever examples it is multiplied with:
one more pass gives dL_S(V)/d lambda of an example that never was in U. What is said of an example
is a function of it alone: neither its batch nor its neighbours change a bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms import UDA, FixMatch, PseudoLabel
from ssl_weighting.algorithms.anchored import Anchored
from ssl_weighting.algorithms.oracle import pseudo_labels
from ssl_weighting.checks import check_number
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.keyed_random import example_keys, uniform
from ssl_weighting.evaluation import in_batches
from ssl_weighting.influence import lam_gradient, row_scores
from ssl_weighting.inverse_hessian import STATUS, solve
from ssl_weighting.lambda_step import LambdaStep
from ssl_weighting.parameters import Parameters, made_rows
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch, sum_by_id

ALGORITHMS = ("pseudo_label", "uda", "fixmatch")  # a row of theirs has one example
STREAM = 2**20  # of `example_keys`: no batch of training draws from it
EAGER = 512  # examples up to which what is called once is not compiled
_DUMMIES = 16  # labeled examples that an algorithm wants; a multiple of what kernels take at once


class Direction(NamedTuple):
    """What a run knows of its validation set at its end."""

    vector: np.ndarray  # [p]: v, in the dtype of Eq. 6
    val_gradient: np.ndarray  # [p]: grad L_S(V), of all of V
    validation_loss: float
    status: str  # a value of `inverse_hessian.STATUS`
    iterations: int
    finite: bool


def final_direction(
    lambda_step: LambdaStep, batch, validation: Iterable[LabeledBatch], step: int
) -> Direction:
    """Return v with H of one batch and the gradient of all of V; nothing is changed.

    Args:
        lambda_step: whose parameters, algorithm and weights they are.
        batch: (LabeledBatch, UnlabeledBatch) of H, as a Lambda-step takes.
        validation: V in parts, at least one example.
        step: theta-steps taken so far.
    """
    parameters, settings = lambda_step.parameters, lambda_step.settings
    gradient_of = _by_size(parameters.validation_gradient)
    count, loss, gradient = 0, 0.0, 0.0
    for part in validation:  # each mean counts by its examples
        size = len(part.label)
        found, its_gradient = gradient_of(size, part)
        count, loss = count + size, loss + size * float(found)
        gradient = gradient + size * its_gradient.numpy().astype(np.float64)
    gradient = tf.constant(gradient / count, parameters.dtype)

    def solved(labeled, unlabeled, now):
        rows, inputs = made_rows(parameters.forward, lambda_step.algorithm, labeled, unlabeled, now)
        prepared = parameters.prepare(rows, inputs, lambda_step.coefficients(rows, now))
        curvature = parameters.curvature(prepared)
        return solve(settings.inverse_hessian, curvature, gradient, settings.solve)

    solution = _by_size(solved)(len(batch[1].ids), *batch, tf.constant(step, tf.int64))
    vector = solution.vector.numpy()
    told = STATUS[int(solution.status)], int(solution.iterations)
    return Direction(vector, gradient.numpy(), loss / count, *told, bool(np.isfinite(vector).all()))


def _by_size(function):
    """Return (size, *arguments) -> `function`, compiled where that is many examples.

    Compiling takes longer than a call on few; but Keras, called without, keeps what every layer
    said of all of them to the end.
    """
    compiled = tf.function(function, autograph=False)

    def call(size, *arguments):
        return (compiled if size > EAGER else function)(*arguments)

    return call


class Scored(NamedTuple):
    """What is said of n examples."""

    pseudo_label: np.ndarray  # [n] int64: the class that the loss pulls to
    confidence: np.ndarray  # [n] float32: the probability of it, in the weak view
    loss: np.ndarray  # [n] float32: of the example's own row, without mask and coefficient
    influence: np.ndarray  # [n] float32: dL_S(V)/d lambda; positive harms


class Scorer:
    """Scores of examples at the end of a run.

    Args:
        parameters: of the raw model, with moving statistics of BatchNorm: those of a batch would
            tie its examples together.
        algorithm: `FixMatch`, `UDA` or `PseudoLabel`, or one of them `Anchored`.
        direction: [p], v of `Direction`.
        step: theta-steps that the run took.
        batch: examples in the net at once; every call computes so many.
        infl_mask_grad: as in `LambdaStepSettings`.

    Raises:
        ValueError: an algorithm whose rows have several examples, or parameters that tie a batch
            together, or a direction of another size.
    """

    def __init__(
        self,
        parameters: Parameters,
        algorithm,
        direction: np.ndarray,
        step: int,
        *,
        batch: int = 256,
        infl_mask_grad: bool = True,
    ):
        check_number("batch", batch, 1, whole=True)
        _check(parameters, direction)
        self.parameters, self.algorithm = parameters, _of_single_rows(algorithm)
        self.batch, self.infl_mask_grad = batch, infl_mask_grad
        self._direction = tf.constant(direction, parameters.dtype)
        self._step = tf.constant(step, tf.int64)
        self.tensors = tf.function(self._tensors, autograph=False)

    def scores(self, weak, strong) -> Scored:
        """Return what is said of n examples; row by row, whatever the others are.

        Args:
            weak, strong: their views [n, ...], as the model takes them; n at least 1.
        """
        return Scored(*in_batches(self.tensors, self.batch, weak, strong))

    def _tensors(self, weak, strong):
        """Return a `Scored` of tensors for `batch` examples."""
        n, mine = self.batch, slice(_DUMMIES, _DUMMIES + self.batch)
        # Labeled rows come first and have no part in what follows.
        dummies = tf.repeat(weak[:1], _DUMMIES, axis=0)
        labeled = LabeledBatch(dummies, tf.zeros([_DUMMIES], tf.int32))
        unlabeled = UnlabeledBatch(tf.range(n, dtype=tf.int64), weak, strong)
        rows, inputs = made_rows(self._forward, self.algorithm, labeled, unlabeled, self._step)
        prepared = self.parameters.prepare(rows, inputs, tf.ones_like(rows.loss))
        found = row_scores(self.parameters, prepared, self._direction)
        _, influence = sum_by_id(*lam_gradient(rows, found, n, self.infl_mask_grad))
        return Scored(
            pseudo_labels(rows)[mine],
            rows.confidence[mine, 0],
            rows.loss[mine],
            tf.ensure_shape(influence, [n]),
        )

    def _forward(self, inputs):
        """Pass what an algorithm passes but labeled rows: nobody reads what stands for them."""
        if inputs.shape[0] == self.batch:  # the weak views by themselves
            return self.parameters.forward(inputs)

        def with_dummies(outputs):
            return tf.concat([tf.repeat(outputs[:1], _DUMMIES, axis=0), outputs], axis=0)

        outputs = self.parameters.forward(inputs[_DUMMIES:])
        return tf.nest.map_structure(with_dummies, outputs)


def views_of(augmentation: Augmentation, seed: int) -> Callable:
    """Return (inputs [n, ...], keys [n] int64) -> (weak, strong), compiled.

    Each example's draws depend on `seed` and its key alone, see `keys_of`; no visit of training has
    the same ones.
    """
    parts = (
        (augmentation.weak, augmentation.weak_draws),
        (augmentation.strong, augmentation.strong_draws),
    )

    def views(inputs, keys):
        state = () if augmentation.state is None else (augmentation.state(),)
        first = tf.zeros_like(keys)
        with tf.device("CPU:0"):  # 64-bit integer arithmetic, like batches of training
            return tuple(
                make(inputs, uniform(example_keys(seed, STREAM, keys, first, view), draws), *state)
                for view, (make, draws) in enumerate(parts)
            )

    return tf.function(views, autograph=False)


def keys_of(names: Sequence[str]) -> np.ndarray:
    """Return the key of each example, [n] int64 from 0: 63 bits of the SHA-256 of its name."""
    digests = (hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in names)
    return np.array([int.from_bytes(d[:8], "big") >> 1 for d in digests], np.int64)


def _of_single_rows(algorithm):
    if isinstance(algorithm, Anchored):
        _of_single_rows(algorithm.algorithm)
        return algorithm
    if not isinstance(algorithm, FixMatch | UDA | PseudoLabel):
        raise ValueError(
            f"`algorithm` must be one of {', '.join(ALGORITHMS)}, whose rows have one example "
            f"each. Received: {type(algorithm).__name__}"
        )
    if getattr(algorithm, "broadcast_mask", False):
        raise ValueError(
            "`algorithm` must mask each row by itself. Received: broadcast_mask=True, which gives "
            "every row of a batch the mean mask"
        )
    if getattr(algorithm, "interleave", False):  # its order needs batches of certain sizes
        return dataclasses.replace(algorithm, interleave=False)
    return algorithm


def _check(parameters, direction):
    if parameters.network.ties_examples:
        raise ValueError(
            "`parameters` must have batch_norm='moving': with the statistics of a batch its "
            "examples depend on each other. Received: batch_norm='batch'"
        )
    if direction.shape != (parameters.size,) or not np.isfinite(direction).all():
        raise ValueError(
            f"`direction` must be {parameters.size} finite numbers, one for each parameter. "
            f"Received: {direction.dtype.name}{list(direction.shape)}"
        )
