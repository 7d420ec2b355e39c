"""Typed batches and the loss rows that every other part of the package exchanges."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import tensorflow as tf


class Probe(NamedTuple):
    """Labeled images changed by CTAugment's probe policy, and that policy."""

    inputs: tf.Tensor  # [B, ...] float32
    op: tf.Tensor  # [B, DEPTH] int32
    level: tf.Tensor  # [B, DEPTH, 2] float32


class LabeledBatch(NamedTuple):
    """D' or V' of Alg. 1: examples with their classes."""

    inputs: tf.Tensor  # [B, ...] float32, or [B, L] int32 tokens
    label: tf.Tensor  # [B] int32
    probe: Probe | tuple[()] = ()  # of the same examples, where CTAugment's rates are learned


class UnlabeledBatch(NamedTuple):
    """U' of Alg. 1: two views of each unlabeled example and its stable id."""

    ids: tf.Tensor  # [U] int64, ids 0..|U|-1; duplicates are allowed
    weak: tf.Tensor  # [U, ...] float32, or [U, L] int32 tokens of the original
    strong: tf.Tensor  # [U, ...] as `weak`; tokens of the augmented text


class Forward(Protocol):
    """The network as an algorithm calls it."""

    def __call__(
        self, inputs: tf.Tensor, *, makes_rows: bool = True, moves_statistics: bool = True
    ) -> dict[str, tf.Tensor]:
        """Return {"features": [N, d], "logits": [N, C]} of `inputs` [N, ...].

        A pass with `makes_rows=False` only makes targets, and Eq. 6 does not look at it. One with
        `moves_statistics=False` leaves BatchNorm's moving statistics alone, as every pass of a
        Lambda-step does.
        """


class LossRows(NamedTuple):
    """The per-example losses of one batch, never reduced.

    A row is one loss term of one (possibly mixed) example. The objective of Eq. 2 on this batch is
    sum_r coefficient_r * mask_r * w_r * loss_r, with w_r = sum_k share_rk * lambda[ids_rk] and
    lambda = 1 for labeled parents (id -1). Everything but `features`, `logits` and `loss` is a
    constant for differentiation (frozen targets).
    """

    loss: tf.Tensor  # [R] float32
    coefficient: tf.Tensor  # [R] float32: 1/B, or the unlabeled coefficient divided by U
    mask: tf.Tensor  # [R] float32: confidence or TSA mask, 1 where the term has none
    ids: tf.Tensor  # [R, 2] int64: parents, -1 for labeled
    share: tf.Tensor  # [R, 2] float32: shares of the parents, each row sums to 1
    features: tf.Tensor  # [R, d] float32: phi, the input of the last layer
    logits: tf.Tensor  # [R, C] float32: z = phi W + b
    loss_of_logits: Callable[[tf.Tensor], tf.Tensor]  # [R, C] -> [R], targets frozen
    confidence: tf.Tensor  # [R, 2] float32: max_c p of each parent's weak view, 1 for labeled
    # [R, K] int32: places in the forward's batch that belong to the row, first the one behind its
    # logits, then the views its target came from (-1: none). None: row r is input r.
    positions: tf.Tensor | None = None
    memory: tuple[tf.Tensor, ...] = ()  # what a stateful algorithm keeps of a theta-step
    # [R] float32: `coefficient` with 1 for wu and its ramp. None: it holds neither.
    without_wu: tf.Tensor | None = None


class QuadraticRows(NamedTuple):
    """The loss rows to second order in their logits, one entry for each input of the forward pass.

    With frozen targets the objective's gradient and curvature in theta need no more than this, and
    unlike a loss function it can be sliced. A position that carries no row (a view that only makes
    targets) has coefficient 0, gradient 0 and hessian 0.
    """

    inputs: tf.Tensor  # nest of [P, ...]: what the network is called on
    logits: tf.Tensor  # [P, C]: z at theta
    gradient: tf.Tensor  # [P, C]: d loss_p / d z_p
    hessian: tf.Tensor  # [P, C, C]: d^2 loss_p / d z_p^2, or its positive part
    coefficient: tf.Tensor  # [P]: factor of loss_p in the objective, lambda included


# What the caller of `BilevelTrainer.steps` may ask for.
Stops = Callable[[int], int] | None
Most = Callable[[], int] | None


class Event(NamedTuple):
    """What `BilevelTrainer.steps` has just done."""

    kind: str  # "lambda": a Lambda-step; "train": a block of theta-steps; "piece": a part of one
    step: int  # theta-steps taken before the Lambda-step, or up to the end of the block or piece
    report: dict  # what `LambdaStep` or, of a whole block, `ThetaStep` reports; {} of a piece


def sum_by_id(ids: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each of `ids` [n] once, in the order they came, and the sums of its `values` [n, ...].

    DEVIATION: the sum over duplicates, which Eq. 6 asks for; in the release the last one wins.
    """
    rows, segment = tf.unique(ids)
    return rows, tf.math.unsorted_segment_sum(values, segment, tf.size(rows))
