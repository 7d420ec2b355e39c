"""The exponential moving average of theta that evaluation uses."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from ssl_weighting.checks import check_number
from ssl_weighting.models.network import named_outputs

SCOPES = ("trainable", "all")


class ExponentialMovingAverage:
    """shadow <- decay * shadow + (1 - decay) * theta, from the initial value, no bias correction.

    FixMatch averages the trainable variables only and evaluates with the live BatchNorm statistics;
    UDA (2020) averages these too.

    Args:
        params: the model's trainable variables.
        decay: float in [0, 1); 0 makes the average the parameters themselves.
        statistics: further variables to average, see `batch_norm_statistics`.
    """

    def __init__(
        self,
        params: Sequence[keras.Variable],
        decay: float,
        statistics: Sequence[keras.Variable] = (),
    ):
        check_number("decay", decay, below=1)
        self.params, self.statistics, self.decay = list(params), list(statistics), decay
        # Through numpy: a Keras variable made from a tf.Variable would be that very variable.
        self.shadow, self.statistics_shadow = (
            [
                keras.Variable(
                    v.numpy().copy(), trainable=False, dtype=v.dtype, name=f"ema_{v.name}"
                )
                for v in group
            ]
            for group in (self.params, self.statistics)
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """All averages, in a fixed order: of the parameters, then of the statistics."""
        return self.shadow + self.statistics_shadow

    @property
    def averaged(self) -> list[keras.Variable]:
        """The variables that `variables` are averages of, in the same order."""
        return self.params + self.statistics

    def update(self) -> None:
        """Take one averaging step; call it after each theta-step."""
        for shadow, param in zip(self.variables, self.averaged, strict=True):
            # Not shadow - (1 - decay) (shadow - theta): that rounds, and decay 0 must be theta.
            shadow.assign(self.decay * shadow.value + (1 - self.decay) * param.value)

    def in_place_of(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        """Return `variables` with the average of each that has one in its place."""
        average = dict(zip(map(id, self.averaged), self.variables, strict=True))
        return [average.get(id(v), v) for v in variables]


def batch_norm_statistics(model: keras.Model) -> list[keras.Variable]:
    """Return the moving means and variances of all BatchNormalization layers of a model."""
    names = ("moving_mean", "moving_variance")
    return [v for v in model.non_trainable_variables if v.name in names]


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
        return named_outputs(model.stateless_call(values, others, inputs, training=True)[0])

    return forward
