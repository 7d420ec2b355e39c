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


def mean_model(members: list[keras.Model]) -> keras.Model:
    """Return one model whose probabilities are the mean of the members'; a single one as it is.

    "logits" are log mean_k p_k [N, C], "features" the members' side by side.
    """
    if len(members) == 1:
        return members[0]
    inputs = keras.Input(members[0].input_shape[1:])
    found = [_renamed(model, f"model_{k}")(inputs) for k, model in enumerate(members, 1)]
    mean = keras.layers.Average()([keras.layers.Softmax()(one["logits"]) for one in found])
    features = keras.layers.Concatenate()([one["features"] for one in found])
    return keras.Model(inputs, {"features": features, "logits": keras.ops.log(mean)})


def _renamed(model, name):
    """Return the same net of the same variables under another name, which must be its own."""
    return keras.Model(model.inputs, model.output, name=name)
