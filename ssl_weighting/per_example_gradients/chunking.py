"""The same answer in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def chunk_size(num_examples: int | None, bytes_per_example: int, max_memory: int | None) -> int:
    """Return how many examples pass at a time: as few chunks as fit, of nearly equal size.

    Args:
        num_examples: P; None: not known while tracing.
        bytes_per_example: what one example needs.
        max_memory: bytes; None: no limit, which needs P to be known.

    Raises:
        ValueError: not even one example fits.
    """
    if max_memory is None:
        return num_examples
    fit = max_memory // bytes_per_example
    if fit < 1:
        raise ValueError(
            f"`max_memory` must be at least {bytes_per_example} bytes "
            f"({bytes_per_example / 1e9:.2g} GB), which one example needs. "
            f"Received: max_memory={max_memory}"
        )
    if num_examples is None or num_examples == 0:
        return fit
    chunks = -(-num_examples // fit)
    return -(-num_examples // chunks)


def in_chunks(function: Callable, inputs, cotangent: tf.Tensor, size: int, like):
    """Return `function(inputs, cotangent)`, computed for `size` examples at a time.

    The last chunk is filled up with copies of the last example and cotangents of zero, which are
    cut off again: all chunks are of one shape and share one trace.

    Args:
        function: (inputs, cotangent) -> nest of [P, ...], where entry p depends on example p alone.
        inputs: nest of [P, ...]; cotangent: [P, C]. P >= 1 may be unknown while tracing.
        size: at least 1.
        like: the nest that `function` returns, as `tf.TensorSpec`s of one example.
    """
    count = cotangent.shape[0]
    if count is not None and count <= size:
        return function(inputs, cotangent)
    count = tf.shape(cotangent)[0] if count is None else count
    chunks = -(-count // size)
    fill = chunks * size - count
    places = tf.minimum(tf.range(chunks * size), count - 1)

    def split(part):
        return tf.reshape(part, [chunks, size, *part.shape[1:]])

    pieces = (
        tf.nest.map_structure(lambda part: split(tf.gather(part, places)), inputs),
        split(tf.pad(cotangent, [[0, fill], [0, 0]])),
    )
    signature = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([size, *spec.shape], spec.dtype), like
    )
    found = tf.map_fn(
        lambda piece: function(*piece),
        pieces,
        fn_output_signature=signature,
        parallel_iterations=1,  # one chunk in memory at a time
    )

    def join(part):
        return tf.reshape(part, [chunks * size, *part.shape[2:]])[:count]

    return tf.nest.map_structure(join, found)
