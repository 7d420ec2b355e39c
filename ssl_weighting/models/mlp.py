"""The net of the synthetic experiments (Sec. 4.1), which on features may be a linear head."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from ssl_weighting.models.split_head import split_head


def mlp(
    num_inputs: int,
    num_classes: int,
    *,
    width: int = 100,
    hidden_layers: int = 2,
    standardize: tuple[Sequence[float], Sequence[float]] | None = None,
    components: tuple[np.ndarray, np.ndarray] | None = None,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build the multi-layer perceptron.

    "Two fully-connected layers with 100 hidden units followed by a ReLU" is read as
    num_inputs-100-100-C; the other reading has one hidden layer.

    Args:
        num_inputs, num_classes, width: layer sizes.
        hidden_layers: how many; 0 leaves a linear head.
        standardize: (mean, std) [num_inputs] of the inputs, which a fixed first layer turns into
            (x - mean) / std. None: they are taken as they are.
        components: (kernel [num_inputs, k], bias [k]) of a fixed layer that turns the inputs into k
            numbers. None: there is no such layer.
        precision: one of `PRECISIONS`, of the hidden layers' arithmetic; variables are float32.
        seed: int, of the initial values.
    """
    inputs = x = keras.Input([num_inputs])
    if standardize is not None:
        mean, std = (np.asarray(part, np.float64) for part in standardize)
        norm = keras.layers.Normalization(mean=mean, variance=std**2, name="standardize")
        x = norm(x)
    if components is not None:
        kernel, bias = (keras.initializers.Constant(np.float32(part)) for part in components)
        options = {"kernel_initializer": kernel, "bias_initializer": bias, "trainable": False}
        x = keras.layers.Dense(len(components[1]), name="components", **options)(x)
    for k in range(hidden_layers):
        init = keras.initializers.HeNormal(seed=seed * 100 + k)
        options = {"kernel_initializer": init, "name": f"hidden_{k}", "dtype": precision}
        x = keras.layers.Dense(width, "relu", **options)(x)
    head_init = keras.initializers.GlorotNormal(seed=seed * 100 + 99)
    return split_head(inputs, x, num_classes, head_init, "mlp")
