"""Any other layer: its own call on batches of one, and forward mode in its parameters."""

from __future__ import annotations

import keras
import tensorflow as tf

from ssl_weighting.per_example_gradients.vectorized import vectorized


def knows(record) -> bool:
    """Return True: there is nothing after the fallback."""
    del record
    return True


def gradients(record, delta) -> list[tf.Tensor]:
    """Return [P, *shape] for each variable: `tf.vectorized_map` over one example at a time.

    Raises:
        ValueError: BatchNormalization would take the statistics of each example alone.
    """
    if isinstance(record.layer, keras.layers.BatchNormalization) and record.kwargs.get("training"):
        raise ValueError(
            f"Layer {record.layer.path} must normalise the last axis, without a mask, where the "
            f"batch sets its statistics. Received: axis={record.layer.axis}. Use "
            'engine="forward" or batch_norm="moving"'
        )
    values = _values(record)
    tensors, rebuild = _split(record)

    def backward(example):
        one, delta = example
        with tf.GradientTape() as tape:
            tape.watch(values)
            y = rebuild([part[None] for part in one], values)
        delta = tf.cast(delta[None], y.dtype)
        found = tape.gradient(y, values, output_gradients=delta, unconnected_gradients="zero")
        return [tf.convert_to_tensor(g) for g in found]

    return vectorized(backward, (tensors, delta), record.layer)


def dot(record, delta, vectors) -> tf.Tensor:
    """Return delta . (d layer / d theta) V for each example, [P]: the layer's own tangent."""
    values = _values(record)
    tensors, rebuild = _split(record)
    with tf.autodiff.ForwardAccumulator(values, list(vectors)) as forward:
        y = rebuild(tensors, values)
    tangent = forward.jvp(y, unconnected_gradients="zero")
    tangent = tf.cast(tangent, delta.dtype)
    return tf.reduce_sum(delta * tangent, axis=list(range(1, delta.shape.rank)))


def _values(record):
    return [tf.convert_to_tensor(v.value) for v in record.variables]


def _split(record):
    """Return the call's tensors that have an axis of examples, and the call in terms of them."""
    flat = tf.nest.flatten((record.args, record.kwargs))

    def rebuild(parts, values):
        whole = list(flat)
        for k, part in zip(record.by_example, parts, strict=True):
            whole[k] = part
        args, kwargs = tf.nest.pack_sequence_as((record.args, record.kwargs), whole)
        with keras.StatelessScope(state_mapping=zip(record.variables, values, strict=True)):
            return record.layer(*args, **kwargs)

    return [flat[k] for k in record.by_example], rebuild
