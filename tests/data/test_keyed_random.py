"""Keyed random numbers and the order of epochs: integer arithmetic and statistics as oracles."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ssl_weighting.data.keyed_random import example_keys, random_bits, uniform
from ssl_weighting.data.sampling import epoch_sample, subset_sample

M64 = 2**64 - 1


def reference_mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def reference_key(seed, stream, example, visit, view):
    key = 0
    for part in (seed, stream, view, visit, example):
        key = reference_mix(((key + 0x9E3779B97F4A7C15) & M64) ^ (part & M64))
    return key


def draws(ids, visits=0, seed=1, stream=0, view=0, num=1):
    ids = tf.constant(np.asarray(ids), tf.int64)
    visits = tf.broadcast_to(tf.constant(visits, tf.int64), ids.shape)
    return uniform(example_keys(seed, stream, ids, visits, view), num).numpy()


def test_bits_are_those_of_splitmix64():
    """The generator's published test vector: first outputs from state 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    bits = random_bits(tf.constant([1234567], tf.uint64), 4)
    assert bits.numpy()[0].tolist() == expected


def test_keys_equal_integer_arithmetic():
    ids, visits = [0, 1, 59_999, 2**62, -1], [0, 7, 1, 2**40, 3]
    for seed, stream, view in ((0, 0, 0), (1, 2, 3), (2**63 - 1, 5, 1)):
        keys = example_keys(
            seed, stream, tf.constant(ids, tf.int64), tf.constant(visits, tf.int64), view
        )
        expected = [
            reference_key(seed, stream, *pair, view) for pair in zip(ids, visits, strict=True)
        ]
        assert keys.numpy().tolist() == expected


def test_numbers_are_the_same_compiled_and_inside_tf_data():
    def make(example):
        ids = tf.reshape(example, [1])
        return uniform(example_keys(5, 1, ids, ids + 2, 1), 3)

    eager = np.concatenate([make(tf.constant(k, tf.int64)) for k in range(5)])
    compiled = tf.function(make)
    np.testing.assert_array_equal(
        np.concatenate([compiled(tf.constant(k, tf.int64)) for k in range(5)]), eager
    )
    mapped = tf.data.Dataset.range(5).map(make, num_parallel_calls=2)
    np.testing.assert_array_equal(np.concatenate(list(mapped.as_numpy_iterator())), eager)


def test_a_draw_depends_on_its_own_numbers_alone():
    alone, among = draws([17], num=2), draws([3, 17, 5], num=9)
    np.testing.assert_array_equal(alone[0], among[1, :2])


@pytest.mark.parametrize("what", ["ids", "visits", "seed", "stream", "view", "draw"])
def test_draws_are_uniform_and_independent_along_every_part_of_the_key(what):
    n = 4096
    ids = np.arange(n)
    if what == "ids":
        values = draws(ids)[:, 0]
    elif what == "visits":
        values = draws(np.zeros(n, int), visits=ids)[:, 0]
    elif what == "draw":
        values = draws([3], num=n)[0]
    else:
        values = np.concatenate([draws(np.arange(64), **{what: k})[:, 0] for k in range(n // 64)])
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    counts = np.histogram2d(values[:-1], values[1:], bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3
    low_bits = (values * 2**24).astype(np.int64) % 16
    assert stats.chisquare(np.bincount(low_bits, minlength=16)).pvalue > 1e-3


def test_views_visits_and_draws_of_one_example_are_uncorrelated():
    n = 20_000
    columns = [
        draws(np.arange(n), visits=visit, view=view, num=3) for visit in (0, 1) for view in (0, 1)
    ]
    correlation = np.corrcoef(np.concatenate(columns, axis=1).T)
    assert np.abs(correlation - np.eye(12)).max() < 5 / np.sqrt(n)


def test_numbers_stay_below_one():
    values = uniform(tf.constant(np.arange(200_000, dtype=np.uint64)), 5).numpy()
    assert values.min() >= 0.0
    assert 1 - 1e-5 < values.max() < 1.0
    assert (values * 2**24 == np.floor(values * 2**24)).all()


def test_different_ids_never_share_a_key():
    ids = tf.range(200_000, dtype=tf.int64)
    assert len(np.unique(example_keys(0, 0, ids, tf.zeros_like(ids), 0))) == 200_000


def test_negative_parts_are_refused():
    ids = tf.zeros([1], tf.int64)
    with pytest.raises(ValueError, match=r"`seed` must be from 0 .* Received: seed=-1"):
        example_keys(-1, 0, ids, ids, 0)
    with pytest.raises(ValueError, match=r"`view` must be .* Received: view=-3"):
        example_keys(0, 0, ids, ids, -3)


def epochs_of(num_examples, batch_size, steps, seed=1, stream=0):
    sample = tf.function(lambda step: epoch_sample(seed, stream, num_examples, batch_size, step))
    pairs = [sample(tf.constant(step, tf.int64)) for step in range(steps)]
    return (np.concatenate([pair[k].numpy() for pair in pairs]) for k in (0, 1))


@pytest.mark.parametrize(
    ("num_examples", "batch_size"),
    [(1, 1), (1, 4), (2, 3), (10, 10), (20, 64), (1000, 7), (1024, 128), (1025, 100), (3000, 4001)],
)
def test_an_epoch_visits_every_id_once(num_examples, batch_size):
    steps = -(-3 * num_examples // batch_size)
    ids, visits = epochs_of(num_examples, batch_size, steps)
    for epoch in range(3):
        part = slice(epoch * num_examples, (epoch + 1) * num_examples)
        np.testing.assert_array_equal(np.sort(ids[part]), np.arange(num_examples))
        np.testing.assert_array_equal(visits[part], epoch)


@pytest.mark.parametrize("num_examples", [500, 3000])
def test_epochs_and_streams_have_orders_of_their_own(num_examples):
    ids, _ = epochs_of(num_examples, num_examples, 2)
    other, _ = epochs_of(num_examples, num_examples, 1, stream=1)
    seeded, _ = epochs_of(num_examples, num_examples, 1, seed=2)
    first, second = ids[:num_examples], ids[num_examples:]
    for order in (second, other, seeded, np.arange(num_examples)):
        assert np.mean(first == order) < 8 / num_examples
        assert abs(np.corrcoef(first, order)[0, 1]) < 5 / np.sqrt(num_examples)


@pytest.mark.parametrize("num_examples", [5, 1100])
def test_orders_are_uniform(num_examples):
    epochs = 4000 if num_examples == 5 else 8
    ids, _ = epochs_of(num_examples, num_examples * epochs, 1)
    orders = ids.reshape(epochs, num_examples)
    if num_examples == 5:
        counts = np.unique(orders, axis=0, return_counts=True)[1]
        assert len(counts) == 120
        assert stats.chisquare(counts).pvalue > 1e-3
    steps = np.diff(orders, axis=1) % num_examples
    counts = np.histogram(steps, bins=4, range=(1, num_examples))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_far_steps_do_not_overflow():
    ids, visits = epoch_sample(0, 0, 20, 64, tf.constant(2**40, tf.int64))
    assert visits.numpy()[0] == 2**40 * 64 // 20
    assert ids.numpy().min() >= 0
    assert ids.numpy().max() < 20


@pytest.mark.parametrize("num_examples", [30, 2000])
def test_subsets_hold_different_ids_and_change_with_the_draw(num_examples):
    first, second = (
        subset_sample(3, 0, num_examples, 20, tf.constant(k, tf.int64)).numpy() for k in (0, 1)
    )
    assert len(set(first)) == len(set(second)) == 20
    assert first.tolist() != second.tolist()
    assert set(first) <= set(range(num_examples))
