"""Tables of rows: numpy's own indexing and hashlib as oracles, and what is refused."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import strategies as st
from row_tables import Computed, Stored

from ssl_weighting.data import example_table
from ssl_weighting.data.example_table import (
    ArrayTable,
    ExampleTable,
    Joined,
    Taken,
    joined,
    loaded,
    table_of,
    taken,
)
from tests.helpers.fuzz import fuzz

SHAPES = {"images": (3, 2, 1), "points": (5,), "tokens": (4,), "names": ()}
DTYPES = {"images": np.uint8, "points": np.float32, "tokens": np.int32, "names": object}


def array_of(rng, kind, count):
    numbers = rng.integers(0, 256, (count, *SHAPES[kind]))
    return np.array([f"ü{k}" for k in numbers], object) if kind == "names" else numbers.astype(
        DTYPES[kind]
    )  # fmt: skip


def nested(rng, kind, depth):
    """Return a nest of tables and the array of the same rows."""
    how = rng.integers(4) if depth else rng.integers(2)
    if how < 2:
        array = array_of(rng, kind, rng.integers(0, 7))
        return (ArrayTable, Computed)[how](array), array
    table, array = nested(rng, kind, depth - 1)
    if how == 2:
        rows = rng.integers(0, max(len(array), 1), rng.integers(0, 9) * bool(len(array)))
        rows = rng.random(len(array)) < 0.6 if rng.integers(2) else rows
        return table.take(rows), array[rows]
    parts = [(table, array), *(nested(rng, kind, depth - 1) for _ in range(rng.integers(0, 3)))]
    return Joined([one for one, _ in parts]), np.concatenate([one for _, one in parts])


@fuzz(150, kind=st.sampled_from(sorted(SHAPES)), seed=st.integers(0, 2**32 - 1))
def test_nested_tables_are_the_arrays_that_numpy_makes(kind, seed):
    rng = np.random.default_rng(seed)
    table, array = nested(rng, kind, 3)
    n = len(array)
    assert (len(table), table.shape, table.ndim, table.dtype) == (
        n, array.shape, array.ndim, array.dtype,
    )  # fmt: skip
    assert table.nbytes == array.nbytes
    asked = rng.integers(0, n, 5) if n else np.arange(0)
    mask = rng.random(n) < 0.5
    low, high = sorted(rng.integers(-n - 1, n + 2, 2))
    for rows in (asked, mask, slice(low, high), slice(None, None, -1)):
        same(table[rows], array[rows])
    same(table.gather(asked), array[asked])
    same(table.loaded(), array)
    same(np.concatenate([*table.blocks(2), array[:0]]), array)
    assert [len(block) for block in table.blocks(2)] == [2] * (n // 2) + [1] * (n % 2)
    assert [np.array_equal(a, b) for a, b in zip(table, array, strict=True)] == [True] * n
    assert table.tolist() == array.tolist()
    for row in {0, n - 1, -n} if n else ():
        np.testing.assert_array_equal(table[row], array[row])
    if kind != "names":
        digests = [hashlib.sha256(row.tobytes()).digest() for row in array]
        assert [bytes(row) for row in table.row_digests()] == digests
        assert [bytes(row) for row in table.row_digests(asked)] == [digests[k] for k in asked]


def same(found, expected):
    assert found.dtype == expected.dtype and found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


def test_gathered_rows_are_the_callers_own():
    for array in (np.zeros((4, 3), np.uint8), np.zeros((4, 3), np.uint8, "F")):
        table = ArrayTable(array)
        rows = table.gather(np.arange(4))
        rows[:] = 1
        assert rows.flags.c_contiguous and rows.flags.writeable
        assert not array.any() and not np.shares_memory(rows, array)


def test_an_array_is_not_copied_to_become_a_table():
    array = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert np.shares_memory(table_of(array).loaded(), array)
    assert all(np.shares_memory(block, array) for block in table_of(array).blocks(3))
    assert loaded(array) is array


@pytest.mark.parametrize(("dtype", "lazily"), [(np.uint8, True), (np.float32, False)])
def test_large_images_are_taken_and_joined_without_a_copy(monkeypatch, dtype, lazily):
    array = np.arange(12).reshape(6, 2).astype(dtype)
    mask = np.array([True, False] * 3)
    monkeypatch.setattr(example_table, "LARGE", 100)
    for rows, expected in ((mask, array[::2]), (np.array([5, 5]), array[[5, 5]])):
        found = taken(array, rows)
        monkeypatch.setattr(example_table, "LARGE", expected.size)
        late = taken(array, rows)
        assert isinstance(found, np.ndarray) and isinstance(late, ExampleTable) == lazily
        same(found, expected)
        same(loaded(late), expected)
    monkeypatch.setattr(example_table, "LARGE", 25)
    same(joined([array, array]), np.concatenate([array, array]))
    monkeypatch.setattr(example_table, "LARGE", 24)
    both = joined([array, array])
    assert isinstance(both, ExampleTable) == lazily
    same(loaded(both), np.concatenate([array, array]))


def test_what_has_a_table_among_it_becomes_a_table():
    names = np.array(["a", "b"], object)
    both = joined([names, ArrayTable(names)])
    assert isinstance(both, Joined) and both.tolist() == ["a", "b", "a", "b"]
    assert taken(both, np.array([3, 0])).tolist() == ["b", "a"]
    assert taken(names, np.array([1])).tolist() == ["b"]


def test_rows_of_rows_are_asked_of_the_first_table_at_once():
    table = Computed(np.arange(20, dtype=np.int32).reshape(10, 2))
    taken = table.take(np.arange(9, -1, -1)).take(np.array([True, False] * 5)).take([1, 0, 1])
    taken.gather([2, 1])
    assert table.asked == [[7, 9]]
    assert table_of(taken) is taken


def test_only_the_tables_that_have_the_rows_are_asked():
    first, empty, last = (Computed(np.zeros((n, 2), np.float32)) for n in (3, 0, 2))
    joined = Joined([Joined([first, empty]), last])
    joined.gather([4, 3])
    assert (first.asked, empty.asked, last.asked) == ([], [], [[1, 0]])


def test_blocks_hold_so_many_bytes(monkeypatch):
    monkeypatch.setattr(example_table, "BLOCK", 30)
    table = Computed(np.zeros((7, 10), np.uint8))
    table.row_digests(np.array([6, 5, 4, 3]))
    assert table.asked == [[6, 5, 4], [3]]
    assert [len(block) for block in table.blocks()] == [3, 3, 1]
    wide = Computed(np.zeros((2, 31), np.uint8))
    assert [len(block) for block in wide.blocks()] == [1, 1]


def test_digests_that_a_table_keeps_are_read():
    array = np.zeros((4, 3), np.uint8)
    table = Stored(array, [[k] * 32 for k in range(4)])
    joined = Joined([ArrayTable(array[:1]), table]).take([2, 0, 4])
    assert joined.stores_digests and not ArrayTable(array).take([0]).stores_digests
    own = hashlib.sha256(bytes(3)).digest()
    assert [bytes(one) for one in joined.row_digests()] == [b"\1" * 32, own, b"\3" * 32]
    assert bytes(table.take([3, 2]).row_digests([0])[0]) == b"\3" * 32
    assert table.asked == []


def test_several_threads_gather_from_one_nest():
    array = np.arange(4000, dtype=np.int32).reshape(1000, 4)
    table = Joined([ArrayTable(array[:400]), Taken(ArrayTable(array), np.arange(400, 1000))])
    rows = [np.random.default_rng(k).integers(0, 1000, 300) for k in range(16)]
    together = threading.Barrier(4)

    def gather(k):
        together.wait()
        return table.gather(rows[k])

    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(gather, range(16))):
            np.testing.assert_array_equal(found, array[rows[k]])


@pytest.mark.parametrize(
    ("rows", "received"),
    [
        ([0, 3], "rows from 0 to 3"),
        ([-1, 2], "rows from -1 to 2"),
        ([0.0, 1.0], r"float64\[2\]"),
        ([[0, 1]], r"int64\[1, 2\]"),
        (np.ones(2, bool), r"bool\[2\]"),
        (2, r"int64\[\]"),
    ],
)
def test_other_rows_are_refused(rows, received):
    table = ArrayTable(np.zeros((3, 2), np.uint8))
    tables = table, Taken(table, np.arange(3)), Joined([table])
    asked = [table.take, *(one.gather for one in tables)]
    for ask in asked:
        with pytest.raises(ValueError, match=rf"`rows` must be in 0..2.*Received: {received}"):
            ask(rows)


def test_other_uses_are_refused():
    table = ArrayTable(np.zeros((3, 2), np.uint8))
    for row in (3, -4):
        with pytest.raises(IndexError, match=f"row {row} of a table of 3 rows"):
            table[row]
    with pytest.raises(TypeError, match=r"uint8\[3, 2\] is read by rows.*`loaded\(\)`"):
        np.asarray(table)
    with pytest.raises(ValueError, match="Received: none"):
        Joined([])
    other = ArrayTable(np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"Received: uint8\[3, 2\], uint8\[3, 3\]"):
        Joined([table, other])
