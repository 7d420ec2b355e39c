"""Rows of a table within tf.data under TensorFlow's determinism, which no process can leave again.

Run as a program: ends well only if two batches are gathered at the same time, in their order.
"""

import threading

import numpy as np
import tensorflow as tf

from ssl_weighting.data.example_table import ArrayTable
from ssl_weighting.data.reading import reader_of


class Meeting(ArrayTable):
    """A table that answers when two threads have asked."""

    def __init__(self, array):
        super().__init__(array)
        self._both = threading.Barrier(2, timeout=300)

    def gather(self, rows):
        self._both.wait()
        return super().gather(rows)


def main():
    """Raise an error unless batches meet and come in order."""
    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(0)
    read = reader_of(Meeting(np.arange(12, dtype=np.int32).reshape(6, 2)))
    steps = tf.data.Dataset.range(6)
    batches = steps.map(lambda step: read(step[tf.newaxis]), num_parallel_calls=2)
    found = np.concatenate([batch.numpy() for batch in batches])
    np.testing.assert_array_equal(found, np.arange(12).reshape(6, 2))


if __name__ == "__main__":
    main()
