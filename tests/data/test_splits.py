"""D, U, V: against a literal re-statement of the reference's rule, and every promise of the cut."""

import dataclasses
import random

import numpy as np
import pytest
from raw_sets import SVHN, make_examples, make_raw, numbers_of

from ssl_weighting.data.class_profile import greedy_counts
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.held_out import hold_out
from ssl_weighting.data.splits import make_splits, with_validation_as_labels


# Training images per class, in the release's class order (digits 1, 2, ..., 9, 0).
def literal_greedy(counts, n):
    """The rule one draw at a time in exact fractions, as the facts state it."""
    from fractions import Fraction

    drawn = [0] * len(counts)
    for _ in range(n):
        gaps = [
            Fraction(count, max(counts)) - Fraction(have, max(max(drawn), 1))
            for count, have in zip(counts, drawn, strict=True)
        ]
        drawn[gaps.index(max(gaps))] += 1
    return drawn


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (250, [47, 36, 29, 25, 24, 20, 19, 17, 16, 17]),
        (1000, [189, 144, 116, 102, 94, 78, 76, 69, 64, 68]),
        (4000, [756, 578, 464, 407, 376, 313, 306, 276, 254, 270]),
    ],
)
def test_class_counts_of_svhn_are_the_published_ones(size, expected):
    assert greedy_counts(np.array(SVHN), size).tolist() == expected


@pytest.mark.parametrize("counts", [[5, 5, 5], [7, 3, 1], [1, 2, 3, 4], [50, 1, 1]])
def test_class_counts_follow_the_rule_in_exact_arithmetic(counts):
    for size in (1, 2, 3, 5, 8, 10):
        assert greedy_counts(np.array(counts), size).tolist() == literal_greedy(counts, size)


def test_labeled_rows_are_the_release_rows():
    """One legacy stream shuffles Python lists in class order; then the first of each class."""
    raw = make_raw((30, 30, 30))
    splits = make_splits(raw, 10, 6, seed=3, allow_overlap=True)
    rows = [np.flatnonzero(raw.train.labels == c).tolist() for c in range(3)]
    stream = np.random.RandomState(3)
    for row in rows:
        stream.shuffle(row)
    expected = sorted(rows[0][:4] + rows[1][:3] + rows[2][:3])
    assert numbers_of(splits.labeled).tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_the_three_sets_partition_as_promised(seed):
    raw = make_raw((60, 40, 30))
    splits = make_splits(raw, 13, 26, seed=seed)
    labeled, unlabeled, validation = map(
        set, map(numbers_of, (splits.labeled, splits.unlabeled, splits.validation))
    )
    assert (len(labeled), len(unlabeled), len(validation)) == (13, 104, 26)
    assert not labeled & validation
    assert not unlabeled & validation
    assert labeled < unlabeled
    assert unlabeled | validation == set(range(130))
    assert np.bincount(splits.labeled.labels).tolist() == [6, 4, 3]
    assert np.bincount(splits.validation.labels).tolist() == [12, 8, 6]
    truth = dict(zip(numbers_of(raw.train), raw.train.labels, strict=True))
    for part in (splits.labeled, splits.unlabeled, splits.validation):
        assert [truth[n] for n in numbers_of(part)] == part.labels.tolist()


def test_ids_keep_the_order_of_the_training_set():
    numbers = numbers_of(make_splits(make_raw(), 9, 9, seed=1).unlabeled)
    assert (np.diff(numbers) > 0).all()


def test_seed_moves_labeled_and_val_seed_moves_validation():
    raw = make_raw()
    first, second = (make_splits(raw, 9, 9, seed=s) for s in (1, 2))
    other = make_splits(raw, 9, 9, seed=1, val_seed=1)
    assert numbers_of(first.labeled).tolist() != numbers_of(second.labeled).tolist()
    assert numbers_of(first.validation).tolist() == numbers_of(second.validation).tolist()
    assert numbers_of(first.validation).tolist() != numbers_of(other.validation).tolist()
    again = make_splits(raw, 9, 9, seed=1)
    assert again.split_hash == first.split_hash
    assert len({s.split_hash for s in (first, second, other)}) == 3


def test_validation_does_not_depend_on_the_number_of_labels():
    raw = make_raw()
    few, many = make_splits(raw, 6, 9, seed=1), make_splits(raw, 30, 9, seed=1)
    assert numbers_of(few.validation).tolist() == numbers_of(many.validation).tolist()


def test_overlap_happens_only_when_allowed():
    raw = make_raw()
    overlaps = [
        len(set(numbers_of(splits.labeled)) & set(numbers_of(splits.validation)))
        for seed in range(5)
        for splits in [make_splits(raw, 30, 60, seed=seed, val_seed=seed, allow_overlap=True)]
    ]
    # 15 are expected each time: neither none nor, from two seeds that are equal, all.
    assert 10 < np.mean(overlaps) < 20


def test_labeled_can_be_left_out_of_unlabeled():
    splits = make_splits(make_raw(), 9, 9, seed=1, include_labeled=False)
    assert len(splits.unlabeled) == 120 - 18
    assert not set(numbers_of(splits.labeled)) & set(numbers_of(splits.unlabeled))


def test_short_runs_keep_labeled_and_draw_the_rest_by_seed():
    raw = make_raw()
    first, second = (make_splits(raw, 9, 9, seed=s, num_unlabeled=40) for s in (1, 2))
    numbers = numbers_of(first.unlabeled)
    assert len(numbers) == 40
    assert (np.diff(numbers) > 0).all()
    assert set(numbers_of(first.labeled)) <= set(numbers)
    assert not set(numbers_of(first.validation)) & set(numbers)
    assert numbers.tolist() != numbers_of(second.unlabeled).tolist()


def test_own_unlabeled_data_follows_the_training_set():
    own = make_examples([-1] * 7, start=5000)
    splits = make_splits(make_raw(unlabeled=own), 9, 9, seed=1)
    assert numbers_of(splits.unlabeled)[-7:].tolist() == list(range(5000, 5007))
    assert splits.unlabeled.labels[-7:].tolist() == [-1] * 7
    assert len(splits.unlabeled) == 120 - 9 + 7


def test_own_validation_set_is_taken_whole_or_in_part():
    own = make_examples([0, 1, 2] * 5, start=7000)
    raw = make_raw(validation=own)
    assert numbers_of(make_splits(raw, 9, None, seed=1).validation).tolist() == list(
        range(7000, 7015)
    )
    part = make_splits(raw, 9, 6, seed=1)
    assert np.bincount(part.validation.labels).tolist() == [2, 2, 2]
    assert set(numbers_of(part.validation)) < set(range(7000, 7015))
    assert len(part.unlabeled) == 120


def test_copies_of_validation_examples_are_in_neither_labeled_nor_unlabeled():
    raw = make_raw((10, 10, 10))
    own = raw.train.take(np.arange(21))
    splits = make_splits(dataclasses.replace(raw, validation=own), 9, None, seed=1)
    assert numbers_of(splits.labeled).tolist() == list(range(21, 30))
    assert numbers_of(splits.unlabeled).tolist() == list(range(21, 30))
    overlapping = make_splits(
        dataclasses.replace(raw, validation=own), 9, None, seed=1, allow_overlap=True
    )
    assert set(numbers_of(overlapping.labeled)) & set(range(21))


def test_copies_inside_the_training_set_do_not_leak_into_labeled():
    raw = make_raw((10, 10))
    doubled = raw.train.joined(raw.train)
    for seed in range(5):
        splits = make_splits(dataclasses.replace(raw, train=doubled), 10, 10, seed=seed)
        assert not set(numbers_of(splits.labeled)) & set(numbers_of(splits.validation))


def test_too_many_copies_are_an_error_that_counts_them():
    raw = make_raw((10, 10))
    everything = dataclasses.replace(raw, validation=raw.train.take(np.arange(18)))
    message = r"num_labeled=4, .* 'a' 2 of 1, 'b' 2 of 1 available. 18 are taken, or equal"
    with pytest.raises(ValueError, match=message):
        make_splits(everything, 4, None, seed=1)


def test_none_takes_an_uneven_validation_set_whole():
    own = make_examples([0] * 7 + [1] * 5 + [2], start=200)
    splits = make_splits(make_raw(validation=own), 9, None, seed=1)
    np.testing.assert_array_equal(splits.validation.inputs, own.inputs)


def test_validation_as_labels_adds_it_and_leaves_the_rest():
    raw = make_raw()
    base = make_splits(raw, 9, 12, seed=1)
    control = make_splits(raw, 9, 12, seed=1, validation_as_labels=True)
    assert numbers_of(control.labeled).tolist() == [
        *numbers_of(base.labeled),
        *numbers_of(base.validation),
    ]
    for part in ("unlabeled", "validation", "test"):
        np.testing.assert_array_equal(
            numbers_of(getattr(control, part)), numbers_of(getattr(base, part))
        )
    assert with_validation_as_labels(base).split_hash == control.split_hash != base.split_hash


def test_no_validation_set_is_possible():
    splits = make_splits(make_raw(), 9, 0, seed=1)
    assert (len(splits.validation), len(splits.unlabeled)) == (0, 120)
    with pytest.raises(ValueError, match=r"`val_size` must be positive .* Received: val_size=0"):
        with_validation_as_labels(splits)


def test_hash_sees_every_part():
    splits = make_splits(make_raw(), 9, 12, seed=1)
    hashes = {splits.split_hash}
    for part in ("labeled", "unlabeled", "validation", "test"):
        old = getattr(splits, part)
        pixels, labels = old.inputs.copy(), old.labels.copy()
        pixels[-1, -1, -1, -1] ^= 1
        labels[0] = (labels[0] + 1) % 3
        for new in (Examples(pixels, old.labels), Examples(old.inputs, labels)):
            hashes.add(dataclasses.replace(splits, **{part: new}).split_hash)
    hashes.add(dataclasses.replace(splits, name="other").split_hash)
    hashes.add(dataclasses.replace(splits, class_names=("a", "b", "d")).split_hash)
    assert len(hashes) == 11
    assert dataclasses.replace(splits, source="elsewhere").split_hash == splits.split_hash
    assert len(splits.split_hash) == 64


def test_hold_out_is_stratified_and_always_the_same():
    examples = make_examples([0] * 50 + [1] * 30 + [2] * 20)
    (rest, held), again = (hold_out(examples, ("a", "b", "c"), 20) for _ in range(2))
    assert np.bincount(held.labels).tolist() == [10, 6, 4]
    assert sorted([*numbers_of(rest), *numbers_of(held)]) == list(range(100))
    np.testing.assert_array_equal(numbers_of(again[1]), numbers_of(held))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labeled": 2}, r"`num_labeled` must be from 3, .* to 120.* num_labeled=2"),
        ({"num_labeled": 121}, r"`num_labeled` must be from 3.* Received: num_labeled=121"),
        ({"val_size": 2}, r"`val_size` must be 0, or from 3.* to 111.* Received: val_size=2"),
        ({"val_size": 112}, r"`val_size` must be .* Received: val_size=112"),
        (
            {"val_size": None},
            r"no validation set of its own.* val_size=None. Set --val_size",
        ),
        ({"seed": -1}, r"`seed` must be from 0 to .* Received: seed=-1"),
        ({"val_seed": 2**32}, r"`val_seed` must be .* Received: val_seed=4294967296"),
        ({"num_unlabeled": 8}, r"`num_unlabeled` must be from 9, .* to 111.* num_unlabeled=8"),
        ({"num_unlabeled": 112}, r"`num_unlabeled` must be .* Received: num_unlabeled=112"),
        (
            {"val_size": 0, "validation_as_labels": True},
            r"`val_size` must be positive .* Received: val_size=0",
        ),
    ],
)
def test_sizes_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_splits(make_raw(), **({"num_labeled": 9, "val_size": 9, "seed": 1} | arguments))


def test_own_validation_set_that_is_too_small_is_refused():
    raw = make_raw(validation=make_examples([0, 1, 2], start=7000))
    with pytest.raises(ValueError, match=r"to 3, the data set's own .* Received: val_size=4"):
        make_splits(raw, 9, 4, seed=1)


def test_nothing_left_to_be_unlabeled_is_refused():
    with pytest.raises(ValueError, match=r"`unlabeled` must have at least one example"):
        make_splits(make_raw((2, 2)), 2, 2, seed=1, include_labeled=False)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((2, 3, 3)), None, r"`inputs` must be .* Received: inputs=float64\[2, 3, 3\]"),
        (np.zeros((2, 9), np.uint8), None, r"`inputs` must be .* inputs=uint8\[2, 9\]"),
        ([[0.0]], None, r"`inputs` must be .* Received: inputs=list"),
        (
            np.array([[0, 1], [np.nan, 0]], np.float32),
            None,
            r"`inputs` must be finite. Received: .* 1 of 2 rows, the first is row 1",
        ),
        (None, np.zeros(2), r"`labels` must be an int32 array .* labels=float64\[2\]"),
        (None, np.zeros(3, np.int32), r"one entry for each input. Received: 3 labels for 2"),
        (None, np.array([0, -2], np.int32), r"`labels` must be classes .* Received: a label -2"),
    ],
)
def test_examples_refuse_what_does_not_fit(inputs, labels, message):
    inputs = np.zeros((2, 3, 3, 1), np.uint8) if inputs is None else inputs
    labels = np.zeros(2, np.int32) if labels is None else labels
    with pytest.raises(ValueError, match=message):
        Examples(inputs, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("a",)}, r"`class_names` must be at least two .*class_names=\('a',\)"),
        ({"class_names": ("a", "a", "b")}, r"`class_names` must be .* different names"),
        ({"class_names": ("a", "b")}, r"`train` must have labels from 0 to 1. .* 0 to 2"),
        ({"class_names": tuple("abcd")}, r"`train` must have examples of every .*\['d'\]"),
        ({"test": make_examples([])}, r"`test` must have at least one example"),
        ({"test": make_examples([-1])}, r"`test` must have labels .* Received: labels from -1"),
        ({"validation": make_examples([3])}, r"`validation` must have labels from 0 to 2"),
        (
            {"test": Examples(np.zeros((1, 3, 3, 1), np.uint8), np.zeros(1, np.int32))},
            r"one shape and dtype. Received: train=uint8\[2, 2, 1\], test=uint8\[3, 3, 1\]",
        ),
    ],
)
def test_data_sets_refuse_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_raw(), **change)


def test_splits_check_their_parts_too():
    part, unknown = make_examples([0, 1]), make_examples([0, -1])
    with pytest.raises(ValueError, match=r"`labeled` must have labels from 0 to 1"):
        DataSplits("toy", unknown, part, part, part, ("a", "b"), "memory")
    splits = DataSplits("toy", part, unknown, part, part, ("a", "b"), "memory")
    assert splits.num_classes == 2


def test_choices_depend_on_no_global_generator():
    raw = make_raw()
    first = make_splits(raw, 9, 12, seed=1).split_hash
    np.random.seed(99)
    random.seed(99)
    assert make_splits(raw, 9, 12, seed=1).split_hash == first
