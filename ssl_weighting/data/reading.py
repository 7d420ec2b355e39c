"""Rows of examples by id as TensorFlow reads them: from an array in memory or from a table."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from ssl_weighting.data import example_table
from ssl_weighting.data.example_table import ExampleTable, table_of

Reader = Callable[[tf.Tensor], tf.Tensor]
_failed: list[Exception] = []  # what a table raised last


class Constant:
    """An array as a tensor on the CPU; see `constant_of`.

    Args:
        array: the array. It is held: no other one can have its id meanwhile.
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        # Where batches are made, whatever the model runs on, and in no graph: others read it too.
        with tf.init_scope(), tf.device("CPU:0"):
            self.tensor = tf.constant(array)


_constants: weakref.WeakValueDictionary[int, Constant] = weakref.WeakValueDictionary()


def constant_of(array: np.ndarray) -> Constant:
    """Return the tensor of an array, the same for all that ask while one of them holds it.

    Args:
        array: not to be written to any more.
    """
    constant = _constants.get(id(array))
    if constant is None:
        constant = _constants[id(array)] = Constant(array)
    return constant


def reader_of(inputs: np.ndarray | ExampleTable) -> Reader:
    """Return the function ids [k] int64 -> rows [k, ...], eager, compiled and within tf.data.

    The readers of one array share one copy of it. A table, and an array of `LARGE` bytes, is asked
    for the rows of each call and not copied. The same ids give the same bits either way.

    Args:
        inputs: [n, ...]; an array is not to be written to any more.
    """
    if isinstance(inputs, ExampleTable) or inputs.nbytes >= example_table.LARGE:
        return _asking(table_of(inputs))
    constant = constant_of(inputs)
    return lambda ids: tf.gather(constant.tensor, ids)


def _asking(table: ExampleTable) -> Reader:
    dtype = tf.as_dtype(table.dtype)

    def gather(ids):
        try:
            return table.gather(ids)
        except Exception as error:
            _failed[:] = [error]
            raise

    def read(ids):
        ids = tf.convert_to_tensor(ids)
        # Stateless: tf.data makes batches side by side only where no step of theirs has a state.
        rows = tf.numpy_function(gather, [ids], dtype, stateful=False)
        return tf.ensure_shape(rows, [*ids.shape[:1], *table.shape[1:]])

    return read


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """Raise what a table raised, which names an example, in the place of TensorFlow's error.

    Raises:
        PictureError, ValueError: an example of a table cannot be read.
    """
    _failed.clear()
    try:
        yield
    except tf.errors.OpError as error:
        if _failed:  # not to be kept: its traceback holds what was being read
            raise _failed.pop() from error
        raise
