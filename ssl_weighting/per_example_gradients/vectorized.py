"""`tf.vectorized_map`, compiled where TensorFlow has no kernel for what it makes of a layer."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from ssl_weighting.models.network import sublayers


def vectorized(function: Callable, elements, layer: keras.Layer):
    """Return `tf.vectorized_map(function, elements)`.

    Args:
        function: of one example, a nest without its first axis; it runs `layer` forth and back.
        elements: nest of [P, ...].
        layer: a layer or a whole model.
    """

    def run():
        return tf.vectorized_map(function, elements)

    if any(_needs_xla(part) for part in sublayers(layer)):
        return tf.function(run, autograph=False, jit_compile=True)()
    return run()


def _needs_xla(layer) -> bool:
    # The CPU has no kernel for the gradient of a grouped convolution: XLA has. Keras compiles such
    # a layer for that reason, but `tf.vectorized_map` takes the layer apart. And oneDNN writes
    # beyond its buffers where [P, 1, T, d], a vectorised batch of one, meets a float32 matrix
    # (tensorflow issue 117700, in 2.21).
    return getattr(layer, "groups", 1) > 1 or isinstance(layer, keras.layers.EinsumDense)
