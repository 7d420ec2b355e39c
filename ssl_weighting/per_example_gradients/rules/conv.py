"""Conv1D, Conv2D and Conv3D in closed form: one batched matrix product for each place of a window.

In two dimensions d y[h, w] / d K[a, b] = x[h s + a r, w s + b r], so that the gradient of one
example at (a, b) is a strided slice of its padded input, [h w, i], transposed times delta,
[h w, o]. There is no loop over examples.
"""

from __future__ import annotations

import itertools
import math

import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds: channels last, known sizes, nothing but kernel and bias."""
    layer, sizes = record.layer, record.args[0].shape[1:]
    plain = layer.data_format == "channels_last" and sizes.is_fully_defined()
    return plain and set(record.names) <= {"kernel", "bias"}


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the gradients of kernel [P, *window, i, o] and bias [P, o]."""
    made = {
        "kernel": lambda: _kernel(record.layer, record.args[0], delta),
        "bias": lambda: bias(delta),
    }
    return [made[name]() for name in record.names]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . (x * V + v) for each example, [P]: a convolution with V for a kernel."""
    along = dict(zip(record.names, vectors, strict=True))
    y = tf.zeros_like(delta)
    if "kernel" in along:
        y += convolved(record.layer, record.args[0], along["kernel"])
    if "bias" in along:
        y += along["bias"]
    return tf.reduce_sum(delta * y, axis=list(range(1, delta.shape.rank)))


def bias(delta) -> tf.Tensor:
    """Return the sum over all places, [P, o]."""
    return tf.reduce_sum(delta, axis=list(range(1, delta.shape.rank - 1)))


def convolved(layer, x, kernel) -> tf.Tensor:
    """Return the layer's convolution of x with another kernel."""
    if layer.padding != "causal":
        return layer.convolution_op(x, kernel)
    options = {"strides": layer.strides, "dilations": layer.dilation_rate}
    return tf.nn.convolution(_padded(layer, x, None), kernel, padding="VALID", **options)


def windows(layer, x, places) -> list[tf.Tensor]:
    """Return for each place of the window the [P, *places, i] of x that it meets."""
    x = _padded(layer, x, places)
    found = []
    for place in itertools.product(*map(range, layer.kernel_size)):
        cut = [slice(None)]
        steps = zip(place, layer.dilation_rate, layer.strides, places, strict=True)
        for at, rate, stride, count in steps:
            start = at * rate
            cut.append(slice(start, start + (count - 1) * stride + 1, stride))
        found.append(x[tuple(cut)])
    return found


def _kernel(layer, x, delta):
    count, places, o = tf.shape(delta)[0], delta.shape[1:-1], delta.shape[-1]
    size = math.prod(places)
    delta = tf.reshape(delta, [count, size, o])
    product = _grouped(layer.groups) if layer.groups > 1 else _whole
    parts = [
        product(tf.reshape(window, [count, size, window.shape[-1]]), delta)
        for window in windows(layer, x, places)
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


def _padded(layer, x, places):
    """Return x with the zeros that "same" and "causal" put around it."""
    pads = []
    for axis, size in enumerate(layer.kernel_size):
        reach = (size - 1) * layer.dilation_rate[axis] + 1
        before = after = 0
        if layer.padding == "causal":
            before = reach - 1
        elif layer.padding == "same":
            total = (places[axis] - 1) * layer.strides[axis] + reach - x.shape[axis + 1]
            before, after = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        pads.append([before, after])
    return tf.pad(x, [[0, 0], *pads, [0, 0]])
