"""One backward pass for the whole batch: d L / d y of every recorded call."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.observe import Record, observe
from ssl_weighting.per_example_gradients.rules import fallback, rule_of
from ssl_weighting.per_example_gradients.uses import (
    other_uses,
    refuse_other_uses,
    refuse_unfit,
    unfit,
)


def backward(
    network: Network, inputs, cotangents: list[tf.Tensor], convolutions: str = "closed_form"
) -> tuple[list[Record], list[list[tf.Tensor]]]:
    """Run the network once, then back once for each cotangent.

    Args:
        network: `Network`; inputs: nest of [P, ...]; cotangents: each [P, C].
        convolutions: which rule of the convolutions will read it.

    Returns:
        The records, and for each cotangent the gradients of sum_p cotangent_p . z_p in what the
        rules of the records start from: [P, ...] each.

    Raises:
        ValueError: a parameter that is read outside its layer, or a layer whose first axis is not
            that of the examples.
    """
    refuse_other_uses(network, inputs)
    values = network.values()
    with tf.GradientTape(persistent=len(cotangents) > 1) as tape:
        tape.watch(values)
        with observe(network) as records:
            z = network(values, inputs)
    refuse_unfit(unfit(records, z))
    # The fallback repeats the layer's call, with its activation.
    starts = [r.output if rule_of(r, convolutions) is fallback else r.inner for r in records]
    deltas = [
        tape.gradient(z, starts, output_gradients=c, unconnected_gradients="zero")
        for c in cotangents
    ]
    # Mixed precision: the rules compute in the dtype of the parameters.
    rows = other_uses(network, inputs).by_example
    records = [
        r._replace(args=_in(network.dtype, r.args), by_example=places)
        for r, places in zip(records, rows, strict=True)
    ]
    return records, [_in(network.dtype, each) for each in deltas]


def _in(dtype, nest):
    def cast(part):
        return tf.cast(part, dtype) if tf.is_tensor(part) and part.dtype.is_floating else part

    return tf.nest.map_structure(cast, nest)
