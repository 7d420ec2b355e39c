"""Which path each layer takes and what memory it needs, before anything runs."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from ssl_weighting.models.network import Network, replaced_calls, sublayers
from ssl_weighting.per_example_gradients.engines import forward_rules as dual_rules
from ssl_weighting.per_example_gradients.observe import observe
from ssl_weighting.per_example_gradients.rules import rule_of

# How many copies of the activations an engine holds at once.
ACTIVATION_COPIES = dict.fromkeys(("layerwise", "layerwise_vectorized", "ghost"), 2)
ACTIVATION_COPIES |= {"serial": 0, "vectorized_map": 3, "forward": 3}
BUILDS_GRADIENTS = ("serial", "vectorized_map", "layerwise", "layerwise_vectorized")
BY_RULES = {"ghost": "closed_form", "layerwise": "closed_form"}
BY_RULES |= {"layerwise_vectorized": "vectorized_map"}  # engine -> its rule of convolutions


class PlanRow(NamedTuple):
    """One layer of the table."""

    layer: str  # path
    type: str
    parameters: int  # selected ones
    path: str  # the rule that serves it
    bytes_per_example: int  # its gradient, where the engine builds one, and its activations


def layer_plan(network: Network, inputs, engine: str = "layerwise") -> list[PlanRow]:
    """Return a row for every layer that has selected parameters, in order of their first call.

    Nothing is computed: the model is traced on the shape of one example.

    Args:
        network: `Network`; inputs: nest of [P, ...].
        engine: a name in `ENGINES`.
    """
    records, _ = _trace(network, inputs)
    copies, itemsize = ACTIVATION_COPIES[engine], tf.as_dtype(network.dtype).size
    rows = {}
    for record in records:
        sizes = [network.shapes[k].num_elements() for k in record.places]
        gradient = sum(sizes) if engine in BUILDS_GRADIENTS else 0
        need = itemsize * (gradient + copies * _size(record.output))
        path = engine
        if engine == "forward":
            path = f"forward, {dual_rules.rule_name(record.layer)}"
        elif engine in BY_RULES:
            path = rule_of(record, BY_RULES[engine]).__name__.rpartition(".")[2]
        name, kind = record.layer.path, type(record.layer).__name__
        before = rows.get(name)
        need += before.bytes_per_example if before else 0
        rows[name] = PlanRow(name, kind, sum(sizes), path, need)
    return list(rows.values())


def bytes_per_example(network: Network, inputs, engine: str) -> int:
    """Return an estimate of what one more example in a pass adds to its peak memory.

    Counted are the gradient of one example where the engine builds one, and the outputs of all
    layers, those without parameters included, as often as the engine holds them at once. Temporary
    buffers of single operations are not.
    """
    _, activations = _trace(network, inputs)
    gradient = network.size if engine in BUILDS_GRADIENTS else 0
    itemsize = tf.as_dtype(network.dtype).size
    return itemsize * (gradient + ACTIVATION_COPIES[engine] * activations) or itemsize


def plan_text(rows: list[PlanRow]) -> str:
    """Return the table as text, with its sum."""
    total = ("", "sum", sum(r.parameters for r in rows), "", sum(r.bytes_per_example for r in rows))
    heading = ("layer", "type", "parameters", "path", "kB an example")
    lines = [heading, *((*r[:4], r[4]) for r in rows), total]
    lines = [heading] + [(*line[:4], f"{line[4] / 1e3:,.1f}") for line in lines[1:]]
    widths = [max(len(str(line[k])) for line in lines) for k in range(5)]
    return "\n".join(
        "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _trace(network, inputs):
    """Return the records of one example and the number of all layers' output entries."""
    records, outputs = [], []

    def run(one):
        leaves = [layer for layer in sublayers(network.model) if len(sublayers(layer)) == 1]
        calls = {layer: _counting(layer.call, outputs) for layer in leaves}
        with replaced_calls(calls), observe(network) as seen:
            z = network(network.values(), one)
        records.extend(seen)
        return z

    shapes = tf.nest.map_structure(_one, inputs)
    tf.function(run, autograph=False).get_concrete_function(shapes)
    return records, sum(outputs)


def _counting(call, outputs):
    def count(*args, **kwargs):
        found = call(*args, **kwargs)
        outputs.append(_size(found))
        return found

    return count


def _one(part):
    part = tf.convert_to_tensor(part) if not keras.ops.is_tensor(part) else part
    return tf.TensorSpec([1, *part.shape[1:]], part.dtype)


def _size(nest):
    tensors = [part for part in tf.nest.flatten(nest) if tf.is_tensor(part)]
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)
