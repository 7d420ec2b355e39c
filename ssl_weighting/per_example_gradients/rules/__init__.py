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
import tensorflow as tf

from ssl_weighting.per_example_gradients.observe import Record
from ssl_weighting.per_example_gradients.rules import (
    conv,
    conv_vectorized_map,
    dense,
    depthwise_conv2d,
    einsum_dense,
    embedding,
    fallback,
    normalization,
)
from ssl_weighting.per_example_gradients.uses import INSTEAD

RULES = {
    keras.layers.Dense: dense,
    keras.layers.Conv1D: conv,
    keras.layers.Conv2D: conv,
    keras.layers.Conv3D: conv,
    keras.layers.DepthwiseConv2D: depthwise_conv2d,
    keras.layers.EinsumDense: einsum_dense,
    keras.layers.Embedding: embedding,
    keras.layers.BatchNormalization: normalization,
    keras.layers.LayerNormalization: normalization,
}
CONVOLUTIONS = {"closed_form": conv, "vectorized_map": conv_vectorized_map}


def rule_of(record: Record, convolutions: str = "closed_form"):
    """Return the module whose `gradients` and `dot` serve this call.

    Args:
        convolutions: a key of `CONVOLUTIONS`, for Conv1D, Conv2D and Conv3D.

    Raises:
        ValueError: unknown `convolutions`.
    """
    if convolutions not in CONVOLUTIONS:
        known = ", ".join(CONVOLUTIONS)
        raise ValueError(f"`convolutions` must be one of {known}. Received: {convolutions!r}")
    rule = RULES.get(type(record.layer), fallback)
    # The rules read their input by place.
    if not (record.args and tf.is_tensor(record.args[0]) and rule.knows(record)):
        return fallback
    return CONVOLUTIONS[convolutions] if rule is conv else rule


def gradients_of(record: Record, delta, convolutions: str = "closed_form") -> list[tf.Tensor]:
    """Return [P, *shape] for each selected variable of the layer of this call.

    Raises:
        ValueError: the layer does not pass through its rule.
    """
    return _run(record, rule_of(record, convolutions).gradients, delta)


def dot_of(record: Record, delta, vectors) -> tf.Tensor:
    """Return [P], the sum of g_p . vector over the selected variables of the layer of this call.

    Raises:
        ValueError: the layer does not pass through its rule.
    """
    return _run(record, rule_of(record).dot, delta, vectors)


def _run(record, rule, *args):
    try:
        return rule(record, *args)
    except (TypeError, ValueError, NotImplementedError, LookupError, tf.errors.OpError) as error:
        raise ValueError(
            f"Layer {record.layer.path} ({type(record.layer).__name__}) cannot be taken layer by "
            f"layer. {INSTEAD}. TensorFlow says: {error}"
        ) from error
