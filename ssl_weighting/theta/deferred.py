"""What a GPU is spared: to be asked after every theta-step, and to wait for the next batch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from ssl_weighting.theta.block import Block
from ssl_weighting.theta.devices import Devices

GPU = "GPU:0"  # that a run on one of them takes


class DeferredBlock(Block):
    """A `Block` that takes all its steps and is asked at its end alone whether all were finite.

    Its loop ends by a counter in the memory of the host, so that steps can be queued on a GPU
    without waiting for a loss. Sums, and the number of the first loss that is not finite, are those
    of a `Block`; the steps after that one are taken in vain, on a theta that is lost already.
    """

    def _loop_fn(self, batches, start, count, total):
        with tf.device("CPU:0"):
            steps = tf.cast(count, tf.int32)  # which the host keeps, on a GPU's behalf too

        def more(k, done, total):
            del done, total
            return k < steps

        def step(k, done, total):
            place = tf.cast(k, tf.int64)
            out = self.devices.run(self.step, *next(batches), start + place)
            sound = done == count  # up to here
            total = {n: tf.where(sound, total[n] + out[n], total[n]) for n in total}
            first = sound & ~tf.math.is_finite(out["loss"])
            return k + 1, tf.where(first, place, done), total

        _, done, total = tf.while_loop(more, step, (tf.constant(0), count, total))
        return done, total


def block_of(devices: Devices, step: Callable) -> Block:
    """Return the loop over `step` that suits the devices: a `DeferredBlock` where they are GPUs."""
    return (DeferredBlock if _gpus() else Block)(devices, step)


def made_ahead(batches: tf.data.Dataset, devices: Devices) -> tf.data.Dataset:
    """Return the same batches; where one GPU takes all of them, copied there ahead of their use."""
    if devices.count > 1 or not _gpus():
        return batches
    return batches.apply(tf.data.experimental.prefetch_to_device(GPU))


def _gpus():
    return tf.config.list_logical_devices("GPU")
