"""The whole model under `tf.vectorized_map` over batches of one."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.engines import single
from ssl_weighting.per_example_gradients.vectorized import vectorized


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
    single.refuse_ties(network)
    try:
        return vectorized(lambda example: function(*example), (inputs, cotangent), network.model)
    except (TypeError, ValueError, LookupError, NotImplementedError, tf.errors.OpError) as error:
        raise ValueError(
            f'`engine` must be another than "vectorized_map" for {network.model.name}, which '
            'TensorFlow cannot vectorise. Use engine="forward" (--per_example_engine=forward). '
            f"TensorFlow says: {error}"
        ) from error
