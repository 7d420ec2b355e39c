"""A block of theta-steps: one compiled loop over steps that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf

from ssl_weighting.theta.devices import Devices


class Block:
    """Takes steps in a row until one has a loss that is not finite.

    Args:
        devices: `Devices` that share each step.
        step: (*batch, number of the step) -> losses by name, "loss" among them.

    Attributes:
        loop: the compiled function that a call is.
    """

    def __init__(self, devices: Devices, step: Callable):
        self.devices, self.step = devices, step
        self.loop = tf.function(self._loop_fn, autograph=False)

    def __call__(
        self, batches: Iterator, start: tf.Tensor, count: tf.Tensor, total: dict
    ) -> tuple[tf.Tensor, dict]:
        """Take the steps number `start` to `start + count - 1`, both scalars int64.

        Args:
            batches: iterator of the batches from step `start` on.
            total: name -> scalar float32; the losses of these names are added to it, step by step.

        Returns:
            (int64 steps taken before the one that is not finite, else `count`; the sums, which have
            that one's losses too).
        """
        return self.loop(batches, start, count, total)

    def _loop_fn(self, batches, start, count, total):
        def more(done, finite, total):
            return (done < count) & finite

        def step(done, finite, total):
            out = self.devices.run(self.step, *next(batches), start + done)
            finite = tf.math.is_finite(out["loss"])
            total = {name: total[name] + out[name] for name in total}
            return done + tf.cast(finite, tf.int64), finite, total

        state = (tf.constant(0, tf.int64), tf.constant(True), total)
        done, _, total = tf.while_loop(more, step, state)
        return done, total
