"""Embedding: a table of which each example reads some rows, perhaps one row twice."""

from __future__ import annotations

import tensorflow as tf


def knows(record) -> bool:
    """Return whether the rule holds: the table is the only variable."""
    return record.names == ("embeddings",)


def gradients(record, delta) -> list[tf.Tensor]:
    """Return the table's gradient [P, rows, o]; what an example read twice is added up."""
    layer, count = record.layer, tf.shape(delta)[0]
    ids = tf.reshape(_ids(record), [count, -1])
    place = ids + layer.input_dim * tf.range(count)[:, None]
    each = tf.reshape(delta, [-1, layer.output_dim])
    total = tf.math.unsorted_segment_sum(each, tf.reshape(place, [-1]), count * layer.input_dim)
    return [tf.reshape(total, [count, layer.input_dim, layer.output_dim])]


def dot(record, delta, vectors) -> tf.Tensor:
    """Return sum delta . V[ids] for each example, [P]."""
    rows = tf.gather(vectors[0], _ids(record))
    return tf.reduce_sum(delta * rows, axis=list(range(1, delta.shape.rank)))


def _ids(record):
    """Return the rows that are read; Keras counts negative ones from the end."""
    ids = tf.cast(record.args[0], tf.int32)
    return tf.where(ids < 0, ids + record.layer.input_dim, ids)
