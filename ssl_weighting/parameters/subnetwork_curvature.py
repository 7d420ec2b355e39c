"""The Hessian of the objective in any parameters of a network, in every shape the methods ask for.

The rows come to second order in their logits (`QuadraticRows`), so that with J = dz/dtheta

    H = sum_p coefficient_p (J_p^T S_p J_p + gradient_p . d^2 z_p / dtheta^2)

and the Gauss-Newton matrix, which is positive semi-definite, leaves out the second term.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from ssl_weighting.inverse_hessian import Curvature, Unroll
from ssl_weighting.models.network import Network
from ssl_weighting.parameters.subnetwork_kronecker import kronecker_blocks
from ssl_weighting.per_example_gradients import per_example_gradients
from ssl_weighting.per_example_gradients.uses import goes_by_layers
from ssl_weighting.structs import QuadraticRows


def subnetwork_curvature(
    network: Network,
    rows: QuadraticRows,
    ridge: tf.Tensor,
    *,
    kind: str = "gauss_newton",
    sample_size: int = 64,
    max_memory: int | None = None,
    unroll: Unroll | None = None,
) -> Curvature:
    """Return the curvature of sum_p coefficient_p loss_p in `network.variables`.

    Args:
        network: p parameters; rows: P rows of one forward pass.
        ridge: [p], weight decay's diagonal.
        kind: "gauss_newton" or "hessian".
        sample_size: rows of one `sampled_product`.
        max_memory: bytes for materialised per-example gradients; None: no limit.
        unroll: handed on.

    Raises:
        ValueError: unknown `kind`.
    """
    if kind not in PRODUCTS:
        raise ValueError(f"`kind` must be one of {', '.join(PRODUCTS)}. Received: kind={kind!r}")
    product = functools.partial(PRODUCTS[kind], network)
    psd = kind == "gauss_newton" and network.batch_norm == "moving"
    return Curvature(
        size=network.size,
        ridge=ridge,
        product=functools.partial(product, rows),
        dense=functools.partial(_dense, network, functools.partial(product, rows)),
        factor=functools.partial(_factor, network, rows, max_memory) if psd else None,
        factor_rows=rows.hessian.shape[0] and rows.hessian.shape[0] * rows.hessian.shape[1],
        gradients=functools.partial(_gradients, network, rows, max_memory),
        sampled_product=functools.partial(_sampled_product, network, product, rows, sample_size),
        kronecker=functools.partial(kronecker_blocks, network, rows),
        unroll=unroll,
    )


def gauss_newton_product(network: Network, rows: QuadraticRows, x: tf.Tensor) -> tf.Tensor:
    """Return sum_p coefficient_p J_p^T S_p J_p x, [p]: one forward-mode and one reverse pass."""
    values = network.values()
    with tf.autodiff.ForwardAccumulator(values, network.unflatten(x)) as forward:
        with tf.GradientTape() as tape:
            tape.watch(values)
            z = network(values, rows.inputs)
        jx = forward.jvp(z, unconnected_gradients="zero")
    u = rows.coefficient[:, None] * tf.linalg.matvec(rows.hessian, jx)
    gradients = tape.gradient(z, values, output_gradients=u, unconnected_gradients="zero")
    return network.flatten(gradients)


def hessian_product(network: Network, rows: QuadraticRows, x: tf.Tensor) -> tf.Tensor:
    """Return H x, [p], forward over reverse."""
    values = network.values()
    with tf.autodiff.ForwardAccumulator(values, network.unflatten(x)) as forward:
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = _objective(network(values, rows.inputs), rows)
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    return network.flatten(forward.jvp(gradients, unconnected_gradients="zero"))


def hessian_product_reverse(network: Network, rows: QuadraticRows, x: tf.Tensor) -> tf.Tensor:
    """Return H x, [p], reverse over reverse: as fast as the other, kept to measure that."""
    values, vector = network.values(), network.unflatten(x)
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            loss = _objective(network(values, rows.inputs), rows)
        gradients = inner.gradient(loss, values, unconnected_gradients="zero")
    products = outer.gradient(
        gradients, values, output_gradients=vector, unconnected_gradients="zero"
    )
    return network.flatten(products)


PRODUCTS = {"gauss_newton": gauss_newton_product, "hessian": hessian_product}


def _objective(z, rows):
    """The objective to second order in the logits: same gradient and Hessian in theta."""
    change = z - tf.stop_gradient(rows.logits)
    linear = tf.reduce_sum(rows.gradient * change, axis=1)
    bent = tf.reduce_sum(change * tf.linalg.matvec(rows.hessian, change), axis=1)
    return tf.reduce_sum(rows.coefficient * (linear + bent / 2))


def _dense(network, product):
    return tf.map_fn(product, tf.eye(network.size, dtype=network.dtype))


def _factor(network, rows, max_memory):
    """A [P C, p] with A^T A = H: rows of sqrt(coefficient_p) S_p^(1/2) J_p."""
    values, vectors = tf.linalg.eigh(rows.hessian)
    root = tf.sqrt(tf.nn.relu(values * rows.coefficient[:, None]))
    cotangents = root[:, :, None] * tf.linalg.matrix_transpose(vectors)  # [P, C, C]
    parts = [
        _flat_gradients(network, rows.inputs, cotangents[:, k], max_memory)
        for k in range(rows.hessian.shape[1])
    ]
    return tf.concat(parts, axis=0)


def _gradients(network, rows, max_memory):
    return _flat_gradients(network, rows.inputs, rows.gradient, max_memory), rows.coefficient


def _flat_gradients(network, inputs, cotangent, max_memory):
    # Layer by layer where that finds all; of the others, a model in one piece.
    engine = "layerwise" if goes_by_layers(network, inputs) else "vectorized_map"
    each = per_example_gradients(network, inputs, cotangent, engine=engine, max_memory=max_memory)
    count = tf.shape(cotangent)[0]
    return tf.concat([tf.reshape(g, [count, -1]) for g in each], axis=1)


def _sampled_product(network, product, rows, size, k, x):
    count = tf.shape(rows.coefficient)[0]
    key = tf.stack([tf.cast(k, tf.int64), tf.constant(17, tf.int64)])
    chosen = tf.random.stateless_uniform([size], key, maxval=count, dtype=tf.int32, alg="philox")
    scale = tf.cast(count, rows.coefficient.dtype) / size
    if network.batch_norm == "moving":
        sample = tf.nest.map_structure(lambda part: tf.gather(part, chosen), rows)
        return product(sample._replace(coefficient=scale * sample.coefficient), x)
    # BatchNorm ties the batch together: all inputs pass, the chosen rows count.
    drawn = tf.math.unsorted_segment_sum(tf.ones([size], scale.dtype), chosen, count)
    return product(rows._replace(coefficient=scale * drawn * rows.coefficient), x)
