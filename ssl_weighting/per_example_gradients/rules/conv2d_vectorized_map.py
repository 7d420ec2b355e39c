"""Conv2D as in App. B: `tf.vectorized_map` over the backward pass of batches of one."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.rules.conv2d import dot, knows

__all__ = ["dot", "gradients", "knows"]


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel [P, a, b, i, o] and bias [P, o]."""
    kernel = tf.convert_to_tensor(record.layer.kernel.value)

    def backward(example):
        x, delta = example
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = record.layer.convolution_op(x[None], kernel)
        return tape.gradient(y, kernel, output_gradients=delta[None])

    made = {
        "kernel": lambda: tf.vectorized_map(backward, (record.args[0], delta)),
        "bias": lambda: tf.reduce_sum(delta, axis=[1, 2]),
    }
    return [made[name]() for name in record.names]
