"""UDA's labeled sets (facts 7.2): the rows, what reads them, what is refused."""

import numpy as np
import pytest

from experiments.build import load_splits
from experiments.config import Config
from experiments.smoke import stand_in
from ssl_weighting.data.uda_labels import uda_labeled_rows


def test_cifar10_labels_the_first_of_its_files():
    labels = np.arange(40) % 10
    assert uda_labeled_rows("cifar10", labels, 12).tolist() == list(range(12))


def test_svhn_labels_the_first_of_numpy_s_permutation_of_seed_0():
    np.random.seed(0)  # as UDA draws it, out of the global stream
    expected = np.random.permutation(73_257)[:1000]
    found = uda_labeled_rows("svhn_cropped", np.zeros(73_257, int), 1000)
    np.testing.assert_array_equal(found, expected)


def test_the_balanced_set_is_the_first_of_each_class():
    labels = np.array([2, 2, 0, 2, 1, 0, 0, 1, 1])
    assert uda_labeled_rows("cifar10", labels, 6, balanced=True).tolist() == [0, 1, 2, 4, 5, 7]


@pytest.mark.parametrize(
    ("dataset", "count", "balanced", "message"),
    [
        ("mnist", 3, False, "those of cifar10 and svhn_cropped. Received: mnist"),
        ("svhn_cropped_extra", 3, False, "Received: svhn_cropped_extra"),
        ("svhn_cropped", 3, True, "one of cifar10, .*Received: svhn_cropped, num_labeled=3"),
        ("cifar10", 4, True, "each of the 3 classes. Received: cifar10, num_labeled=4"),
        ("cifar10", 7, False, "at most 6, .*Received: num_labeled=7"),
    ],
)
def test_what_uda_has_not_is_refused(dataset, count, balanced, message):
    with pytest.raises(ValueError, match=message):
        uda_labeled_rows(dataset, np.array([0, 1, 2] * 2), count, balanced)


def splits_of(dataset, labeled_set, seed=1):
    return load_splits(
        Config(
            dataset=dataset, smoke=True, num_labeled=100, val_size=20, seed=seed,
            labeled_set=labeled_set,
        )
    )  # fmt: skip


@pytest.mark.parametrize("dataset", ["cifar10", "svhn_cropped"])
def test_a_run_trains_on_them_whatever_its_seed_and_draws_v_among_the_others(dataset):
    raw = stand_in(dataset)
    rows = uda_labeled_rows(dataset, raw.train.labels, 100)
    for seed in (1, 2):
        splits = splits_of(dataset, "uda", seed)
        np.testing.assert_array_equal(splits.labeled.inputs, raw.train.inputs[rows])
        of = {row.tobytes() for row in splits.labeled.inputs}
        assert len(splits.validation) == 20
        assert not any(row.tobytes() in of for row in splits.validation.inputs)
    drawn = splits_of(dataset, "drawn")
    assert not np.array_equal(drawn.labeled.inputs, splits.labeled.inputs)


def test_the_balanced_set_reaches_the_run():
    labels = splits_of("cifar10", "uda_balanced").labeled.labels
    assert np.bincount(labels).tolist() == [10] * 10


def test_foreign_classes_are_refused_with_them():
    with pytest.raises(ValueError, match="--labeled_set=uda labels all classes"):
        Config(dataset="cifar10", labeled_set="uda", contamination="foreign")
