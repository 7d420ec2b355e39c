"""The gradient of one example by a reverse pass over a batch of one."""

from __future__ import annotations

import tensorflow as tf


def gradient(network, inputs, cotangent) -> list[tf.Tensor]:
    """Return g = J^T cotangent, shaped like the variables of the network.

    Args:
        network: `Network`; inputs: nest of [...], one example without its batch axis.
        cotangent: [C], d loss / d z of that example.

    Raises:
        ValueError: BatchNormalization would take the statistics of this batch of one.
    """
    refuse_ties(network)
    values = network.values()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        z = network(values, tf.nest.map_structure(lambda part: part[None], inputs))
    found = tape.gradient(z, values, output_gradients=cotangent[None], unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in found]  # that of an Embedding is sparse


def dot_product(network, inputs, cotangent, vector) -> tf.Tensor:
    """Return g . vector, a scalar; `vector` is a list shaped like the variables."""
    found = gradient(network, inputs, cotangent)
    return tf.add_n([tf.reduce_sum(g * v) for g, v in zip(found, vector, strict=True)])


def refuse_ties(network) -> None:
    """Refuse batch statistics, which a batch of one does not have.

    Raises:
        ValueError: BatchNormalization would take the statistics of each example alone.
    """
    if network.ties_examples:
        raise ValueError(
            '`batch_norm` must be "moving" for the engines "serial" and "vectorized_map", which '
            "pass examples one by one: a batch of one has no statistics. "
            f'Received: batch_norm={network.batch_norm!r}. The engine "forward" takes both'
        )
