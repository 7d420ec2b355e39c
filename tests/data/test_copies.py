"""Copies by digest, against loops over whole contents."""

import numpy as np
import pytest
from hypothesis import strategies as st
from row_tables import Stored

from ssl_weighting.data import copies
from ssl_weighting.data.copies import are_copies, check_copies, first_rows, row_digests
from ssl_weighting.data.example_table import ArrayTable
from ssl_weighting.data.examples import UNKNOWN, DataSplits, Examples
from ssl_weighting.data.sources import Sources, sources_of_u
from tests.helpers.fuzz import fuzz

CLASSES = ("a", "b", "c")


def some(rng, count, label=None, start=0):
    """Images of few different contents, so that many are copies; a content has one label."""
    values = rng.integers(start, start + 12, count)
    labels = values % 3 if label is None else np.full(count, label)
    inputs = np.zeros((count, 2, 1, 1), np.uint8) + values[:, None, None, None].astype(np.uint8)
    return Examples(inputs, labels.astype(np.int32))


def contents_of(examples):
    return [row.tobytes() for row in examples.inputs]


def counted_one_by_one(parts):
    """Return what `check_copies` says, by one loop over all rows."""
    first, counts = {}, {}
    for part, examples in parts.items():
        for row, content in enumerate(contents_of(examples)):
            home = first.setdefault(content, (part, row))
            key = part, home[0]
            counts[key] = counts.get(key, 0) + (home != (part, row))
    return tuple(
        f"{n} of {part} {'is an exact copy' if n == 1 else 'are exact copies'} of "
        f"{'others' if part == other else 'examples'} in {other}"
        for (part, other), n in counts.items()
        if n
    )


@fuzz(40, seed=st.integers(0, 2**32 - 1), rows=st.sampled_from([3, 2**20]))
def test_copies_are_those_of_a_loop(seed, rows):
    rng = np.random.default_rng(seed)
    one, other = (some(rng, rng.integers(0, 15), start=rng.integers(0, 8)) for _ in range(2))
    known, size = contents_of(other), copies._ROWS
    copies._ROWS = rows
    try:
        found = are_copies(one, other)
    finally:
        copies._ROWS = size
    assert found.tolist() == [content in known for content in contents_of(one)]
    content = contents_of(one)
    assert first_rows(one.inputs).tolist() == [content.index(each) for each in content]
    table = Examples(ArrayTable(one.inputs), one.labels)
    np.testing.assert_array_equal(are_copies(table, other), found)
    np.testing.assert_array_equal(row_digests(table.inputs), row_digests(one.inputs))


@fuzz(60, seed=st.integers(0, 2**32 - 1))
def test_copies_are_counted_in_the_order_in_which_they_are_met(seed):
    rng = np.random.default_rng(seed)
    parts = {"train": some(rng, 8), "unlabeled": some(rng, 6, UNKNOWN), "test": some(rng, 4)}
    for order in (list(parts), sorted(parts)):
        named = {part: parts[part].named(part) for part in order}
        assert check_copies(named, CLASSES) == counted_one_by_one(named)


def test_the_first_two_examples_that_disagree_are_named():
    rng = np.random.default_rng(0)
    train, unlabeled = some(rng, 30), some(rng, 5, UNKNOWN)
    labels = train.labels.copy()
    content = contents_of(train)
    wrong = next(row for row in range(20, 30) if content.index(content[row]) < row)
    labels[wrong:] = (labels[wrong:] + 1) % 3
    parts = {"unlabeled": unlabeled, "train": Examples(train.inputs, labels)}
    first = content.index(content[wrong])
    expected = (
        rf"train\[{first}\] as '{CLASSES[labels[first]]}' and train\[{wrong}\] as "
        rf"'{CLASSES[labels[wrong]]}'"
    )
    with pytest.raises(ValueError, match=expected):
        check_copies({part: one.named(part) for part, one in parts.items()}, CLASSES)


def test_digests_that_begin_alike_are_told_apart():
    inputs = np.zeros((4, 1, 1, 1), np.uint8)
    digests = [bytes([1] * 31 + [end]) for end in (0, 1, 2, 0)]
    table = Stored(inputs, digests)
    assert first_rows(table).tolist() == [0, 1, 2, 0]
    labels = np.zeros(4, np.int32)
    ours, others = (Examples(one, labels[: len(one)]) for one in (table, table.take([1])))
    assert are_copies(ours, others).tolist() == [False, True, False, False]
    assert table.asked == []


def test_sources_of_some_ids_are_those_of_all():
    inputs = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)
    labels = (np.arange(9) % 3).astype(np.int32)
    rows = {
        "labeled": [0, 1, 2, 3],
        "unlabeled": [8, 3, 5, 1, 6],
        "validation": [5, 3],
        "test": [7],
    }
    parts = {part: Examples(inputs[one], labels[one]) for part, one in rows.items()}
    splits = DataSplits("toy", **parts, class_names=CLASSES, source="memory")
    expected = ["unlabeled", "labeled", "validation", "labeled", "unlabeled"]
    assert sources_of_u(splits).tolist() == expected
    assert sources_of_u(splits, 1, 4).tolist() == expected[1:4]
    assert sources_of_u(splits, 3).tolist() == expected[3:]
    asked = np.array([4, 2, 2])
    assert Sources(splits).of(asked).tolist() == [expected[k] for k in asked]
