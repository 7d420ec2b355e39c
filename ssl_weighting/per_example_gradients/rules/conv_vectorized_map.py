"""Convolutions as in App. B: `tf.vectorized_map` over the backward pass of batches of one."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.rules.conv import bias, convolved, dot, knows
from ssl_weighting.per_example_gradients.vectorized import vectorized

__all__ = ["dot", "gradients", "knows"]


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel [P, *window, i, o] and bias [P, o]."""
    kernel = tf.convert_to_tensor(record.layer.kernel.value)

    def backward(example):
        x, delta = example
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = convolved(record.layer, x[None], kernel)
        return tape.gradient(y, kernel, output_gradients=delta[None])

    made = {
        "kernel": lambda: vectorized(backward, (record.args[0], delta), record.layer),
        "bias": lambda: bias(delta),
    }
    return [made[name]() for name in record.names]
