"""The contract of a model here: features phi, then a Dense layer that is named and last."""

from __future__ import annotations

import keras

HEAD = "head"
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def split_head(
    inputs, features, num_classes: int, kernel_initializer, name: str, num_angles: int = 0
) -> keras.Model:
    """Return a model inputs -> {"features": [N, d], "logits": [N, C]} whose last layer is `HEAD`.

    Both outputs are float32 where the layers before them compute in half precision.

    Args:
        inputs, features: symbolic Keras tensors.
        num_classes: C, at least 2.
        kernel_initializer: of the head; its bias starts at zero.
        name: model name.
        num_angles: A > 0 adds "angle_logits" [N, A], by a head of their own (ReMixMatch).

    Raises:
        ValueError: fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: num_classes={num_classes}")
    if keras.backend.standardize_dtype(features.dtype) in ("float16", "bfloat16"):
        features = keras.layers.Identity(dtype="float32", name="wide_features")(features)
    head = keras.layers.Dense(num_classes, kernel_initializer=kernel_initializer, name=HEAD)
    outputs = {"features": features, "logits": head(features)}
    if num_angles:  # sorts before the head, which has to be the last layer
        tell = keras.layers.Dense(
            num_angles, kernel_initializer=kernel_initializer.clone(), name="angle_head"
        )
        outputs = {"angle_logits": tell(features), **outputs}
    return keras.Model(inputs, outputs, name=name)
