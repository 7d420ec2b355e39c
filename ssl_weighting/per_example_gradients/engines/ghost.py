"""Dot products from activations and output gradients, layer by layer, no gradient ever built.

A layer that is linear in its parameters has g_p . v = delta_p . layer(x_p; v): the layer's own
forward pass with v for parameters.
"""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.engines.backward import backward
from ssl_weighting.per_example_gradients.rules import dot_of


def dot_products(network, inputs, cotangent, vector) -> tf.Tensor:
    """Return g_p . vector, [P].

    Args:
        network: `Network`; inputs: nest of [P, ...]; cotangent: [P, C].
        vector: list of tensors shaped like the variables. With batch statistics the result is that
            of `layerwise`, not of `forward`.
    """
    records, (deltas,) = backward(network, inputs, [cotangent])
    total = tf.zeros_like(cotangent[:, 0])
    for record, delta in zip(records, deltas, strict=True):
        total += dot_of(record, delta, [vector[k] for k in record.places])
    return total
