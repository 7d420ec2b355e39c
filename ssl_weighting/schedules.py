"""Learning-rate schedules of the upstream recipes, in steps."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("ssl_weighting")
class FixMatchCosine(keras.optimizers.schedules.LearningRateSchedule):
    """eta(k) = peak * cos(7 pi / 16 * clip(k / K, 0, 1)): FixMatch; ends at 0.19509 of the peak.

    Args:
        peak: float, learning rate at step 0.
        num_steps: int, K.
    """

    def __init__(self, peak: float, num_steps: int):
        if num_steps < 1:
            raise ValueError(f"`num_steps` must be >= 1. Received: num_steps={num_steps}")
        self.peak, self.num_steps = peak, num_steps

    def __call__(self, step):
        """Return the learning rate at `step`, float32 scalar."""
        share = tf.clip_by_value(tf.cast(step, tf.float32) / self.num_steps, 0.0, 1.0)
        return self.peak * tf.cos(7 * 3.141592653589793 / 16 * share)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"peak": self.peak, "num_steps": self.num_steps}
