"""Rows of examples by id as TensorFlow reads them: from an array in memory or from a table."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ssl_weighting.data import example_table
from ssl_weighting.data.example_table import ExampleTable, table_of

Reader = Callable[[tf.Tensor], tf.Tensor]


class _Constant:
    """An array as a tensor; it holds the array, whose id no other one can have meanwhile."""

    def __init__(self, array: np.ndarray):
        self.array = array
        with tf.device("CPU:0"):  # where batches are made, whatever the model runs on
            self.tensor = tf.constant(array)


_constants: weakref.WeakValueDictionary[int, _Constant] = weakref.WeakValueDictionary()


def reader_of(inputs: np.ndarray | ExampleTable) -> Reader:
    """Return the function ids [k] int64 -> rows [k, ...], eager, compiled and within tf.data.

    The readers of one array share one copy of it. A table, and an array of `LARGE` bytes, is asked
    for the rows of each call and not copied. The same ids give the same bits either way.

    Args:
        inputs: [n, ...]; an array is not to be written to any more.
    """
    if isinstance(inputs, ExampleTable) or inputs.nbytes >= example_table.LARGE:
        return _asking(table_of(inputs))
    constant = _constants.get(id(inputs))
    if constant is None:
        constant = _constants[id(inputs)] = _Constant(inputs)
    return lambda ids: tf.gather(constant.tensor, ids)


def _asking(table: ExampleTable) -> Reader:
    dtype = tf.as_dtype(table.dtype)

    def read(ids):
        ids = tf.convert_to_tensor(ids)
        # Stateless: tf.data makes batches side by side only where no step of theirs has a state.
        rows = tf.numpy_function(table.gather, [ids], dtype, stateful=False)
        return tf.ensure_shape(rows, [*ids.shape[:1], *table.shape[1:]])

    return read
