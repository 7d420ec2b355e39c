"""The net of the synthetic experiments (Sec. 4.1)."""

from __future__ import annotations

import keras

from ssl_weighting.models.split_head import split_head

READINGS = ("two_hidden", "one_hidden")


def mlp(
    num_inputs: int,
    num_classes: int,
    *,
    width: int = 100,
    reading: str = "two_hidden",
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build the multi-layer perceptron.

    "Two fully-connected layers with 100 hidden units followed by a ReLU" has two readings:
    "two_hidden" is num_inputs-100-100-C, "one_hidden" is num_inputs-100-C.

    Args:
        num_inputs, num_classes, width: layer sizes.
        reading: one of `READINGS`.
        precision: one of `PRECISIONS`, of the hidden layers' arithmetic; variables are float32.
        seed: int, of the initial values.

    Raises:
        ValueError: unknown reading.
    """
    if reading not in READINGS:
        raise ValueError(f"`reading` must be one of {', '.join(READINGS)}. Received: {reading!r}")
    inputs = x = keras.Input([num_inputs])
    depth = 2 if reading == "two_hidden" else 1
    for k in range(depth):
        init = keras.initializers.HeNormal(seed=seed * 100 + k)
        options = {"kernel_initializer": init, "name": f"hidden_{k}", "dtype": precision}
        x = keras.layers.Dense(width, "relu", **options)(x)
    head_init = keras.initializers.GlorotNormal(seed=seed * 100 + 99)
    return split_head(inputs, x, num_classes, head_init, "mlp")
