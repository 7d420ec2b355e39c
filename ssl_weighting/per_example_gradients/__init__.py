"""Per-example gradients of a network (App. B) and their dot products with a vector.

Everything starts from the inputs [P, ...] of one forward pass and the cotangent [P, C], the
gradient of each example's loss in its own logits with targets frozen: g_p = J_p^T cotangent_p.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.chunking import chunk_size, in_chunks
from ssl_weighting.per_example_gradients.engines import (
    forward,
    ghost,
    layerwise,
    serial,
    vectorized_map,
)
from ssl_weighting.per_example_gradients.plan import bytes_per_example
from ssl_weighting.per_example_gradients.uses import refuse_reads_past_keras


class Engine(NamedTuple):
    """One way to compute: functions of (network, inputs, cotangent[, vector])."""

    gradients: Callable | None  # None: the engine never builds a gradient
    dot_products: Callable


ENGINES = {
    "forward": Engine(None, forward.dot_products),
    "ghost": Engine(None, ghost.dot_products),
    "layerwise": Engine(layerwise.gradients, layerwise.dot_products),
    "layerwise_vectorized": Engine(
        functools.partial(layerwise.gradients, convolutions="vectorized_map"),
        functools.partial(layerwise.dot_products, convolutions="vectorized_map"),
    ),
    "vectorized_map": Engine(vectorized_map.gradients, vectorized_map.dot_products),
    "serial": Engine(serial.gradients, serial.dot_products),
}
BY_LAYERS = ("ghost", "layerwise", "layerwise_vectorized")


def per_example_gradients(
    network: Network,
    inputs,
    cotangent: tf.Tensor,
    *,
    engine: str = "layerwise",
    max_memory: int | None = None,
) -> list[tf.Tensor]:
    """Return g_p = J_p^T cotangent_p for every example: [P, *shape] for each selected variable.

    Args:
        network: `Network`; with batch statistics "layerwise" gives what reaches the layers at
            place p from all losses: equal sums over the batch, but not row p of the Jacobian.
        inputs: nest of [P, ...].
        cotangent: [P, C], d loss_p / d z_p, a constant, in the dtype of the logits.
        engine: a name in `ENGINES` that builds gradients.
        max_memory: bytes that one pass may take, beside the gradients that are returned; None: all
            examples at once. The answer does not depend on it.

    Raises:
        ValueError: an unknown engine, one without gradients, arguments of other shapes, too little
            memory for one example; batch statistics where examples pass alone or in chunks.
    """
    run = _engine(engine).gradients
    if run is None:
        known = ", ".join(name for name, e in ENGINES.items() if e.gradients)
        raise ValueError(
            f"`engine` must be one of {known} for gradients: {engine} gives dot products alone. "
            f"Received: engine={engine!r}"
        )
    like = [tf.TensorSpec(shape, network.dtype) for shape in network.shapes]
    return _run(
        engine, functools.partial(run, network), network, inputs, cotangent, max_memory, like
    )


def per_example_dot_products(
    network: Network,
    inputs,
    cotangent: tf.Tensor,
    vector: list[tf.Tensor],
    *,
    engine: str = "forward",
    max_memory: int | None = None,
) -> tf.Tensor:
    """Return g_p . vector for every example, [P]: all that Eq. 6 asks of the unlabeled side.

    Args:
        network, inputs, cotangent, max_memory: as in `per_example_gradients`; with batch
            statistics "forward" is exact, "ghost" and "layerwise" are the approximation.
        vector: list of tensors shaped like the variables.
        engine: a name in `ENGINES`.

    Raises:
        ValueError: as in `per_example_gradients`.
    """
    run = _engine(engine).dot_products
    shapes = [tf.TensorShape(getattr(v, "shape", None)) for v in vector]
    fits = len(shapes) == len(network.shapes) and all(
        map(tf.TensorShape.is_compatible_with, shapes, network.shapes)
    )
    dtypes = {tf.as_dtype(getattr(v, "dtype", None) or tf.float32).name for v in vector}
    if not fits or dtypes != {network.dtype}:
        raise ValueError(
            "`vector` must be a list of tensors shaped like the selected variables, "
            f"{[tuple(s) for s in network.shapes]}, of {network.dtype}. "
            f"Received: {[str(s) for s in shapes]} of {sorted(dtypes)}. "
            "`network.unflatten` makes it from a vector of all parameters"
        )

    def function(inputs, cotangent):
        return run(network, inputs, cotangent, vector)

    like = tf.TensorSpec([], network.dtype)
    return _run(engine, function, network, inputs, cotangent, max_memory, like)


def _engine(name) -> Engine:
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"`engine` must be one of {known}. Received: engine={name!r}")
    return ENGINES[name]


def _run(name, function, network, inputs, cotangent, max_memory, like):
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    cotangent = tf.convert_to_tensor(cotangent)
    _check_examples(inputs, cotangent, network.dtype)
    refuse_reads_past_keras(network, inputs)
    if max_memory is None:
        return function(inputs, cotangent)
    count, need = cotangent.shape[0], bytes_per_example(network, inputs, name)
    size = chunk_size(count, need, max_memory)
    if network.ties_examples and (count is None or size < count):
        raise ValueError(
            "`max_memory` must be None, or enough for all examples at once "
            f"({need} bytes each), where their batch sets the statistics: chunks would have their "
            f"own. Received: max_memory={max_memory}, {count} examples, "
            f"batch_norm={network.batch_norm!r}. The moving statistics allow chunks "
            "(--infl_bn=moving)"
        )
    return in_chunks(function, inputs, cotangent, size, like)


def _check_examples(inputs, cotangent, dtype):
    counts = {part.shape[0] for part in tf.nest.flatten(inputs)} - {None}
    shape = cotangent.shape
    fits = shape.rank in (2, None) and len(counts - {shape[0]}) <= (shape[0] is None)
    if not fits or cotangent.dtype != dtype:
        raise ValueError(
            f"`cotangent` must be [P, C] {dtype}, one row for each of the P inputs. "
            f"Received: {cotangent.dtype.name} {shape} for {sorted(counts)} inputs"
        )
