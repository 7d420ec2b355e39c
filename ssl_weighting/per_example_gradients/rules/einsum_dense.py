"""EinsumDense, the projections of attention: y = einsum(x, W) + b."""

from __future__ import annotations

import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds: plain letters, the examples first in x and y."""
    x, kernel, y = _letters(record.layer)
    plain = "." not in record.layer.equation and x[0] == y[0] and x[0] not in kernel
    # A letter that only the kernel or only x has is summed on its own: not a product rule.
    return plain and set(kernel) <= set(x) | set(y) and set(record.names) <= {"kernel", "bias"}


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel and bias, with a leading axis of examples."""
    x, kernel, y = _letters(record.layer)
    made = {
        "kernel": lambda: tf.einsum(f"{x},{y}->{x[0]}{kernel}", record.args[0], delta),
        "bias": lambda: _bias(record.layer, delta),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (einsum(x, V) + v) for each example, [P]."""
    along = dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "kernel" in along:
        y += tf.einsum(record.layer.equation, record.args[0], along["kernel"])
    if "bias" in along:
        y += along["bias"]
    return tf.reduce_sum(delta * y, axis=list(range(1, delta.shape.rank)))


def _letters(layer):
    left, y = layer.equation.replace(" ", "").split("->")
    x, kernel = left.split(",")
    return x, kernel, y


def _bias(layer, delta):
    shape = list(layer.bias.shape)
    padded = [1] * (delta.shape.rank - 1 - len(shape)) + shape
    shared = [axis + 1 for axis, size in enumerate(padded) if size == 1]
    return tf.reshape(tf.reduce_sum(delta, axis=shared), [-1, *shape])
