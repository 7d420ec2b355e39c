"""Each process makes the views that its devices pass: which they are, with the same bits."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from linear_net import LABELED, MAKERS, STEP, UNLABELED, C, Net, U
from ssl_weighting_upstream.fixmatch_interleave import interleave_order

from ssl_weighting.algorithms import ALGORITHMS, ClassBalanced, Oracle, make_algorithm
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.pipeline import BatchSource, ViewsSource
from ssl_weighting.theta.shares import rows_read

make = functools.partial
BASES = {name: make(make_algorithm, name) for name in ALGORITHMS} | MAKERS
EVERY = BASES | {
    "fixmatch apart": make(make_algorithm, "fixmatch", separate_weak=True),
    "uda apart": make(make_algorithm, "uda", separate_weak=True),
    "uda entropy": make(make_algorithm, "uda", entropy_coefficient=0.1),
    "balanced": lambda: ClassBalanced(make_algorithm("fixmatch"), np.ones(C, "f")),
    "oracle": lambda: Oracle(make_algorithm("pseudo_label"), np.zeros(U, int)),
}
CHANGES = {"vat", "mixmatch", "remixmatch"}  # their inputs


class Recording(Net):
    """Remembers what it was called on, its teacher too."""

    def __call__(self, inputs, **switches):
        self.seen = [*getattr(self, "seen", []), inputs.numpy()]
        return super().__call__(inputs, **switches)


@pytest.mark.parametrize("name", EVERY)
def test_an_algorithm_passes_the_views_that_it_names(name):
    net = Recording()
    algorithm = EVERY[name](teacher=net) if name == "mean_teacher" else EVERY[name]()
    assert (algorithm.passes() is None) == (name in CHANGES)
    if name in CHANGES:
        return
    algorithm(net, LABELED, UNLABELED, STEP)
    views = {"labeled": LABELED.inputs, "weak": UNLABELED.weak, "strong": UNLABELED.strong}
    expected = [np.concatenate([views[part] for part in parts]) for parts in algorithm.passes()]
    assert len(net.seen) == len(expected)
    assert all(np.array_equal(*pair) for pair in zip(net.seen, expected, strict=True))


def test_interleaved_views_stand_elsewhere():
    assert make_algorithm("fixmatch", interleave=True).passes() is None


class Part:
    """One process' part of the devices."""

    def __init__(self, worker, local, count):
        self.worker, self.local, self.count = worker, local, count


@pytest.mark.parametrize(("local", "count"), [(1, 2), (1, 4), (2, 4)])
@pytest.mark.parametrize("passes", [
    (("labeled", "weak", "strong"),), (("weak",), ("labeled", "strong")), (("labeled",),),
])  # fmt: skip
def test_rows_are_those_of_the_slices(passes, local, count):
    b, u = 4, 12
    sizes = {"labeled": b, "weak": u, "strong": u}
    found = [rows_read(passes, sizes, b, Part(k, local, count)) for k in range(count // local)]
    expected = [{name: set() for name in sizes} for _ in found]
    for parts in passes:  # deal out one row after the other
        dealt = [(name, row) for name in parts for row in range(sizes[name])]
        order = interleave_order(len(dealt), len(dealt) // b)
        for place, row in enumerate(order):
            device = place // (len(dealt) // count)
            name, number = dealt[row]
            expected[device // local][name].add(number)
    for rows, sets in zip(found, expected, strict=True):
        assert {name: sorted(s) for name, s in sets.items()} == {
            name: x.tolist() for name, x in rows.items()
        }
    for name, size in sizes.items():
        whole = size if any(name in parts for parts in passes) else 0
        assert len(set().union(*(rows[name].tolist() for rows in found))) == whole


def splits(kind):
    rng = np.random.default_rng(0)

    def examples(n):
        images = rng.integers(0, 256, (n, 8, 8, 1)).astype(np.uint8)
        points = rng.normal(size=(n, 3)).astype("f")
        return Examples({"images": images, "points": points}[kind], np.arange(n, dtype="i4") % 2)

    parts = [examples(n) for n in (6, 20, 4, 4)]
    return DataSplits("toy", *parts, ("a", "b"), "memory")


def source(kind):
    if kind == "images":
        return BatchSource(splits(kind), 4, 12, 1, Augmentation.fixmatch(flip=True))
    views = np.random.default_rng(1).normal(size=(20, 2, 3)).astype("f")
    return ViewsSource(splits(kind), 4, 12, 1, views)


@pytest.mark.parametrize("kind", ["images", "points"])
def test_what_is_made_has_the_bits_of_the_whole_batch(kind):
    rows = {"labeled": np.array([1, 3]), "weak": np.array([0, 5, 11]), "strong": np.array([], int)}
    whole, partial = source(kind), source(kind)
    partial.make_only(rows)
    pairs = zip(whole.dataset(), partial.dataset(), strict=False)
    for (l1, u1), (l2, u2) in itertools.islice(pairs, 4):
        assert np.array_equal(l1.label, l2.label) and np.array_equal(u1.ids, u2.ids)
        views = {"labeled": (l1.inputs, l2.inputs), "weak": (u1.weak, u2.weak)}
        for name, (all_of_it, some) in (views | {"strong": (u1.strong, u2.strong)}).items():
            made = np.isin(np.arange(len(some)), rows[name])
            assert np.array_equal(some[made], all_of_it[made]), name
            assert all_of_it.shape == some.shape and not np.any(some[~made]), name
    for one, other in zip(
        tf.nest.flatten(whole.at(7)), tf.nest.flatten(partial.at(7)), strict=True
    ):
        assert np.array_equal(one, other), "a Lambda-step sees whole batches"
