"""What numbers, ids and labels must be: checked in one way where they enter, before any writing.

A check that reads values raises at once where they are known. Within a `tf.function` it is an
operation that others must wait for; XLA compiles such operations away, so that what XLA compiles
turns a label or an id that does not exist into NaN, which stops a run as every NaN does.
"""

from __future__ import annotations

import numbers

import numpy as np
import tensorflow as tf

from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

FLOAT32_MAX = float(np.finfo(np.float32).max)


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


def _differ(counts, of):
    return of.shape[0] is not None and bool(counts - {of.shape[0]})


def _chosen(values, which):
    """Return the values for which `which` holds: an array where they are known, else a tensor."""
    if tf.is_symbolic_tensor(values):
        return tf.boolean_mask(values, which(values))
    values = values.numpy()
    return values[which(values)]
