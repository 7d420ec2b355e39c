"""The paper's baseline: a loop of one example, one reverse pass each."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.engines import single


def gradients(network, inputs, cotangent) -> list[tf.Tensor]:
    """Return g_p = J_p^T cotangent_p for every example, one after the other.

    Args:
        network: `Network`, its examples not tied together by batch statistics.
        inputs: nest of [P, ...]; cotangent: [P, C].

    Returns:
        One [P, *shape] for each variable of the network, in its dtype.

    Raises:
        ValueError: batch statistics.
    """
    signature = [tf.TensorSpec(shape, network.dtype) for shape in network.shapes]
    return tf.map_fn(
        lambda example: single.gradient(network, *example),
        (inputs, cotangent),
        fn_output_signature=signature,
    )


def dot_products(network, inputs, cotangent, vector) -> tf.Tensor:
    """Return g_p . vector, [P], keeping one gradient at a time.

    Args:
        network, inputs, cotangent: as in `gradients`.
        vector: list of tensors shaped like the variables.

    Raises:
        ValueError: batch statistics.
    """
    return tf.map_fn(
        lambda example: single.dot_product(network, *example, vector),
        (inputs, cotangent),
        fn_output_signature=tf.TensorSpec([], network.dtype),
    )
