"""Leaving examples out of U by name: what stays as it is, and which lists are refused."""

import dataclasses

import numpy as np
import pytest

from ssl_weighting.data.contamination import contaminate
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.exclusion import without_examples
from ssl_weighting.data.sources import sources_of_u
from ssl_weighting.data.splits import make_splits


def the_set(n=24):
    images = np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2, 1)
    labels = (np.arange(n) % 2).astype(np.int32)
    part = Examples(images, labels)
    test = Examples(255 - images[:4], labels[:4])
    return RawDataset("tiny", part, test, ("a", "b"), "made up")


@pytest.fixture
def splits():
    return make_splits(the_set(), 4, 4, seed=1)


def free_names(splits):
    source = sources_of_u(splits)
    return splits.unlabeled.names[source == "unlabeled"].tolist()


def test_sets_name_what_has_no_name_by_part_and_row(splits):
    whole = the_set()
    for name, image in zip(splits.unlabeled.names, splits.unlabeled.inputs, strict=True):
        row = int(name.removeprefix("train[").removesuffix("]"))
        np.testing.assert_array_equal(image, whole.train.inputs[row])
    assert splits.test.names.tolist() == [f"test[{row}]" for row in range(4)]
    assert set(splits.labeled.names) < set(splits.unlabeled.names)
    assert not set(splits.validation.names) & set(splits.unlabeled.names)


def test_sources_tell_what_is_labeled_too(splits):
    names = np.array(splits.unlabeled.names)
    assert set(names[sources_of_u(splits) == "labeled"]) == set(splits.labeled.names)
    both = dataclasses.replace(splits, validation=splits.unlabeled.take(np.arange(20)))
    assert set(sources_of_u(both)) == {"labeled", "validation"}


def test_only_u_changes(splits):
    unwanted = free_names(splits)[1:4]
    found = without_examples(splits, [*unwanted, unwanted[0]])
    expected = [name for name in splits.unlabeled.names if name not in unwanted]
    assert found.unlabeled.names.tolist() == expected and len(expected) == 20 - 3
    for part in ("labeled", "validation", "test"):
        assert getattr(found, part) is getattr(splits, part)
    assert found.split_hash != splits.split_hash
    assert found.hash_without_u == splits.hash_without_u
    other = dataclasses.replace(splits, test=splits.test.take(np.arange(3)))
    assert other.hash_without_u != splits.hash_without_u
    assert found.notes[-1] == "3 examples are excluded from U by name"


def test_names_that_are_shown_are_such_as_can_be_excluded(splits):
    shown = ", ".join(map(repr, free_names(splits)[:3]))
    with pytest.raises(ValueError, match="names are like") as caught:
        without_examples(splits, ["x"])
    assert str(caught.value).startswith("--exclude must name examples of U. Received: 1 name ('x')")
    assert f"Its names are like {shown}, ..." in str(caught.value)


def test_groups_follow(splits):
    spoilt = contaminate(splits, "corrupt", 0.5, seed=0)
    assert spoilt.unlabeled.names.tolist() == splits.unlabeled.names.tolist()
    name = free_names(splits)[2]
    keep = spoilt.unlabeled.names != name
    found = without_examples(spoilt, [name])
    assert found.groups == tuple(np.array(spoilt.groups)[keep])
    np.testing.assert_array_equal(found.unlabeled.inputs, spoilt.unlabeled.inputs[keep])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (lambda s: [], "must have the name of an example. Received: none"),
        (lambda s: ["a.png", "b.png"], r"Received: 2 names \('a.png', 'b.png'\) that it does not "),
        (lambda s: ["x"], r"Its names are like 'train\[\d+\]', 'train\[\d+\]', 'train\[\d+\]', \."),
        (lambda s: s.labeled.names, "unlabeled examples. Received: 4 names .* of the labeled"),
        (lambda s: s.validation.names[:1], "Received: 1 name .* of the validation examples"),
        (lambda s: ["test[0]"], r"Received: 1 name \('test\[0\]'\) of the test examples"),
    ],
)
def test_lists_that_do_not_fit_are_refused(splits, names, message):
    with pytest.raises(ValueError, match=message):
        without_examples(splits, names(splits))


def test_a_name_of_several_examples_is_refused(splits):
    names = splits.unlabeled.names.copy()
    names[:2] = "twice"
    double = dataclasses.replace(splits.unlabeled, names=names)
    with pytest.raises(ValueError, match=r"Received: 1 name \('twice'\) that several examples"):
        without_examples(dataclasses.replace(splits, unlabeled=double), ["twice"])


def test_something_must_be_left():
    alone = make_splits(the_set(), 4, 4, seed=1, include_labeled=False)
    with pytest.raises(ValueError, match=r"must leave examples in U. Received: .* all 16"):
        without_examples(alone, alone.unlabeled.names)
