"""Rows by id in TensorFlow: the same from arrays and tables, in every way to ask; shared copies."""

import gc
import itertools
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.data import example_table
from ssl_weighting.data.example_table import ArrayTable, Joined, Taken
from ssl_weighting.data.images.picture import PictureError
from ssl_weighting.data.reading import named_errors, reader_of

ROOT = Path(__file__).resolve().parents[2]
IDS = [4, 0, 4, 2]


def arrays():
    rng = np.random.default_rng(0)
    yield rng.integers(0, 256, (5, 3, 2, 1)).astype(np.uint8)
    yield rng.normal(size=(5, 3)).astype(np.float32)
    yield rng.integers(0, 9, (5, 2)).astype(np.int32)


def kinds_of(array):
    yield array
    yield ArrayTable(array)
    yield Taken(ArrayTable(array[::-1]), np.arange(5)[::-1])
    yield Joined([ArrayTable(array[:2]), ArrayTable(array[2:])])


@pytest.mark.parametrize("array", list(arrays()), ids=lambda array: array.dtype.name)
def test_rows_are_the_same_from_arrays_and_tables_in_every_way_to_ask(array):
    for inputs in kinds_of(array):
        read = reader_of(inputs)
        ids = tf.constant(IDS, tf.int64)
        compiled = tf.function(read, input_signature=[tf.TensorSpec([4], tf.int64)])
        batches = tf.data.Dataset.from_tensors(ids).map(read)
        assert batches.element_spec == tf.TensorSpec([4, *array.shape[1:]], array.dtype)
        for found in (read(ids), compiled(ids), next(iter(batches)), read(IDS)):
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array[IDS])
        assert read(tf.zeros([0], tf.int64)).shape == [0, *array.shape[1:]]


def test_an_array_is_copied_once_and_let_go_with_its_last_reader(monkeypatch):
    made, constant = [], tf.constant
    monkeypatch.setattr(tf, "constant", lambda *args: made.append(args[0]) or constant(*args))
    array, other = (np.arange(6, dtype=np.float32).reshape(3, 2) for _ in range(2))
    readers = [reader_of(array), reader_of(array), reader_of(other)]
    assert [one is array for one in made] == [True, False]
    made.clear()
    gone = weakref.ref(array)
    del array, readers[1]
    gc.collect()
    assert gone() is not None
    np.testing.assert_array_equal(readers[0](constant([2], tf.int64)), [[4, 5]])
    readers.clear()
    gc.collect()
    assert gone() is None


def test_large_arrays_are_not_copied(monkeypatch):
    array = np.zeros((5, 4), np.uint8)
    monkeypatch.setattr(example_table, "LARGE", array.nbytes)
    read = reader_of(array)
    array[3] = 7  # seen, as a copy would not have it
    np.testing.assert_array_equal(read(tf.constant([3], tf.int64)), [[7] * 4])


def test_the_op_is_stateless_and_runs_once_a_batch():
    table = ArrayTable(np.zeros((5, 4), np.uint8))
    read = tf.function(reader_of(table), input_signature=[tf.TensorSpec([None], tf.int64)])
    definition = read.get_concrete_function().graph.as_graph_def()
    nodes = itertools.chain(definition.node, *(f.node_def for f in definition.library.function))
    assert [node.op for node in nodes if "PyFunc" in node.op] == ["PyFuncStateless"]


def test_rows_that_are_not_there_are_refused():
    read, ids = reader_of(ArrayTable(np.zeros((5, 4), np.uint8))), tf.constant([5], tf.int64)
    message = r"`rows` must be in 0..4"
    with pytest.raises(ValueError, match=message):
        read(ids)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(read)(ids)


def test_what_a_table_cannot_read_is_named_by_the_table():
    class Damaged(ArrayTable):
        def gather(self, rows):
            raise PictureError("cats/7.png", "damaged since it was packed")

    read = reader_of(Damaged(np.zeros((5, 4), np.uint8)))
    batches = tf.data.Dataset.from_tensors(tf.constant([1], tf.int64)).map(read)
    for ask in (lambda: list(batches), lambda: tf.function(read)(tf.constant([1], tf.int64))):
        with pytest.raises(PictureError, match=r"cats/7\.png must be"), named_errors():
            ask()
    with pytest.raises(tf.errors.InvalidArgumentError), named_errors():  # another one stays
        tf.debugging.assert_equal(1, 2)


def test_batches_are_made_side_by_side_and_in_order_under_determinism():
    path = os.pathsep.join([str(ROOT), str(ROOT / "third_party")])
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.at_once"],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        timeout=600,
    )
