"""DepthwiseConv2D: the convolution's rule with one input channel for each output group."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.rules import conv


def knows(record) -> bool:
    """Return whether the rule holds: channels last, and what TensorFlow's kernel can compute."""
    layer = record.layer
    dilated = max(layer.dilation_rate) > 1
    uneven = len(set(layer.strides)) > 1 or (dilated and max(layer.strides) > 1)
    return conv.knows(record) and not uneven


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel [P, a, b, i, m] and bias [P, i m]."""
    made = {
        "kernel": lambda: _kernel(record.layer, record.args[0], delta),
        "bias": lambda: conv.bias(delta),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (x * V + v) for each example, [P]."""
    layer, along = record.layer, dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "kernel" in along:
        y += tf.nn.depthwise_conv2d(
            record.args[0],
            along["kernel"],
            [1, *layer.strides, 1],
            layer.padding.upper(),
            dilations=layer.dilation_rate,
        )
    if "bias" in along:
        y += along["bias"]
    return tf.reduce_sum(delta * y, axis=[1, 2, 3])


def _kernel(layer, x, delta):
    count, h, w, o = tf.shape(delta)[0], delta.shape[1], delta.shape[2], delta.shape[3]
    channels = x.shape[-1]
    delta = tf.reshape(delta, [count, h, w, channels, o // channels])
    parts = [
        tf.einsum("phwi,phwim->pim", window, delta) for window in conv.windows(layer, x, [h, w])
    ]
    kernel = tf.stack(parts, axis=1)
    return tf.reshape(kernel, [count, *layer.kernel_size, channels, o // channels])
