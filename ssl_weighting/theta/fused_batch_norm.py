"""BatchNormalization by TensorFlow's fused kernel, for training steps alone.

Keras puts it together from elementary operations, which costs a sixth of a Wide-ResNet's step on a
CPU. The layers stay Keras' own: only their `call` is replaced, for the length of a with-statement,
so that saving, inference and Eq. 6's derivatives do not know of it.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from ssl_weighting.models.network import replaced_calls, sublayers


class FusedBatchNorm:
    """Makes contexts in which the BatchNormalization layers of a model use the fused kernel.

    It normalises with the biased batch variance, like Keras, and moves the moving variance towards
    the Bessel-corrected one, as TF1 and with it upstream do. Sums are float32 for half-precision
    inputs too. Layers that it does not fit (no image, float64, no gamma or beta) are left alone.

    Args:
        model: built Keras model.
    """

    def __init__(self, model: keras.Layer):
        self.calls = {layer: _fused(layer) for layer in sublayers(model) if _fits(layer)}

    def __call__(self):
        """Return the context manager."""
        return replaced_calls(self.calls)


def _fits(layer):
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not layer.renorm
        and layer.gamma.dtype == "float32"
    )


def _fused(layer):
    plain = layer.call

    def call(inputs, training=None, mask=None):
        if not (training and layer.trainable) or mask is not None:
            return plain(inputs, training=training, mask=mask)
        nothing = tf.zeros([0])
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, layer.compute_dtype),
            scale=tf.convert_to_tensor(layer.gamma.value),
            offset=tf.convert_to_tensor(layer.beta.value),
            mean=nothing,
            variance=nothing,
            epsilon=layer.epsilon,
            is_training=True,
        )
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(layer.momentum * moving.value + (1 - layer.momentum) * now)
        return y

    return call
