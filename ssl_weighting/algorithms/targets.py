"""Frozen targets: what consistency training takes from the model's own predictions."""

from __future__ import annotations

import tensorflow as tf


def frozen_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Return softmax(logits) [U, C] as a constant for differentiation."""
    return tf.stop_gradient(tf.nn.softmax(logits))


def hard_labels(probabilities: tf.Tensor) -> tf.Tensor:
    """Return the one-hot argmax of each row, [U, C] float32."""
    return tf.one_hot(tf.argmax(probabilities, axis=1), probabilities.shape[-1])


def sharpen(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return p^(1/T) normalised, [U, C], a constant for differentiation."""
    powered = probabilities ** (1 / temperature)
    return tf.stop_gradient(powered / tf.reduce_sum(powered, axis=1, keepdims=True))


def ramp(step: tf.Tensor, ramp_steps: int) -> tf.Tensor:
    """Return clip(step / ramp_steps, 0, 1), float32 scalar; 1 when there is no ramp."""
    if ramp_steps <= 0:
        return tf.constant(1.0)
    return tf.clip_by_value(tf.cast(step, tf.float32) / ramp_steps, 0.0, 1.0)
