"""Conv2D in closed form: one batched matrix product for each place of the kernel's window.

d y[h, w] / d K[a, b] = x[h s + a r, w s + b r], so that the gradient of one example at (a, b) is a
strided slice of its padded input, [h w, i], transposed times delta, [h w, o]. There is no loop over
examples.
"""

from __future__ import annotations

import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds: channels last, nothing but kernel and bias."""
    return record.layer.data_format == "channels_last" and set(record.names) <= {"kernel", "bias"}


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel [P, a, b, i, o] and bias [P, o]."""
    made = {
        "kernel": lambda: _kernel(record.layer, record.args[0], delta),
        "bias": lambda: tf.reduce_sum(delta, axis=[1, 2]),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (x * V + v) for each example, [P]: a convolution with V for a kernel."""
    along = dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "kernel" in along:
        y += record.layer.convolution_op(record.args[0], along["kernel"])
    if "bias" in along:
        y += along["bias"]
    return tf.reduce_sum(delta * y, axis=[1, 2, 3])


def windows(layer, x, out_shape) -> list[tf.Tensor]:
    """Return for each place (a, b) of the window the [P, h, w, i] of x that it meets."""
    size, stride, rate = layer.kernel_size, layer.strides, layer.dilation_rate
    x = tf.pad(x, [[0, 0], *_padding(layer, x.shape, out_shape), [0, 0]])
    found = []
    for a in range(size[0]):
        for b in range(size[1]):
            top, left = a * rate[0], b * rate[1]
            bottom = top + (out_shape[1] - 1) * stride[0] + 1
            right = left + (out_shape[2] - 1) * stride[1] + 1
            found.append(x[:, top : bottom : stride[0], left : right : stride[1]])
    return found


def _kernel(layer, x, delta):
    count, h, w, o = tf.shape(delta)[0], delta.shape[1], delta.shape[2], delta.shape[3]
    delta = tf.reshape(delta, [count, h * w, o])
    product = _grouped(layer.groups) if layer.groups > 1 else _whole
    parts = [
        product(tf.reshape(window, [count, h * w, window.shape[-1]]), delta)
        for window in windows(layer, x, [None, h, w])
    ]
    return tf.reshape(tf.stack(parts, axis=1), [count, *layer.kernel_size, -1, o])


def _whole(window, delta):
    # Not an einsum: that transposes delta anew for each window and costs twice the time.
    return tf.matmul(window, delta, transpose_a=True)


def _grouped(groups):
    def product(window, delta):
        count, places, o = tf.shape(delta)[0], delta.shape[1], delta.shape[2]
        window = tf.reshape(window, [count, places, groups, -1])
        delta = tf.reshape(delta, [count, places, groups, o // groups])
        part = tf.einsum("psgi,psgo->pigo", window, delta)
        return tf.reshape(part, [count, window.shape[-1], o])

    return product


def _padding(layer, shape, out_shape):
    if layer.padding == "valid":
        return [[0, 0], [0, 0]]
    pads = []
    for axis in (0, 1):
        reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        total = (out_shape[axis + 1] - 1) * layer.strides[axis] + reach - shape[axis + 1]
        total = max(total, 0)
        pads.append([total // 2, total - total // 2])
    return pads
