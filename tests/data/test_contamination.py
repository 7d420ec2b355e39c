"""Contaminated unlabeled sets: what is wrong is what was asked for, and nothing else."""

import numpy as np
import pytest

from ssl_weighting.data.contamination import contaminate, with_foreign_classes
from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset
from ssl_weighting.data.splits import make_splits

CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def raw(rng):
    def part(n):
        images = rng.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
        return Examples(images, (np.arange(n) % 4).astype(np.int32))

    return RawDataset("made", part(400), part(40), CLASSES, "made up")


def rows(examples):
    return {row.tobytes() for row in examples.inputs}


def test_foreign_classes_are_unlabeled_and_everything_else_is_of_the_task(raw):
    mixed = with_foreign_classes(raw, 0.25)
    assert mixed.class_names == ("a", "b")
    assert set(mixed.train.labels) == set(mixed.test.labels) == {0, 1}
    assert len(mixed.train) == 200 and len(mixed.unlabeled) == 67  # 67 / 267 = 0.25
    assert rows(mixed.unlabeled) <= rows(raw.train.take(raw.train.labels >= 2))
    splits = contaminate(make_splits(mixed, 10, 20, seed=1), "foreign", 0.25, seed=1)
    groups = np.array(splits.groups)
    assert (groups == "foreign").sum() == 67 and (groups == "own").sum() == 180
    np.testing.assert_array_equal(groups == "foreign", splits.unlabeled.labels == UNKNOWN)


def test_corrupt_images_keep_their_pixels_and_lose_their_order(raw):
    clean = make_splits(raw, 8, 20, seed=1)
    splits = contaminate(clean, "corrupt", 0.3, seed=1)
    corrupt = np.array(splits.groups) == "corrupt"
    assert corrupt.sum() == round(0.3 * len(clean.unlabeled))
    before, after = clean.unlabeled.inputs, splits.unlabeled.inputs
    np.testing.assert_array_equal(before[~corrupt], after[~corrupt])
    for old, new in zip(before[corrupt], after[corrupt], strict=True):
        assert (old != new).any()
        pixels = [np.sort(image.reshape(-1, 3).view("u1,u1,u1").ravel()) for image in (old, new)]
        np.testing.assert_array_equal(*pixels)
    np.testing.assert_array_equal(clean.unlabeled.labels, splits.unlabeled.labels)
    assert rows(splits.labeled) == rows(clean.labeled)
    assert splits.split_hash != clean.split_hash
    again = contaminate(clean, "corrupt", 0.3, seed=1)
    assert again.split_hash == splits.split_hash
    assert contaminate(clean, "corrupt", 0.3, seed=2).split_hash != splits.split_hash


def test_imbalanced_classes_fall_geometrically(raw):
    clean = make_splits(raw, 8, 20, seed=1)
    splits = contaminate(clean, "imbalanced", 0.1, seed=1)
    counts = np.bincount(splits.unlabeled.labels)
    assert counts.tolist() == [95, 44, 20, 10]  # 95 * 0.1^(c / 3), rounded half to even
    assert [splits.groups.count(name) for name in CLASSES] == counts.tolist()
    assert rows(splits.unlabeled) <= rows(clean.unlabeled)


def test_no_contamination_changes_nothing(raw):
    clean = make_splits(raw, 8, 20, seed=1)
    assert contaminate(clean, "none", 0.0, seed=1) is clean and clean.groups is None


def test_what_cannot_be_made_is_refused(raw):
    clean = make_splits(raw, 8, 20, seed=1)
    with pytest.raises(ValueError, match=r"one of none, foreign, corrupt, imbalanced.*'dirty'"):
        contaminate(clean, "dirty", 0.3, seed=1)
    with pytest.raises(ValueError, match=r"at least four classes .*Received: made with 2 classes"):
        with_foreign_classes(with_foreign_classes(raw, 0.25), 0.25)
    with pytest.raises(ValueError, match=r"from 1 to 200 foreign .*0\.9, which needs 1800"):
        with_foreign_classes(raw, 0.9)
