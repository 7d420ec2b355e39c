"""BatchNormalization and LayerNormalization: y = gamma x^ + beta, elementwise (App. B)."""

from __future__ import annotations

import keras
import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds: the last axis, plain gamma and beta, no mask in use."""
    layer, x = record.layer, record.args[0]
    axis = layer.axis if isinstance(layer.axis, int) else tuple(layer.axis)
    last = axis in (-1, x.shape.rank - 1, (-1,), (x.shape.rank - 1,))
    odd = getattr(layer, "rms_scaling", False) or record.kwargs.get("mask") is not None
    return last and not odd and set(record.names) <= {"gamma", "beta"}


def gradients(record, delta) -> list[tf.Tensor]:
    """Return sum delta x^ and sum delta for each example, [P, o] each."""
    between = list(range(1, delta.shape.rank - 1))
    made = {
        "gamma": lambda: tf.reduce_sum(delta * _normalized(record), axis=between),
        "beta": lambda: tf.reduce_sum(delta, axis=between),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (V x^ + v) for each example, [P]."""
    along = dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "gamma" in along:
        y += _normalized(record) * along["gamma"]
    if "beta" in along:
        y += along["beta"]
    return tf.reduce_sum(delta * y, axis=list(range(1, delta.shape.rank)))


def _normalized(record):
    layer, x = record.layer, record.args[0]
    if isinstance(layer, keras.layers.LayerNormalization):
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    elif record.kwargs.get("training") and layer.trainable:
        mean, variance = tf.nn.moments(x, axes=list(range(x.shape.rank - 1)), keepdims=True)
    else:
        mean, variance = layer.moving_mean.value, layer.moving_variance.value
    return (x - mean) * tf.math.rsqrt(variance + layer.epsilon)
