"""Dense: y = x W + b on the last axis, summed over all axes between the first and the last."""

from __future__ import annotations

import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds for this call."""
    return set(record.names) <= {"kernel", "bias"}


def gradients(record, delta) -> list[tf.Tensor]:
    """Return x^T delta and sum delta for each example: [P, i, o], [P, o]."""
    x, delta = _positions(record.args[0]), _positions(delta)
    made = {
        "kernel": lambda: tf.einsum("psi,pso->pio", x, delta),
        "bias": lambda: tf.reduce_sum(delta, axis=1),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (x V + v) for each example, [P]."""
    along = dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "kernel" in along:
        y += tf.tensordot(record.args[0], along["kernel"], axes=1)
    if "bias" in along:
        y += along["bias"]
    return tf.reduce_sum(_positions(delta * y), axis=[1, 2])


def _positions(x):
    """[P, ..., i] -> [P, s, i]."""
    return tf.reshape(x, [tf.shape(x)[0], -1, x.shape[-1]])
