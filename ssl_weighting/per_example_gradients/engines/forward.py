"""All g . v of a batch in one forward-mode pass, without a single gradient.

With z' = dz/dtheta . v (the tangent of the logits along v) every dot product of Eq. 6 is

    g_p . v = cotangent_p . z'_p

whatever the layers are. Where BatchNormalization uses batch statistics this is the row of the
Jacobian, d loss_p / d theta through the activations of the whole batch, which Eq. 6 asks for.
"""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.engines.forward_pairs import logits_tangent


def dot_products(network, inputs, cotangent, vector) -> tf.Tensor:
    """Return g_p . vector, [P].

    Args:
        network: `Network`; inputs: nest of [P, ...].
        cotangent: [P, C], d loss_p / d z_p.
        vector: list of tensors shaped like the variables.

    Raises:
        ValueError: a cotangent that is not shaped like the logits.
    """
    tangent = logits_tangent(network, inputs, vector)
    if not cotangent.shape.is_compatible_with(tangent.shape):  # [P, 1] would be broadcast
        raise ValueError(
            f"`cotangent` must be shaped like the logits, {tangent.shape}. "
            f"Received: {cotangent.shape}"
        )
    return tf.reduce_sum(cotangent * tangent, axis=1)
