"""Stateless random numbers keyed by (seed, stream, id, visit, view), so that resuming, the number
of workers and the batch an example falls into never change how it is augmented.

The generator is SplitMix64 (Steele, Lea, Flood 2014): a counter in steps of an odd constant, and a
64-bit mixing function. Here the mixing function also folds the parts of the key into one number.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_STEP = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd: the counter visits every 64-bit number
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # Stafford's variant 13
_SHIFTS = (30, 27, 31)
_BITS = 24  # a float32 holds 24 bits exactly, so k / 2**24 is never rounded up to 1
_BITS64 = 53  # the same of a float64


def example_keys(seed: int, stream: int, ids: tf.Tensor, visits: tf.Tensor, view: int) -> tf.Tensor:
    """Return one key per example, a function of its own five numbers alone.

    key <- mix((key + step) XOR part) for seed, stream, view, visit, id in this order: with the
    rest equal, different ids never share a key.

    Args:
        seed: of the run, from 0 to 2**63 - 1.
        stream: keeps consumers of one seed apart, from 0.
        ids: [N] int64, any numbers.
        visits: [N] int64, how often each was drawn before.
        view: 0 for the first random version of an example, 1 for the next, ...

    Returns:
        [N] uint64.

    Raises:
        ValueError: if `seed`, `stream` or `view` is negative or too large.
    """
    key = _uint64(0)
    for name, part in (("seed", seed), ("stream", stream), ("view", view)):
        if not 0 <= part < 2**63:
            raise ValueError(f"`{name}` must be from 0 to 2**63 - 1. Received: {name}={part}.")
        key = _fold(key, _uint64(part))
    key = _fold(key, tf.bitcast(visits, tf.uint64))
    return _fold(key, tf.bitcast(ids, tf.uint64))


def random_bits(keys: tf.Tensor, num_draws: int) -> tf.Tensor:
    """Return [N, num_draws] uint64, uniform: draw k of key is mix(key + (k + 1) step).

    Args:
        keys: [N] uint64.
        num_draws: numbers per key; more of them do not change the first ones.
    """
    steps = [(k + 1) * _STEP % 2**64 for k in range(num_draws)]
    return _mix(keys[:, tf.newaxis] + tf.constant(np.array(steps, np.uint64)))


def uniform(keys: tf.Tensor, num_draws: int) -> tf.Tensor:
    """Return [N, num_draws] float32 uniform in [0, 1), multiples of 2**-24, never 1.

    Args:
        keys: [N] uint64, from `example_keys`.
        num_draws: numbers per key.
    """
    bits = random_bits(keys, num_draws)
    top = tf.bitwise.right_shift(bits, _uint64(64 - _BITS))
    return tf.cast(top, tf.float32) * 2.0**-_BITS


def _fold(key: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    return _mix(tf.bitwise.bitwise_xor(key + _uint64(_STEP), part))


def _mix(bits: tf.Tensor) -> tf.Tensor:
    bits = _xor_shift(bits, _SHIFTS[0]) * _uint64(_MIX[0])
    bits = _xor_shift(bits, _SHIFTS[1]) * _uint64(_MIX[1])
    return _xor_shift(bits, _SHIFTS[2])


def _xor_shift(bits: tf.Tensor, places: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _uint64(places)))


def _uint64(number: int) -> tf.Tensor:
    return tf.constant(np.uint64(number))


def ragged_uniform(keys: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Return [sum of counts] float64 uniform in [0, 1): `counts` numbers of each key in turn.

    Multiples of 2**-53, never 1; the first numbers of a key do not depend on how many follow.

    Args:
        keys: [N] uint64, from `example_keys`.
        counts: [N] int64, from 0.
    """
    starts = tf.cumsum(counts, exclusive=True)
    places = tf.range(tf.reduce_sum(counts)) - tf.repeat(starts, counts)
    steps = tf.bitcast(places + 1, tf.uint64) * _uint64(_STEP)
    bits = _mix(tf.repeat(keys, counts) + steps)
    top = tf.bitwise.right_shift(bits, _uint64(64 - _BITS64))
    return tf.cast(tf.bitcast(top, tf.int64), tf.float64) * 2.0**-_BITS64
