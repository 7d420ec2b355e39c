"""The net of the synthetic experiments (Sec. 4.1)."""

from __future__ import annotations

import keras

from ssl_weighting.models.split_head import split_head


def mlp(
    num_inputs: int,
    num_classes: int,
    *,
    width: int = 100,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build the multi-layer perceptron.

    "Two fully-connected layers with 100 hidden units followed by a ReLU" is read as
    num_inputs-100-100-C; the other reading has one hidden layer.

    Args:
        num_inputs, num_classes, width: layer sizes.
        precision: one of `PRECISIONS`, of the hidden layers' arithmetic; variables are float32.
        seed: int, of the initial values.
    """
    inputs = x = keras.Input([num_inputs])
    for k in range(2):
        init = keras.initializers.HeNormal(seed=seed * 100 + k)
        options = {"kernel_initializer": init, "name": f"hidden_{k}", "dtype": precision}
        x = keras.layers.Dense(width, "relu", **options)(x)
    head_init = keras.initializers.GlorotNormal(seed=seed * 100 + 99)
    return split_head(inputs, x, num_classes, head_init, "mlp")
