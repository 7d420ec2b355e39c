"""Typed batches and the loss rows that every other part of the package exchanges.

And what they must be: labels, ids and numbers are checked here, in one way, where they enter. A
check that reads values raises at once where they are known. Within a `tf.function` it is an
operation that others must wait for; XLA compiles such operations away, so that what XLA compiles
turns a label or an id that does not exist into NaN, which stops a run as every NaN does.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

FLOAT32_MAX = float(np.finfo(np.float32).max)


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


def check_number(
    name: str,
    value,
    least: float = 0,
    *,
    above: float | None = None,
    below: float | None = None,
    most: float = FLOAT32_MAX,
    whole: bool = False,
) -> None:
    """Check a number that a caller gave, where it enters.

    Args:
        name: of the argument.
        value: what was given.
        least, most: the range, both ends included; above, below: its open ends in the place of
            these.
        whole: whether it must be an integer.

    Raises:
        ValueError: it is no such number; NaN never is one.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, kind) and not isinstance(value, bool):
        enough = value >= least if above is None else value > above
        if enough and (value <= most if below is None else value < below):
            return
    if below is not None:
        words = f"in [{least}, {below})"
    elif most < FLOAT32_MAX:
        words = f"in [{least}, {most}]"
    else:
        words = f">= {least}" if above is None else f"> {above}"
        words += " and finite" if most == FLOAT32_MAX and not whole else ""
    words += " and a whole number" if whole else ""
    raise ValueError(f"`{name}` must be {words}. Received: {name}={value!r}")


def check_rate(learning_rate) -> None:
    """Check a learning rate; schedules check their own numbers.

    Raises:
        ValueError: it is a number below 0 or not finite.
    """
    if isinstance(learning_rate, numbers.Real):
        check_number("learning_rate", learning_rate)


def require_none(message: str, offenders: np.ndarray | tf.Tensor) -> list[tf.Operation]:
    """Demand that there are no `offenders`.

    Args:
        message: "`argument` must be ..."
        offenders: the values that may not be, as an array where they are known.

    Returns:
        What must run before anything is written, for `tf.control_dependencies`; nothing where the
        values are known.

    Raises:
        ValueError: the values are known and there are some.
    """
    if isinstance(offenders, tf.Tensor):
        shown = [f"{message}. Received:", offenders]
        return [tf.debugging.Assert(tf.size(offenders) < 1, shown, summarize=10)]
    if offenders.size:
        more = f" and {offenders.size - 10} more" if offenders.size > 10 else ""
        raise ValueError(f"{message}. Received: {offenders.ravel()[:10].tolist()}{more}")
    return []


def require_ids(name: str, ids: tf.Tensor, size: int, least: int = 0) -> list[tf.Operation]:
    """Demand that all `ids`, integers of any shape, lie in `least`..`size` - 1; see `require_none`.

    Raises:
        ValueError: they do not, or are no integers.
    """
    if not ids.dtype.is_integer:
        raise ValueError(f"`{name}` must be integers. Received: {ids.dtype.name}")
    message = f"`{name}` must be in {least}..{size - 1}, of {size} rows"
    return require_none(message, _chosen(ids, lambda x: (x < least) | (x >= size)))


def finite(name: str, values: tf.Tensor) -> tf.Tensor:
    """Return `values`, of which all must be finite; see `require_none`.

    Raises:
        ValueError: they are not.
    """
    bad = _chosen(values, lambda x: (x != x) | (abs(x) == float("inf")))
    with tf.control_dependencies(require_none(f"{name} must be finite", bad)):
        return tf.identity(values)


def check_labeled(batch: LabeledBatch, name: str, num_classes: int | None = None) -> None:
    """Check that a batch has examples and a class for each of them.

    Args:
        batch: D' or V'; name: what to call it.
        num_classes: C; None: not known yet.

    Raises:
        ValueError: labels that are not one integer an example, no example; where the values are
            known, a label outside 0..C-1.
    """
    label = tf.convert_to_tensor(batch.label)
    counts = {part.shape[0] for part in tf.nest.flatten(batch.inputs)} - {None}
    if label.shape.rank != 1 or not label.dtype.is_integer or _differ(counts, label):
        raise ValueError(
            f"The labels of `{name}` must be [n] integers, one for each of its inputs. Received: "
            f"{label.dtype.name} of shape {label.shape} for {sorted(counts)} inputs. Labels of "
            "shape [n, 1] become [n] by `labels[:, 0]`"
        )
    if label.shape[0] == 0:
        raise ValueError(f"`{name}` must have at least one example. Received: none")
    if num_classes is not None and not tf.is_symbolic_tensor(label):
        message = f"The labels of `{name}` must be in 0..{num_classes - 1}, the model's classes"
        require_none(message, _chosen(label, lambda x: (x < 0) | (x >= num_classes)))


def check_unlabeled(batch: UnlabeledBatch, num_unlabeled: int) -> None:
    """Check that a batch has an id for each example, and views for each id.

    Args:
        batch: U', which may be empty; num_unlabeled: |U|.

    Raises:
        ValueError: ids that are not one integer an example; where the values are known, an id
            outside 0..|U|-1.
    """
    ids = tf.convert_to_tensor(batch.ids)
    counts = {part.shape[0] for part in tf.nest.flatten((batch.weak, batch.strong))} - {None}
    if ids.shape.rank != 1 or _differ(counts, ids):
        raise ValueError(
            "`ids` must be [n], one for each weak and each strong view. Received: shape "
            f"{ids.shape} for {sorted(counts)} views"
        )
    if not tf.is_symbolic_tensor(ids) or not ids.dtype.is_integer:
        require_ids("ids", ids, num_unlabeled)


def one_hot_labels(
    batch: LabeledBatch, num_classes: int, dtype=tf.float32, name: str = "labeled"
) -> tf.Tensor:
    """Return the labels of a batch [n, C], NaN where one is outside 0..C-1 and not known yet.

    Raises:
        ValueError: see `check_labeled`.
    """
    check_labeled(batch, name, num_classes)
    label = tf.convert_to_tensor(batch.label)
    foreign = tf.where((label < 0) | (label >= num_classes), np.nan, 0.0)
    return tf.one_hot(label, num_classes, dtype=dtype) + tf.cast(foreign, dtype)[:, None]


def sum_by_id(ids: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each of `ids` [n] once, in the order they came, and the sums of its `values` [n, ...].

    DEVIATION: the sum over duplicates, which Eq. 6 asks for; in the release the last one wins.
    """
    rows, segment = tf.unique(ids)
    return rows, tf.math.unsorted_segment_sum(values, segment, tf.size(rows))


def _differ(counts, of):
    return of.shape[0] is not None and bool(counts - {of.shape[0]})


def _chosen(values, which):
    """Return the values for which `which` holds: an array where they are known, else a tensor."""
    if tf.is_symbolic_tensor(values):
        return tf.boolean_mask(values, which(values))
    values = values.numpy()
    return values[which(values)]
