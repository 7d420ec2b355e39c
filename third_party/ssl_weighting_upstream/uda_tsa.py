"""UDA's training signal annealing: which labeled examples still teach at a step.

Upstream: google-research/uda at d4ec238 and 960684e; the behaviour matched and the differences are
listed in README.md.
"""

from __future__ import annotations

import tensorflow as tf

SCHEDULES = ("none", "linear", "log", "exp")


def tsa_threshold(schedule: str, step: tf.Tensor, num_steps: int, num_classes: int) -> tf.Tensor:
    """Return 1/C + (1 - 1/C) a: a = r, 1 - exp(-5 r) or exp(5 (r - 1)), r = step / num_steps.

    a is at most 1, also where r is not (FixMatch's authors let r go on; `log` then rises on).

    Args:
        schedule: linear, log or exp.
        step: scalar; num_steps: of the run; num_classes: C.

    Raises:
        ValueError: if `schedule` is another.
    """
    r = tf.cast(step, tf.float32) / num_steps
    shapes = {
        "linear": lambda: r,
        "log": lambda: 1 - tf.exp(-5 * r),
        "exp": lambda: tf.exp(5 * (r - 1)),
    }
    if schedule not in shapes:
        raise ValueError(
            f"`schedule` must be one of {', '.join(shapes)}. Received: schedule={schedule!r}."
        )
    return 1 / num_classes + (1 - 1 / num_classes) * tf.minimum(shapes[schedule](), 1.0)


def tsa_mask(correct: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Return 1 where the probability of the right class [B] is at most `threshold`, else 0."""
    return 1 - tf.cast(correct > threshold, tf.float32)
