"""The contract of a model here: features phi, then a Dense layer that is named and last."""

from __future__ import annotations

import keras

HEAD = "head"


def split_head(inputs, features, num_classes: int, kernel_initializer, name: str) -> keras.Model:
    """Return a model inputs -> {"features": [N, d], "logits": [N, C]} whose last layer is `HEAD`.

    Args:
        inputs, features: symbolic Keras tensors.
        num_classes: C, at least 2.
        kernel_initializer: of the head; its bias starts at zero.
        name: model name.

    Raises:
        ValueError: fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: num_classes={num_classes}")
    head = keras.layers.Dense(num_classes, kernel_initializer=kernel_initializer, name=HEAD)
    outputs = {"features": features, "logits": head(features)}
    return keras.Model(inputs, outputs, name=name)
