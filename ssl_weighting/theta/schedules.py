"""Learning-rate schedules of the upstream recipes, in steps."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from ssl_weighting.checks import check_number, check_rate


class _WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """eta(k) = peak * k / W while k < W, then peak * share(k).

    Args:
        peak: float, the highest learning rate.
        num_steps: int, K, the length of the run.
        warmup_steps: int, W in [0, K).
    """

    def __init__(self, peak: float, num_steps: int, warmup_steps: int = 0):
        check_number("peak", peak)
        check_number("num_steps", num_steps, 1, whole=True)
        check_number("warmup_steps", warmup_steps, below=num_steps, whole=True)
        self.peak, self.num_steps, self.warmup_steps = peak, num_steps, warmup_steps

    def __call__(self, step):
        """Return the learning rate at `step`, float32 scalar."""
        step = tf.cast(step, tf.float32)
        rate = self.peak * self.share(step)
        if not self.warmup_steps:
            return rate
        return tf.where(step < self.warmup_steps, self.peak * step / self.warmup_steps, rate)

    def after_warmup(self, step):
        """Return clip((k - W) / (K - W), 0, 1), float32 scalar."""
        length = self.num_steps - self.warmup_steps
        return tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)

    def get_config(self):
        """Return the constructor's arguments."""
        names = ("peak", "num_steps", "warmup_steps")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("ssl_weighting")
class FixMatchCosine(_WarmedUp):
    """share = cos(7 pi / 16 * (k - W) / (K - W)): FixMatch, UDA of 2020; ends at 0.19509."""

    def share(self, step):
        """Return eta / peak after the warm-up, float32 scalar."""
        return tf.cos(7 * math.pi / 16 * self.after_warmup(step))


@keras.saving.register_keras_serializable("ssl_weighting")
class FlooredCosine(_WarmedUp):
    """share = 0.996 (1 + cos(pi (k - W) / (K - W))) / 2 + 0.004: UDA of 2019, with W = 20,000."""

    def share(self, step):
        """Return eta / peak after the warm-up, float32 scalar."""
        return 0.996 * 0.5 * (1 + tf.cos(math.pi * self.after_warmup(step))) + 0.004


@keras.saving.register_keras_serializable("ssl_weighting")
class WarmupLinear(_WarmedUp):
    """share = 1 - k / K, as if there had been no warm-up: BERT, UDA on text."""

    def share(self, step):
        """Return eta / peak after the warm-up, float32 scalar."""
        return 1 - tf.clip_by_value(step / self.num_steps, 0.0, 1.0)


SCHEDULES = {
    "cosine": FixMatchCosine,
    "floored_cosine": FlooredCosine,
    "warmup_linear": WarmupLinear,
}


def make_schedule(
    lr_schedule: str, learning_rate: float, steps: int, lr_warmup_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Return the schedule called `lr_schedule`, or `learning_rate` itself for "constant".

    Args:
        lr_schedule: a key of `SCHEDULES`, or "constant", which knows no warm-up.
        learning_rate: its peak; steps: of the run; lr_warmup_steps: of linear rise.

    Raises:
        ValueError: an unknown name or a number out of range.
    """
    check_rate(learning_rate)
    if lr_schedule == "constant":
        return learning_rate
    if lr_schedule not in SCHEDULES:
        known = ", ".join((*SCHEDULES, "constant"))
        raise ValueError(f"`lr_schedule` must be one of {known}. Received: {lr_schedule!r}")
    return SCHEDULES[lr_schedule](learning_rate, steps, lr_warmup_steps)
