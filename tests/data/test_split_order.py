"""The release's V, balanced labels, and the sizes of Table 1 and Fig. 4 (facts 7.1)."""

import numpy as np
import pytest
from raw_sets import SVHN, make_examples, make_raw, numbers_of

from ssl_weighting.data.class_profile import greedy_counts
from ssl_weighting.data.examples import RawDataset
from ssl_weighting.data.splits import make_splits


def unlabeled_file(labels):
    """The release's order: emit while a record of the class wanted next waits; the rest last."""
    counts = np.bincount(labels)
    share, emitted, waiting, order = counts / counts.max(), np.zeros(len(counts)), {}, []
    for row, label in enumerate(labels):
        waiting.setdefault(int(label), []).append(row)
        while True:
            wanted = int(np.argmax(share - emitted / max(emitted.max(), 1)))
            if not waiting.get(wanted):
                break
            order.append(waiting[wanted].pop(0))
            emitted[wanted] += 1
    return order + sorted(row for rows in waiting.values() for row in rows)


def shuffled_raw(per_class, seed):
    labels = np.repeat(np.arange(len(per_class)), per_class)
    np.random.default_rng(seed).shuffle(labels)
    test = make_examples(range(len(per_class)), start=100_000)
    names = tuple("abcdefghij"[: len(per_class)])
    return RawDataset("toy", make_examples(labels), test, names, "memory")


@pytest.mark.parametrize("per_class", [[200] * 10, [n // 40 for n in SVHN]])
@pytest.mark.parametrize("size", [64, 100, 256, 1000])
def test_first_is_the_head_of_the_release_s_unlabeled_file(per_class, size):
    raw = shuffled_raw(per_class, seed=size)
    splits = make_splits(raw, 30, size, seed=2, val_order="first", allow_overlap=True)
    file = unlabeled_file(raw.train.labels)
    assert sorted(file) == list(range(len(raw.train)))
    assert sorted(numbers_of(splits.validation)) == sorted(file[:size])
    assert set(numbers_of(splits.unlabeled)) == set(file[size:])


def test_first_is_the_same_for_every_seed_and_takes_the_earliest_of_each_class():
    raw = make_raw((30, 30, 30))
    several = [make_splits(raw, 9, 12, seed=s, val_seed=s, val_order="first") for s in (1, 2, 3)]
    for splits in several:
        assert numbers_of(splits.validation).tolist() == list(range(12))
        assert not set(numbers_of(splits.labeled)) & set(range(12)), "disjoint unless allowed"
    drawn = make_splits(raw, 9, 12, seed=1)
    assert numbers_of(drawn.validation).tolist() != list(range(12))
    with pytest.raises(ValueError, match=r"`val_order` must be one of drawn, first. .*'last'"):
        make_splits(raw, 9, 12, seed=1, val_order="last")


def test_first_from_a_validation_set_of_its_own():
    own = make_examples([0, 0, 1, 2, 1, 2, 0], start=7000)
    splits = make_splits(make_raw(validation=own), 9, 3, seed=1, val_order="first")
    assert numbers_of(splits.validation).tolist() == [7000, 7002, 7003]


@pytest.mark.parametrize("size", [10, 20, 30, 40, 50, 100, 250, 500, 1000, 2000, 4000, 5000])
def test_cifar_has_a_tenth_of_each_class(size):
    assert greedy_counts(np.full(10, 5000), size).tolist() == [size // 10] * 10


@pytest.mark.parametrize(
    ("size", "expected"),
    [(64, [7] * 4 + [6] * 6), (256, [26] * 6 + [25] * 4), (1024, [103] * 4 + [102] * 6)],
)
def test_validation_sizes_of_fig_4_on_cifar(size, expected):
    assert greedy_counts(np.full(10, 5000), size).tolist() == expected


@pytest.mark.parametrize("size", [64, 256, 1024, 5000])
def test_validation_sizes_of_fig_4_on_svhn_follow_the_frequencies(size):
    counts, share = greedy_counts(np.array(SVHN), size), np.array(SVHN) / sum(SVHN)
    assert counts.sum() == size
    # The rule favours no class by more than one example and a tenth of its share.
    assert (np.abs(counts - size * share) <= 1 + 0.1 * size * share).all()


@pytest.fixture(scope="module")
def cifar_sized():
    return shuffled_raw([5000] * 10, seed=0)


def test_sizes_of_the_release_on_cifar(cifar_sized):
    """V = 1,000: |U| = 49,000; labels are drawn from all 50,000, so n V / 50,000 lie in V too."""
    overlaps = []
    for seed in range(1, 6):
        splits = make_splits(
            cifar_sized, 4000, 1000, seed=seed, val_order="first", allow_overlap=True
        )
        assert len(splits.unlabeled) == 49_000
        assert np.bincount(splits.validation.labels).tolist() == [100] * 10
        both = set(numbers_of(splits.labeled)) & set(numbers_of(splits.validation))
        overlaps.append(len(both))
    assert 65 < np.mean(overlaps) < 95, "80 are expected, give or take 4"


def test_sizes_of_the_paper_on_cifar(cifar_sized):
    splits = make_splits(cifar_sized, 250, 1024, seed=1)
    assert len(splits.unlabeled) == 48_976
    labeled, validation, unlabeled = (
        set(numbers_of(part)) for part in (splits.labeled, splits.validation, splits.unlabeled)
    )
    assert labeled < unlabeled and not labeled & validation and not unlabeled & validation
    assert np.bincount(splits.labeled.labels).tolist() == [25] * 10


def test_svhn_s_labels_follow_the_published_counts():
    raw = shuffled_raw(SVHN, seed=1)
    assert len(raw.train) == 73_257
    splits = make_splits(raw, 250, 1000, seed=3, val_order="first")
    expected = [47, 36, 29, 25, 24, 20, 19, 17, 16, 17]
    assert np.bincount(splits.labeled.labels).tolist() == expected
    expected = [189, 144, 116, 102, 94, 78, 76, 69, 64, 68]
    assert np.bincount(splits.validation.labels).tolist() == expected
    assert len(splits.unlabeled) == 72_257
