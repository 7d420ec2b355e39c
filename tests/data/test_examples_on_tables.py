"""Sets whose inputs are tables are the sets of the arrays: every cut, every hash, every check."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from raw_sets import make_examples, make_raw
from row_tables import Computed, Stored

from experiments.assemble.feature_sets import StoredSet
from ssl_weighting.data import digests, example_table
from ssl_weighting.data.contamination import contaminate, with_foreign_classes
from ssl_weighting.data.example_table import ArrayTable, ExampleTable
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.exclusion import without_examples
from ssl_weighting.data.folds import cross_fit_folds
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.numbers import rows_not_finite
from ssl_weighting.data.own import own_dataset
from ssl_weighting.data.splits import make_splits, with_fewer_tests


def on_tables(raw, kind=Computed):
    """Return a set whose inputs and names are tables."""
    return dataclasses.replace(raw, **{p: tabled(one, kind) for p, one in raw.parts.items()})


def tabled(examples, kind=Computed):
    names = ArrayTable(examples.names)
    return dataclasses.replace(examples, inputs=kind(examples.inputs), names=names)


def assert_same_sets(one, other, but=""):
    """Compare all fields of two sets but one, tables as the arrays that they are of."""
    for field in dataclasses.fields(one):
        if field.name == but:
            continue
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Examples):
            a, b = a.loaded(), b.loaded()
            for each in dataclasses.fields(Examples):
                np.testing.assert_array_equal(getattr(a, each.name), getattr(b, each.name))
        else:
            assert a == b, field.name


def raw_of(case):
    more = {"unlabeled": make_examples([-1] * 30, start=1000)}
    if case == "foreign":
        return with_foreign_classes(make_raw((20, 20, 20, 20)), 0.3)
    if case == "validation":
        more["validation"] = make_raw((4, 4, 4)).train
    return make_raw((20, 20, 20), **more)


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(example_table, "LARGE", 0)


KINDS = Computed, Stored
CUTS = {
    "plain": {},
    "drawn": {"num_unlabeled": 30, "labeled_imbalance": 2.0},
    "validation": {"val_size": None, "validation_as_labels": True},
    "foreign": {"include_labeled": False},
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("case", sorted(CUTS))
def test_cuts_of_tables_are_the_cuts_of_arrays(monkeypatch, case, large):
    raw, options = raw_of(case), {"num_labeled": 9, "val_size": 6, "seed": 3} | CUTS[case]
    splits = make_splits(raw, **options)
    monkeypatch.setattr(example_table, "LARGE", 0 if large else example_table.LARGE)
    cut = make_splits(on_tables(raw_of(case)), **options)
    assert isinstance(cut.unlabeled.inputs, ExampleTable)
    assert isinstance(cut.validation.inputs, np.ndarray)
    assert isinstance(cut.labeled.inputs, np.ndarray) != large
    assert isinstance(cut.test.inputs, np.ndarray) != large
    assert_same_sets(splits, cut)
    assert_same_sets(with_fewer_tests(splits, 2), with_fewer_tests(cut, 2))
    exclude = [splits.unlabeled.names[-1]]
    assert_same_sets(without_examples(splits, exclude), without_examples(cut, exclude))
    for one, other in zip(cross_fit_folds(splits, 1), cross_fit_folds(cut, 1), strict=True):
        assert isinstance(other.validation.inputs, np.ndarray)
        assert_same_sets(one, other)


def test_a_users_own_set_on_tables_is_that_of_arrays():
    """With copies of each other in all parts, a test set that is held out, and no label twice."""
    parts = {
        "train": make_examples([0, 1, 2] * 20).joined(make_examples([0, 1, 2] * 2)),
        "unlabeled": make_examples([-1] * 30, 1000).joined(make_examples([-1] * 20, 3)),
    }
    named = {part: one.named(part) for part, one in parts.items()}
    sets = [
        own_dataset("mine", parts, ("a", "b", "c"), "memory")
        for parts in (named, *({p: tabled(e, k) for p, e in named.items()} for k in KINDS))
    ]
    for other in sets[1:]:
        assert_same_sets(sets[0], other)
        assert isinstance(other.train.inputs, ExampleTable) and len(sets[0].notes) == 4
        cuts = [make_splits(one, 9, 6, seed=3) for one in (sets[0], other)]
        # Known digests count in the place of bytes.
        assert_same_sets(*cuts, but="split_hash" if other is sets[2] else "")


@pytest.mark.parametrize("kind", ["corrupt", "imbalanced"])
def test_contaminated_tables_are_the_contaminated_arrays(kind):
    raw = make_raw((20, 20, 20))
    spoilt = [
        contaminate(make_splits(one, 9, 6, seed=3), kind, 0.4, seed=1)
        for one in (raw, on_tables(raw))
    ]
    assert_same_sets(*spoilt)


def test_large_arrays_are_cut_without_a_copy(all_are_large):
    raw = make_raw((20, 20, 20))
    splits = make_splits(raw, 9, 6, seed=3)
    before = splits.unlabeled.inputs[0]
    raw.train.inputs[:] ^= 255  # seen through the table
    assert (splits.unlabeled.inputs[0] == before ^ 255).all()


def test_a_set_whose_digests_are_known_is_cut_and_hashed_without_its_images():
    raw = make_raw((20, 20, 20), copies_are_one=True)
    tables = on_tables(raw, Stored)
    options = {"num_labeled": 9, "val_size": 6, "seed": 3}
    splits, cut = make_splits(raw, **options), make_splits(tables, **options)
    read = {row for rows in tables.train.inputs.asked for row in rows}
    in_memory = splits.labeled.joined(splits.validation).names
    assert {raw.train.names[row] for row in read} == set(in_memory)
    assert cut.hash_without_u == splits.hash_without_u
    assert cut.split_hash != splits.split_hash
    again = make_splits(on_tables(raw, Stored), **options)
    assert again.split_hash == cut.split_hash
    other = dataclasses.replace(raw, train=raw.train.take(np.arange(59, -1, -1)))
    assert make_splits(on_tables(other, Stored), **options).split_hash != cut.split_hash


def test_the_digest_of_digests_is_the_stated_one(monkeypatch):
    part = make_examples([0, 1, 0, 1, 0])
    known = Examples(Stored(part.inputs), part.labels)
    head = ["toy", ["a", "b"], [["x", "uint8", [5, 2, 2, 1]]]]
    rows = b"".join(hashlib.sha256(row.tobytes()).digest() for row in part.inputs)
    for content, examples in ((part.inputs.tobytes(), part), (rows, known)):
        whole = json.dumps(head).encode() + content + part.labels.tobytes()
        for size in (2, 2**20):  # of a block
            monkeypatch.setattr(example_table, "BLOCK", 4 * size)
            monkeypatch.setattr(digests, "_ROWS", size)
            found = digests.digest_of("toy", ("a", "b"), {"x": examples})
            assert found == hashlib.sha256(whole).hexdigest()


def test_features_of_tables_are_those_of_arrays():
    raw = make_raw((4, 4, 4))
    stored, on_table, known = (
        StoredSet(one) for one in (raw, on_tables(raw), on_tables(raw, Stored))
    )
    assert stored.digest() == on_table.digest() != known.digest()
    for one in (on_table, known):
        inputs, problems = one.inputs("train", np.array([3, 1]))
        np.testing.assert_array_equal(inputs, raw.train.inputs[[3, 1]])
        assert problems.tolist() == ["", ""]
        records = {part: {"x": np.zeros((size, 2))} for part, size in one.sizes.items()}
        names = one.finished(records).arrays["names_train"]
        assert names.tolist() == raw.train.names.tolist() and names.dtype.kind == "U"


def test_pictures_of_tables_are_resized_and_measured_as_those_of_arrays(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("ssl_weighting.data.images.pixel_statistics._ROWS", 3)
    for channels in (1, 3):
        images = rng.integers(0, 256, (7, 6, 4, channels)).astype(np.uint8)
        table = Computed(images)
        np.testing.assert_array_equal(resize_images(table, 3), resize_images(images, 3))
        assert pixel_statistics("own", table) == pixel_statistics("own", images)
        assert resize_images(table, (6, 4)) is table


def test_rows_with_nan_are_found_in_every_block(monkeypatch):
    monkeypatch.setattr(example_table, "BLOCK", 3 * 8)  # three rows
    rows = np.zeros((8, 2, 1), np.float32)
    assert rows_not_finite(rows).tolist() == []
    rows[[2, 3, 7], [0, 1, 1], 0] = [np.nan, np.inf, -np.inf]
    assert rows_not_finite(rows).tolist() == [2, 3, 7]
    with pytest.raises(ValueError, match="infinity in 3 of 8 rows, the first is row 2"):
        Examples(rows, np.zeros(8, np.int32))


def test_integers_are_not_looked_at():
    table = Computed(np.zeros((3, 2, 2, 1), np.uint8))
    Examples(table, np.zeros(3, np.int32))
    assert rows_not_finite(table).tolist() == [] and table.asked == []


def test_tables_that_do_not_fit_are_refused():
    table, labels = Computed(np.zeros((3, 2, 2, 1), np.uint8)), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match=r"`inputs` must be .*Received: inputs=int64\[3, 2\]"):
        Examples(Computed(np.zeros((3, 2), np.int64)), labels)
    with pytest.raises(ValueError, match=r"`names` must be .* \[3\].*names=object\[2\]"):
        Examples(table, labels, names=ArrayTable(np.array(["a", "b"], object)))
    points = Computed(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"`views` must be .*an array too"):
        Examples(points, labels, views=np.zeros((3, 1, 2), np.float32))
