"""Batches: complete epochs, resuming to the bit, independence of workers, views, V'."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from ssl_weighting_upstream import fixmatch_randaugment

from ssl_weighting.data.example_table import ArrayTable, Joined
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.keyed_random import example_keys, uniform
from ssl_weighting.data.pipeline import BatchSource, ViewsSource, validation_batch_at

WEAK = Augmentation.weak_only(flip=False)


def make_examples(n, start=0, side=8, classes=3):
    """Images of one value each where possible: pixel 0, 0 tells which example it is."""
    images = np.random.default_rng(start).integers(0, 256, (n, side, side, 1)).astype(np.uint8)
    images[:, 0, 0, 0] = start + np.arange(n)
    return Examples(images, (np.arange(n) % classes).astype(np.int32))


def make_splits(labeled=6, unlabeled=50):
    parts = [make_examples(n, start) for n, start in ((labeled, 0), (unlabeled, 60), (9, 200))]
    return DataSplits("toy", *parts, make_examples(5, 220), ("a", "b", "c"), "memory")


def make_source(labeled_batch=4, unlabeled_batch=16, augmentation=None, seed=1, **more):
    augmentation = augmentation or Augmentation.fixmatch(flip=True)
    return BatchSource(make_splits(), labeled_batch, unlabeled_batch, seed, augmentation, **more)


def flat(batch):
    return [np.asarray(value) for value in tf.nest.flatten(batch)]


def assert_same(first, second):
    for one, other in zip(flat(first), flat(second), strict=True):
        np.testing.assert_array_equal(one, other)


def first_pixels(views):
    return np.rint((views.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int)


@pytest.fixture(scope="module")
def strong():
    return make_source()


@pytest.fixture(scope="module")
def strong_batches(strong):
    return list(itertools.islice(strong.dataset(), 9))


def test_batches_have_the_stated_types_and_static_shapes(strong):
    labeled, unlabeled = strong.dataset().element_spec
    assert (labeled.inputs.shape, labeled.inputs.dtype) == ([4, 8, 8, 1], tf.float32)
    assert (labeled.label.shape, labeled.label.dtype) == ([4], tf.int32)
    assert (unlabeled.ids.shape, unlabeled.ids.dtype) == ([16], tf.int64)
    for view in (unlabeled.weak, unlabeled.strong):
        assert (view.shape, view.dtype) == ([16, 8, 8, 1], tf.float32)


def test_at_equals_the_element_of_the_dataset(strong, strong_batches):
    for step in (0, 3, 8):
        assert_same(strong.at(step), strong_batches[step])
    assert_same(strong.at(tf.constant(3, tf.int64)), strong_batches[3])


def on_tables(splits):
    """Return splits whose labeled and unlabeled inputs are read by rows."""

    def read(part):
        halves = ArrayTable(part.inputs[:4]), ArrayTable(part.inputs[4:])
        return dataclasses.replace(part, inputs=Joined(halves))

    return dataclasses.replace(
        splits, labeled=read(splits.labeled), unlabeled=read(splits.unlabeled)
    )


def test_batches_of_tables_are_those_of_arrays(strong, strong_batches):
    source = BatchSource(on_tables(make_splits()), 4, 16, 1, Augmentation.fixmatch(flip=True))
    assert source.dataset().element_spec == strong.dataset().element_spec
    for step, batch in enumerate(itertools.islice(source.dataset(parallel_calls=2), 6)):
        assert_same(batch, strong_batches[step])
    assert_same(source.at(3), strong_batches[3])
    ids = np.array([7, 0, 7])
    np.testing.assert_array_equal(source.strong_views(ids), strong.strong_views(ids))
    alone = BatchSource(on_tables(make_splits()), 4, 0, 1, Augmentation.none()).at(0)[1]
    assert alone.weak.shape == [0, 8, 8, 1] and alone.weak.dtype == tf.float32


def test_sources_of_one_set_share_one_copy_of_it(monkeypatch):
    made, constant = [], tf.constant
    monkeypatch.setattr(tf, "constant", lambda *args: made.append(args[0]) or constant(*args))
    splits = make_splits()
    views = np.repeat(splits.unlabeled.inputs[:, np.newaxis], 2, axis=1)
    sources = [
        *(BatchSource(splits, 4, 16, 1, WEAK, stream) for stream in range(3)),
        *(ViewsSource(splits, 4, 16, 1, views, stream) for stream in range(2)),
    ]
    for array in (splits.labeled.inputs, splits.unlabeled.inputs, views):
        assert sum(one is array for one in made) == 1
    assert len(sources) == 5


def test_a_resumed_dataset_is_the_tail_of_the_unbroken_one(strong_batches):
    """A source of its own, as after a restart; views included."""
    tail = itertools.islice(make_source().dataset(start_step=4), 5)
    for resumed, unbroken in zip(tail, strong_batches[4:], strict=True):
        assert_same(resumed, unbroken)


@pytest.mark.parametrize("parallel_calls", [1, 3])
def test_the_number_of_workers_changes_nothing(strong, strong_batches, parallel_calls):
    batches = itertools.islice(strong.dataset(parallel_calls=parallel_calls), 9)
    for one, other in zip(batches, strong_batches, strict=True):
        assert_same(one, other)


def test_without_determinism_batches_may_only_change_places(strong, strong_batches):
    batches = itertools.islice(strong.dataset(deterministic=False, parallel_calls=2), 4)
    known = {unlabeled.ids.numpy().tobytes() for _, unlabeled in strong_batches}
    assert all(unlabeled.ids.numpy().tobytes() in known for _, unlabeled in batches)


def test_an_epoch_visits_every_id_once_and_the_next_in_another_order():
    source = make_source(augmentation=Augmentation.none(), unlabeled_batch=10)
    batches = list(itertools.islice(source.dataset(), 10))
    ids = np.concatenate([unlabeled.ids for _, unlabeled in batches]).reshape(2, 50)
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(50), (2, 1)))
    assert ids[0].tolist() != ids[1].tolist()


def test_labels_and_ids_belong_to_the_images():
    source = make_source(augmentation=Augmentation.none())
    for labeled, unlabeled in itertools.islice(source.dataset(), 6):
        np.testing.assert_array_equal(first_pixels(labeled.inputs) % 3, labeled.label)
        np.testing.assert_array_equal(first_pixels(unlabeled.weak) - 60, unlabeled.ids)
        np.testing.assert_array_equal(unlabeled.weak, unlabeled.strong)


def test_batches_may_be_larger_than_the_labeled_set():
    source = make_source(labeled_batch=64, augmentation=Augmentation.none())
    seen = np.concatenate([first_pixels(source.at(step)[0].inputs) for step in range(3)])
    assert np.bincount(seen).tolist() == [32] * 6
    epochs = seen.reshape(32, 6)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(6), (32, 1)))
    assert len(np.unique(epochs, axis=0)) > 20


def test_an_example_looks_the_same_whatever_batch_it_is_in():
    """Epoch 0 in batches of 5 and of 25: other neighbours, the same views."""
    looks = []
    for size in (5, 25):
        source = make_source(unlabeled_batch=size, augmentation=WEAK)
        batches = [source.at(k)[1] for k in range(50 // size)]
        ids = np.concatenate([batch.ids for batch in batches])
        views = [np.concatenate([batch[k] for batch in batches]) for k in (1, 2)]
        looks.append([view[np.argsort(ids)] for view in views])
    for one, other in zip(*looks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_views_are_the_augmenter_on_the_keyed_numbers(strong):
    """Replays batch 5: labeled view 0, unlabeled views 0 and 1, epoch 1 for ids past the first."""
    ids, weak, strong_view = strong.at(5)[1]
    positions = 5 * 16 + np.arange(16)
    images = clean_view(make_splits().unlabeled.inputs[ids.numpy()])
    visits = tf.constant(positions // 50, tf.int64)
    draws = fixmatch_randaugment.WEAK_DRAWS
    numbers = uniform(example_keys(1, 3, ids, visits, 0), draws)
    np.testing.assert_array_equal(
        fixmatch_randaugment.weak_augment(images, numbers, flip=True), weak
    )
    total = draws + fixmatch_randaugment.STRONG_DRAWS
    numbers = uniform(example_keys(1, 3, ids, visits, 1), total)
    moved = fixmatch_randaugment.weak_augment(images, numbers[:, :draws], flip=True)
    np.testing.assert_array_equal(
        fixmatch_randaugment.randaugment(moved, numbers[:, draws:]), strong_view
    )


def test_weak_only_makes_two_different_weak_views():
    _, unlabeled = make_source(augmentation=WEAK).at(0)
    assert (unlabeled.weak.numpy() != unlabeled.strong.numpy()).any()
    images = make_splits().unlabeled.inputs[unlabeled.ids.numpy()]
    bytes_back = np.rint((unlabeled.strong.numpy() + 1) * 127.5).astype(np.uint8)
    for image, original in zip(bytes_back, images, strict=True):
        # One pixel of reflected shift on 8 x 8: the inner 6 x 6 stays inside the window.
        padded = np.pad(original, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        crops = [padded[r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
        assert any((image == crop).all() for crop in crops)


def test_seeds_and_streams_give_other_batches():
    base, seeded, fresh = (
        make_source(augmentation=WEAK, **other) for other in ({}, {"seed": 2}, {"stream": 1})
    )
    for other in (seeded, fresh):
        for one, two in zip(flat(base.at(0)), flat(other.at(0)), strict=True):
            assert (one != two).any()
        assert np.intersect1d(base.at(0)[1].ids, other.at(0)[1].ids).size < 16


def test_points_pass_unchanged():
    points = Examples(np.arange(12, dtype=np.float32).reshape(6, 2), np.zeros(6, np.int32))
    splits = DataSplits("toy", points, points, points, points, ("a", "b"), "memory")
    _, unlabeled = BatchSource(splits, 3, 6, 0, Augmentation.none()).at(0)
    np.testing.assert_array_equal(unlabeled.weak, points.inputs[unlabeled.ids.numpy()])
    np.testing.assert_array_equal(unlabeled.strong, unlabeled.weak)


def test_supervised_sources_need_no_unlabeled_batch(strong):
    source = make_source(unlabeled_batch=0)
    labeled, unlabeled = source.at(0)
    assert unlabeled.ids.shape == [0]
    assert unlabeled.weak.shape == unlabeled.strong.shape == [0, 8, 8, 1]
    np.testing.assert_array_equal(labeled.inputs, strong.at(0)[0].inputs)


def test_strong_views_for_reports_are_no_training_views(strong, strong_batches):
    ids = strong_batches[0][1].ids.numpy()
    views = strong.strong_views(ids).numpy()
    np.testing.assert_array_equal(views, strong.strong_views(ids))
    assert views.shape == (16, 8, 8, 1)
    assert (views != strong_batches[0][1].strong.numpy()).any()


def test_no_python_runs_per_example(strong):
    step = tf.function(strong.at).get_concrete_function(tf.TensorSpec([], tf.int64))
    definition = step.graph.as_graph_def()
    nodes = itertools.chain(definition.node, *(f.node_def for f in definition.library.function))
    operations = {node.op for node in nodes}
    assert "GatherV2" in operations
    assert not {op for op in operations if "PyFunc" in op}


def test_clean_view_maps_bytes_to_the_unit_range():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    view = clean_view(images).numpy()
    exact = images.astype(np.float64) * (2 / 255) - 1
    assert view.dtype == np.float32
    np.testing.assert_allclose(view, exact, atol=1e-7)
    assert (view.min(), view.max()) == (-1.0, 1.0)
    points = np.array([[1.5, -2.0]], np.float32)
    np.testing.assert_array_equal(clean_view(points), points)
    with pytest.raises(ValueError, match=r"`inputs` must be .* inputs.dtype=float64"):
        clean_view(np.zeros((1, 2)))


def test_validation_batches_without_replacement_are_subsets():
    validation = make_splits().validation
    seen = []
    for k in range(40):
        batch = validation_batch_at(validation, k, 4, seed=1, val_replace=False)
        rows = first_pixels(batch.inputs) - 200
        assert len(set(rows)) == 4
        np.testing.assert_array_equal(validation.labels[rows], batch.label)
        np.testing.assert_array_equal(clean_view(validation.inputs[rows]), batch.inputs)
        seen.append(tuple(rows))
    assert len(set(seen)) > 35
    assert set(itertools.chain(*seen)) == set(range(9))
    whole = validation_batch_at(validation, 0, 9, seed=1, val_replace=False)
    assert sorted(first_pixels(whole.inputs)) == list(range(200, 209))


def test_validation_batches_with_replacement_are_uniform():
    validation = make_splits().validation
    batch = validation_batch_at(validation, 3, 9000, seed=1, val_replace=True)
    on_table = dataclasses.replace(validation, inputs=ArrayTable(validation.inputs))
    assert_same(batch, validation_batch_at(on_table, 3, 9000, seed=1, val_replace=True))
    counts = np.bincount(first_pixels(batch.inputs) - 200, minlength=9)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


@pytest.mark.parametrize("replace", [False, True])
def test_validation_batches_are_pure_functions_of_seed_and_number(replace):
    validation = make_splits().validation

    def draw(k, seed=1):
        return validation_batch_at(validation, k, 8, seed=seed, val_replace=replace)

    compiled = tf.function(draw)
    assert_same([draw(5)], [compiled(tf.constant(5, tf.int64))])
    assert_same([draw(5)], [draw(5)])
    for other in (draw(6), draw(5, seed=2)):
        assert (draw(5).inputs.numpy() != other.inputs.numpy()).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled_batch": 0}, r"`labeled_batch` must be at least 1. Received: labeled_batch=0"),
        ({"unlabeled_batch": -1}, r"`unlabeled_batch` must be at least 0"),
        ({"seed": -1}, r"`seed` must be at least 0. Received: seed=-1"),
        ({"stream": -1}, r"`stream` must be at least 0. Received: stream=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_source(**arguments)


def test_wrong_uses_are_refused(strong):
    with pytest.raises(ValueError, match=r"`step` must be at least 0. Received: step=-1"):
        strong.at(-1)
    with pytest.raises(ValueError, match=r"`start_step` must be .* Received: start_step=-2"):
        strong.dataset(start_step=-2)
    points = Examples(np.zeros((4, 2), np.float32), np.zeros(4, np.int32))
    splits = DataSplits("toy", points, points, points, points, ("a", "b"), "memory")
    with pytest.raises(ValueError, match=r"`augmentation` must be .* augmentation='fixmatch'"):
        BatchSource(splits, 1, 1, 0, Augmentation.fixmatch(flip=False))


def test_impossible_validation_batches_are_refused():
    validation = make_splits().validation
    with pytest.raises(ValueError, match=r"`validation` must have at least one example"):
        validation_batch_at(validation.take(np.arange(0)), 0, 1, 0, val_replace=True)
    for size, replace in ((10, False), (0, True)):
        with pytest.raises(ValueError, match=rf"\|V\| = 9.* size={size}, val_replace={replace}"):
            validation_batch_at(validation, 0, size, 0, val_replace=replace)


@pytest.mark.parametrize("size", [50, 2000])  # an order by sorting, and by a cipher
def test_the_ids_of_steps_are_those_of_their_batches(size):
    x = np.zeros((size, 2), np.float32)
    points = Examples(x, np.zeros(size, np.int32))
    few = Examples(x[:4], np.array([0, 1, 0, 1], np.int32))
    splits = DataSplits("toy", few, points, few, few, ("a", "b"), "memory")
    source = BatchSource(splits, 3, 12, 0, Augmentation.none())
    for first, until in ((0, 1), (3, 7), (5, 5)):
        ids = [source.at(step)[1].ids.numpy() for step in range(first, until)]
        found = source.met(first, until)
        assert found.dtype == np.int64
        assert found.tolist() == np.unique(np.array(ids, int)).tolist()
    assert source.met(0, -(-size // 12)) is None  # no fewer than there are
    none = BatchSource(splits, 3, 0, 0, Augmentation.none())
    assert none.met(0, 9).tolist() == []
