"""One backward pass for the whole batch: d L / d y of every recorded call."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.observe import Record, observe
from ssl_weighting.per_example_gradients.rules import fallback, rule_of


def backward(
    network: Network, inputs, cotangents: list[tf.Tensor], conv2d: str = "closed_form"
) -> tuple[list[Record], list[list[tf.Tensor]]]:
    """Run the network once, then back once for each cotangent.

    Args:
        network: `Network`; inputs: nest of [P, ...]; cotangents: each [P, C].
        conv2d: which rule of Conv2D will read it.

    Returns:
        The records, and for each cotangent the gradients of sum_p cotangent_p . z_p in what the
        rules of the records start from: [P, ...] each.

    Raises:
        ValueError: a layer whose first axis is not that of the examples.
    """
    values = network.values()
    with tf.GradientTape(persistent=len(cotangents) > 1) as tape:
        tape.watch(values)
        with observe(network) as records:
            z = network(values, inputs)
    for record in records:
        _check_examples(record, z.shape[0])
    # The fallback repeats the layer's call, with its activation.
    starts = [r.output if rule_of(r, conv2d) is fallback else r.inner for r in records]
    deltas = [
        tape.gradient(z, starts, output_gradients=c, unconnected_gradients="zero")
        for c in cotangents
    ]
    return records, deltas


def _check_examples(record, count):
    found = record.output.shape[0] if tf.is_tensor(record.output) else None
    if found != count:
        raise ValueError(
            f"Layer {record.layer.path} must return one tensor whose first axis is that of the "
            f"{count} examples. Received: {getattr(record.output, 'shape', type(record.output))}. "
            'Use engine="forward"'
        )
