"""Rows of suite influence: per-example gradients and dot products of the whole network."""

from __future__ import annotations

import functools

import tensorflow as tf

from ssl_weighting.per_example_gradients import ENGINES, layerwise
from ssl_weighting.per_example_gradients.network import Network

# XLA where it is worth its minutes of compilation.
COMPILED = ("batch_gradient", "forward", "ghost")


def tasks(parts) -> dict:
    """Return row -> (options -> call); `parts` gives (model, store, batches) of the options.

    All rows work on the weak views of the unlabeled batch, BatchNorm by its moving statistics, and
    all parameters, as functions of `inputs` and of the gradient of each example in its logits.
    """
    works = {"forward_pass": _forward_pass, "batch_gradient": _batch_gradient}
    works |= {name: functools.partial(_dot_products, name) for name in ("forward", "ghost")}
    for name in ("layerwise", "vectorized_map", "serial"):
        works[f"gradients_{name}"] = functools.partial(_gradients, ENGINES[name].gradients)
    paper = functools.partial(layerwise.gradients, conv2d="vectorized_map")
    works["gradients_layerwise_vectorized_conv"] = functools.partial(_gradients, paper)
    works["dot_products_serial"] = functools.partial(_dot_products, "serial")
    rows = {}
    for name, work in works.items():
        for jit_compile in (False, True) if name in COMPILED else (False,):
            row = f"engine_{name}_{'xla' if jit_compile else 'graph'}"
            rows[row] = functools.partial(_task, work, jit_compile, parts)
    return rows


def ratios(ratio) -> dict:
    """Return the ratios between these rows; `ratio(above, below)` is None where one was not run."""
    return {
        "forward_over_batch_gradient": ratio("engine_forward_graph", "engine_batch_gradient_graph"),
        "forward_over_batch_gradient_xla": ratio("engine_forward_xla", "engine_batch_gradient_xla"),
        "ghost_over_batch_gradient": ratio("engine_ghost_graph", "engine_batch_gradient_graph"),
        "serial_over_forward": ratio("engine_dot_products_serial_graph", "engine_forward_graph"),
        "vectorized_map_over_layerwise": ratio(
            "engine_gradients_layerwise_vectorized_conv_graph", "engine_gradients_layerwise_graph"
        ),
    }


def _task(work, jit_compile, parts, options):
    model, _, batches = parts(options)
    network = Network(model)
    inputs = batches.unlabeled.weak
    cotangent = tf.random.stateless_normal([inputs.shape[0], options.num_classes], [1, 2])
    vector = [tf.random.stateless_normal(shape, [3, 4]) for shape in network.shapes]
    call = tf.function(functools.partial(work, network), autograph=False, jit_compile=jit_compile)
    return lambda: call(inputs, cotangent, vector)


def _forward_pass(network, inputs, cotangent, vector):
    del cotangent, vector
    return network(network.values(), inputs)


def _batch_gradient(network, inputs, cotangent, vector):
    del vector
    values = network.values()
    with tf.GradientTape() as tape:
        tape.watch(values)
        z = network(values, inputs)
    return tape.gradient(z, values, output_gradients=cotangent)


def _dot_products(engine, network, inputs, cotangent, vector):
    return ENGINES[engine].dot_products(network, inputs, cotangent, vector)


def _gradients(gradients, network, inputs, cotangent, vector):
    del vector
    # Summed, so that no row is charged for handing gigabytes to Python.
    return [tf.reduce_sum(g, axis=0) for g in gradients(network, inputs, cotangent)]
