"""The whole model under `tf.vectorized_map` over batches of one."""

from __future__ import annotations

import keras
import tensorflow as tf

from ssl_weighting.models.network import sublayers
from ssl_weighting.per_example_gradients.engines import single


def gradients(network, inputs, cotangent) -> list[tf.Tensor]:
    """Return g_p = J_p^T cotangent_p for every example at once.

    What `tf.vectorized_map` cannot vectorise runs in a loop inside it: so does the gradient of a
    convolution in its kernel (TensorFlow 2.21 warns about it).

    Args:
        network: `Network`, its examples not tied together by batch statistics.
        inputs: nest of [P, ...]; cotangent: [P, C].

    Returns:
        One [P, *shape] for each variable of the network, in its dtype.

    Raises:
        ValueError: batch statistics.
    """
    return _map(network, lambda x, c: single.gradient(network, x, c), inputs, cotangent)


def dot_products(network, inputs, cotangent, vector) -> tf.Tensor:
    """Return g_p . vector, [P].

    Args:
        network, inputs, cotangent: as in `gradients`.
        vector: list of tensors shaped like the variables.

    Raises:
        ValueError: batch statistics.
    """
    return _map(network, lambda x, c: single.dot_product(network, x, c, vector), inputs, cotangent)


def _map(network, function, inputs, cotangent):
    def run():
        return tf.vectorized_map(lambda example: function(*example), (inputs, cotangent))

    if any(_needs_xla(layer) for layer in sublayers(network.model)):
        return tf.function(run, autograph=False, jit_compile=True)()
    return run()


def _needs_xla(layer) -> bool:
    # The CPU has no kernel for the gradient of a grouped convolution: XLA has. Keras compiles such
    # a layer for that reason, but `tf.vectorized_map` takes the layer apart. And oneDNN writes
    # beyond its buffers where [P, 1, T, d], a vectorised batch of one, meets a float32 matrix
    # (tensorflow issue 117700, in 2.21).
    return getattr(layer, "groups", 1) > 1 or isinstance(layer, keras.layers.EinsumDense)
