"""The paper's way (Sec. 3.1, App. B): one backward pass, then a rule for each layer."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.per_example_gradients.engines.backward import backward
from ssl_weighting.per_example_gradients.rules import gradients_of


def gradients(network, inputs, cotangent, convolutions: str = "closed_form") -> list[tf.Tensor]:
    """Return g_p = J_p^T cotangent_p for every example; zeros for what takes no part.

    Args:
        network: `Network`; inputs: nest of [P, ...]; cotangent: [P, C].
        convolutions: "closed_form", or "vectorized_map" as in App. B.

    Returns:
        One [P, *shape] for each variable of the network. With batch statistics these are not the
        rows of the Jacobian, but they have the same sum.
    """
    count = tf.shape(cotangent)[0]
    total = [None] * len(network.variables)
    records, (deltas,) = backward(network, inputs, [cotangent], convolutions)
    for record, delta in zip(records, deltas, strict=True):
        found = gradients_of(record, delta, convolutions)
        for place, g in zip(record.places, found, strict=True):
            total[place] = g if total[place] is None else total[place] + g  # used twice: the sum
    return [
        tf.zeros([count, *shape], network.dtype) if g is None else g
        for g, shape in zip(total, network.shapes, strict=True)
    ]


def dot_products(
    network, inputs, cotangent, vector, convolutions: str = "closed_form"
) -> tf.Tensor:
    """Return g_p . vector, [P], from the gradients themselves."""
    each = gradients(network, inputs, cotangent, convolutions)
    axes = [list(range(1, g.shape.rank)) for g in each]
    return tf.add_n(
        [tf.reduce_sum(g * v, axis=a) for g, v, a in zip(each, vector, axes, strict=True)]
    )
