"""D whose classes fall geometrically: sizes by hand, and nothing else of the splits moves."""

import numpy as np
import pytest

from ssl_weighting.data.class_profile import geometric_counts
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.splits import make_splits


@pytest.fixture
def raw(rng):
    def part(n):
        x = rng.normal(size=(n, 3)).astype(np.float32)
        return Examples(x, (np.arange(n) % 3).astype(np.int32))

    return RawDataset("made", part(300), part(30), ("a", "b", "c"), "made up")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # Shares 1, 1/2, 1/4 of 7 are 4, 2, 1; of 20 they are 11.43, 5.71, 2.86.
        ((3, 7, 4), [4, 2, 1]),
        ((3, 20, 4), [11, 6, 3]),
        ((2, 20, 10), [18, 2]),  # 18.18, 1.82
        ((3, 4, 10_000), [2, 1, 1]),  # 3.96, 0.04, 0.0004: none is left without a label
        ((4, 6, 1), [2, 2, 1, 1]),
    ],
)
def test_sizes_fall_geometrically(arguments, expected):
    assert geometric_counts(*arguments).tolist() == expected


def test_d_alone_is_imbalanced(raw):
    even = make_splits(raw, 20, 9, seed=1)
    splits = make_splits(raw, 20, 9, seed=1, labeled_imbalance=4)
    assert np.bincount(splits.labeled.labels).tolist() == [11, 6, 3]
    for part in ("validation", "test", "unlabeled"):
        np.testing.assert_array_equal(getattr(splits, part).inputs, getattr(even, part).inputs)
    assert splits.split_hash != even.split_hash
    assert make_splits(raw, 20, 9, seed=1, labeled_imbalance=1).split_hash == even.split_hash
    joined = make_splits(raw, 20, 9, seed=1, labeled_imbalance=4, validation_as_labels=True)
    assert np.bincount(joined.labeled.labels).tolist() == [14, 9, 6]


def test_what_is_given_is_not_drawn(raw):
    for given in ({"num_labeled": None}, {"num_labeled": 3, "labeled_rows": np.arange(3)}):
        with pytest.raises(ValueError, match=r"`labeled_imbalance` must be 1.*Received: 10"):
            make_splits(raw, val_size=3, seed=1, labeled_imbalance=10, **given)
    with pytest.raises(ValueError, match=r"`labeled_imbalance` must be 1.*Received: 0\.5"):
        make_splits(raw, 20, 9, seed=1, labeled_imbalance=0.5)
