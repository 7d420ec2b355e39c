"""The exponential moving average of theta that evaluation uses."""

from __future__ import annotations

import keras


class ExponentialMovingAverage:
    """shadow <- decay * shadow + (1 - decay) * theta, from the initial value, no bias correction.

    FixMatch averages the trainable variables only and evaluates with the live BatchNorm statistics.

    Args:
        params: the model's trainable variables.
        decay: float in [0, 1); 0 makes the average the parameters themselves.
    """

    def __init__(self, params: list[keras.Variable], decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay}")
        self.params, self.decay = list(params), decay
        # Through numpy: a Keras variable made from a tf.Variable would be that very variable.
        self.shadow = [
            keras.Variable(p.numpy().copy(), trainable=False, dtype=p.dtype, name=f"ema_{p.name}")
            for p in self.params
        ]

    def update(self) -> None:
        """Take one averaging step; call it after each theta-step."""
        for shadow, param in zip(self.shadow, self.params, strict=True):
            # Not shadow - (1 - decay) (shadow - theta): that rounds, and decay 0 must be theta.
            shadow.assign(self.decay * shadow.value + (1 - self.decay) * param.value)


def frozen_statistics_forward(model: keras.Model, params: list):
    """Return the function inputs -> outputs of training, which moves no BatchNorm statistics.

    Args:
        model: built Keras model.
        params: values or variables in the place of its trainable variables.
    """

    def forward(inputs, *, makes_rows=True, moves_statistics=False):
        del makes_rows, moves_statistics
        values = [getattr(p, "value", p) for p in params]
        others = [v.value for v in model.non_trainable_variables]
        return model.stateless_call(values, others, inputs, training=True)[0]

    return forward
