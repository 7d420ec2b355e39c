"""What each type of layer does for its own parameters, one file a type.

With x the recorded input of one call of a layer and delta_p = d L / d y_p, y its output before its
activation, a rule knows

    gradients(record, delta) -> [P, *shape] for each selected variable of the layer:
        g_p = (d y_p / d theta)^T delta_p
    dot(record, delta, vectors) -> [P]: sum over these variables of g_p . vector, without g_p

Types are matched exactly, since a subclass may compute anything; what has no rule of its own, or an
option that its rule does not know, takes the fallback.
"""

from __future__ import annotations

import keras

from ssl_weighting.per_example_gradients.observe import Record
from ssl_weighting.per_example_gradients.rules import (
    conv2d,
    conv2d_vectorized_map,
    dense,
    depthwise_conv2d,
    einsum_dense,
    embedding,
    fallback,
    normalization,
)

RULES = {
    keras.layers.Dense: dense,
    keras.layers.Conv2D: conv2d,
    keras.layers.DepthwiseConv2D: depthwise_conv2d,
    keras.layers.EinsumDense: einsum_dense,
    keras.layers.Embedding: embedding,
    keras.layers.BatchNormalization: normalization,
    keras.layers.LayerNormalization: normalization,
}
CONV2D = {"closed_form": conv2d, "vectorized_map": conv2d_vectorized_map}


def rule_of(record: Record, conv2d: str = "closed_form"):
    """Return the module whose `gradients` and `dot` serve this call.

    Args:
        conv2d: a key of `CONV2D`, for the layers of that type.

    Raises:
        ValueError: unknown `conv2d`.
    """
    if conv2d not in CONV2D:
        raise ValueError(f"`conv2d` must be one of {', '.join(CONV2D)}. Received: {conv2d!r}")
    rule = RULES.get(type(record.layer), fallback)
    if not rule.knows(record):
        return fallback
    return CONV2D[conv2d] if type(record.layer) is keras.layers.Conv2D else rule
