"""UDA's labeled sets (facts 7.2): the rows, what reads them, what is refused."""

import numpy as np
import pytest

from experiments.assemble.build import load_splits
from experiments.options.config import Config
from experiments.options.smoke import stand_in
from ssl_weighting.data.images.uda_labels import uda_labeled_rows

NAMES = ("a", "b", "c")


def test_cifar10_labels_the_first_of_its_files():
    labels = np.arange(40) % 3
    assert uda_labeled_rows("uda", "cifar10", labels, NAMES, 12).tolist() == list(range(12))


def test_svhn_labels_the_first_of_numpy_s_permutation_of_seed_0():
    np.random.seed(0)  # as UDA draws it, out of the global stream
    expected = np.random.permutation(73_257)[:1000]
    found = uda_labeled_rows("uda", "svhn_cropped", np.zeros(73_257, int), NAMES, 1000)
    np.testing.assert_array_equal(found, expected)


def test_the_balanced_set_is_the_first_of_each_class():
    labels = np.array([2, 2, 0, 2, 1, 0, 0, 1, 1])
    found = uda_labeled_rows("uda_balanced", "cifar10", labels, NAMES, 6)
    assert found.tolist() == [0, 1, 2, 4, 5, 7]


@pytest.mark.parametrize(
    ("labeled_set", "dataset", "count", "message"),
    [
        ("uda", "mnist", 3, "one of cifar10 and svhn_cropped. Received: mnist"),
        ("uda", "svhn_cropped_extra", 3, "Received: svhn_cropped_extra"),
        ("uda_balanced", "svhn_cropped", 3, "one of cifar10. Received: svhn_cropped"),
        ("uda_balanced", "cifar10", 7, "num_labeled=7, which needs, by class, 'a' 3 of 2"),
    ],
)
def test_what_uda_has_not_is_refused(labeled_set, dataset, count, message):
    with pytest.raises(ValueError, match=message):
        uda_labeled_rows(labeled_set, dataset, np.array([0, 1, 2] * 2), NAMES, count)


@pytest.mark.parametrize("labeled_set", ["uda", "uda_balanced"])
def test_more_labels_than_images_are_refused(labeled_set):
    with pytest.raises(ValueError, match="Received: num_labeled=5000"):
        splits_of("cifar10", labeled_set, num_labeled=5000)


def splits_of(dataset, labeled_set, seed=1, num_labeled=100):
    sizes = {"num_labeled": num_labeled, "val_size": 20}
    return load_splits(
        Config(dataset=dataset, smoke=True, seed=seed, labeled_set=labeled_set, **sizes)
    )


@pytest.mark.parametrize("dataset", ["cifar10", "svhn_cropped"])
def test_a_run_trains_on_them_whatever_its_seed_and_draws_v_among_the_others(dataset):
    raw = stand_in(dataset)
    rows = uda_labeled_rows("uda", dataset, raw.train.labels, raw.class_names, 100)
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
