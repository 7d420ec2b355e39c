"""Rows of suite influence: per-example gradients and dot products of the whole network."""

from __future__ import annotations

import functools

import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.parameters import subnetwork_curvature
from ssl_weighting.per_example_gradients import ENGINES
from ssl_weighting.structs import QuadraticRows

GRADIENTS = ("layerwise", "layerwise_vectorized", "vectorized_map", "serial")
PRODUCTS = {
    "hessian_product_forward_over_reverse": subnetwork_curvature.hessian_product,
    "hessian_product_reverse_over_reverse": subnetwork_curvature.hessian_product_reverse,
    "gauss_newton_product": subnetwork_curvature.gauss_newton_product,
}


def tasks(parts) -> dict:
    """Return row -> (options -> call); `parts` gives (model, store, batches) of the options.

    All rows work on the weak views of the unlabeled batch, BatchNorm by its moving statistics, and
    all parameters, as functions of `inputs` and of the gradient of each example in its logits.
    """
    works = {"forward_pass": _forward_pass, "batch_gradient": batch_gradient}
    works |= {name: functools.partial(dot_products, name) for name in ("forward", "ghost")}
    works |= {f"dot_products_{name}": functools.partial(dot_products, name) for name in GRADIENTS}
    for name in GRADIENTS:
        works[f"gradients_{name}"] = functools.partial(_gradients, ENGINES[name].gradients)
    works |= {name: functools.partial(_product, product) for name, product in PRODUCTS.items()}
    rows = {}
    for name, work in works.items():
        for way in ("graph", "xla"):
            rows[f"engine_{name}_{way}"] = functools.partial(_task, work, way == "xla", parts)
    return rows


def ratios(ratio, memory) -> dict:
    """Return the ratios between these rows.

    Args:
        ratio, memory: (above, below) -> `Ratio` of CPU time and of peak memory, None where one of
            the rows was not run.
    """
    found = {}
    for way in ("graph", "xla"):
        end = "" if way == "graph" else "_xla"

        def rows(above, below, measure=ratio, way=way):
            return measure(f"engine_{above}_{way}", f"engine_{below}_{way}")

        for name in ("forward", "ghost"):
            found[f"{name}_over_batch_gradient{end}"] = rows(name, "batch_gradient")
            found[f"{name}_over_batch_gradient_memory{end}"] = rows(name, "batch_gradient", memory)
        found[f"serial_over_forward{end}"] = rows("dot_products_serial", "forward")
        found[f"vectorized_map_over_layerwise{end}"] = rows(
            "gradients_layerwise_vectorized", "gradients_layerwise"
        )
        found[f"hessian_product_reverse_over_forward{end}"] = rows(
            "hessian_product_reverse_over_reverse", "hessian_product_forward_over_reverse"
        )
    return found


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


def batch_gradient(network, inputs, cotangent, vector) -> list[tf.Tensor]:
    """Return the gradient of sum_p cotangent_p . z_p in the parameters, shaped like them."""
    del vector
    values = network.values()
    with tf.GradientTape() as tape:
        tape.watch(values)
        z = network(values, inputs)
    return tape.gradient(z, values, output_gradients=cotangent)


def dot_products(engine, network, inputs, cotangent, vector) -> tf.Tensor:
    """Return the gradient of each cotangent_p . z_p times the vector, [P]."""
    return ENGINES[engine].dot_products(network, inputs, cotangent, vector)


def _gradients(gradients, network, inputs, cotangent, vector):
    del vector
    # Summed, so that no row is charged for handing gigabytes to Python.
    return [tf.reduce_sum(g, axis=0) for g in gradients(network, inputs, cotangent)]


def _product(product, network, inputs, cotangent, vector):
    classes = cotangent.shape[1]
    rows = QuadraticRows(
        inputs,
        tf.zeros_like(cotangent),
        cotangent,
        tf.eye(classes, batch_shape=cotangent.shape[:1]),
        tf.ones_like(cotangent[:, 0]),
    )
    return product(network, rows, network.flatten(vector))
