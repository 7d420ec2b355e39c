"""Which examples are in batch number `step`: an epoch visits every id once, in a new order.

Nothing is remembered between batches, so a run resumes at any step and needs no shuffle buffer.
"""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.data.keyed_random import example_keys, random_bits

# Up to this size an epoch's order is a sort of random keys: exactly uniform, and cheap. The cipher
# on indices needs O(1) memory, but searches 65,536 / n times for small n: 63 us an index at n = 20,
# 0.5 us at n = 60,000.
_SORT_UP_TO = 1024
# tf.random.experimental.index_shuffle fixes 4 rounds, with which neighbours stay visibly related
# (chi-square of adjacent differences, n = 257: p = 5e-30; with 8 rounds 0.85), and its wrapper
# fails for one seed per index. Hence the raw op.
_CIPHER_ROUNDS = 8


def epoch_sample(
    seed: int, stream: int, num_examples: int, batch_size: int, step: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the ids of batch `step` and how often each was drawn before.

    Batches are cut from one endless row of shuffled epochs: position p = step B + 0..B-1 is place
    p mod n of epoch p div n. A batch may thus span epochs and be larger than the set.

    DEVIATION: upstream repeats before it shuffles in a buffer of 8192, so that epochs blur and
    small labeled sets are drawn almost with replacement; its order cannot be resumed.

    Args:
        seed: of the run.
        stream: keeps consumers of one seed apart.
        num_examples: n, at least 1.
        batch_size: B, at least 1.
        step: [] int64, from 0.

    Returns:
        ids [B] int64 in 0..n-1 and visits [B] int64, the epoch of each.
    """
    positions = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    epochs, places = positions // num_examples, positions % num_examples
    return _shuffled(seed, stream, num_examples, epochs, places), epochs


def subset_sample(
    seed: int, stream: int, num_examples: int, size: int, draw: tf.Tensor
) -> tf.Tensor:
    """Return `size` different ids, drawn afresh for each number `draw`.

    Args:
        seed: of the run.
        stream: keeps consumers of one seed apart.
        num_examples: n, at least `size`.
        size: ids to draw, at least 1.
        draw: [] int64, from 0.

    Returns:
        [size] int64 in 0..n-1, all different.
    """
    places = tf.range(size, dtype=tf.int64)
    return _shuffled(seed, stream, num_examples, tf.fill([size], draw), places)


def _shuffled(seed, stream, num_examples, epochs, places):
    """Return the ids at `places` [B] of the orders number `epochs` [B], which never decrease."""
    how = _by_sorting if num_examples <= _SORT_UP_TO else _by_cipher
    return how(seed, stream, num_examples, epochs, places)


def _by_sorting(seed, stream, num_examples, epochs, places):
    """Sort n random keys for each epoch that occurs and read off the places."""
    first = epochs[0]
    count = places.shape[0] // num_examples + 2  # no batch touches more epochs than that
    ids = tf.tile(tf.range(num_examples, dtype=tf.int64), [count])
    present = tf.repeat(first + tf.range(count, dtype=tf.int64), num_examples)
    bits = random_bits(example_keys(seed, stream, ids, present, view=0), 1)
    keys = tf.reshape(tf.bitcast(bits, tf.int64), [count, num_examples])
    order = tf.argsort(keys, direction="DESCENDING")
    return tf.cast(tf.gather_nd(order, tf.stack([epochs - first, places], axis=1)), tf.int64)


def _by_cipher(seed, stream, num_examples, epochs, places):
    """Encipher the places, with a cipher key for each epoch."""
    keys = example_keys(seed, stream, tf.zeros_like(epochs), epochs, view=0)
    halves = tf.bitcast(random_bits(keys, 2), tf.uint32)  # [B, 2, 2]
    return tf.raw_ops.RandomIndexShuffle(
        index=places,
        seed=tf.reshape(halves, [-1, 4])[:, :3],
        max_index=tf.constant(num_examples - 1, tf.int64),
        rounds=_CIPHER_ROUNDS,
    )
