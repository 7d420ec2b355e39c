"""SGD with Nesterov momentum in TensorFlow 1's form, which FixMatch and UDA trained with."""

from __future__ import annotations

import keras

from ssl_weighting.checks import check_number, check_rate


@keras.saving.register_keras_serializable("ssl_weighting")
class NesterovSGD(keras.optimizers.Optimizer):
    """a <- mu a + g; theta <- theta - eta (g + mu a).

    Keras' own SGD keeps eta inside the velocity, which differs as soon as eta changes.

    Args:
        learning_rate: float or schedule, eta.
        momentum: float in [0, 1), mu.
    """

    def __init__(self, learning_rate=0.03, momentum=0.9, name="nesterov_sgd", **kwargs):
        check_rate(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        check_number("momentum", momentum, below=1)
        self.momentum = momentum

    def build(self, variables):
        """Create the accumulator a beside each variable."""
        if self.built:
            return
        super().build(variables)
        self.accumulators = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """Take one step on `variable`."""
        a = self.accumulators[self._get_variable_index(variable)]
        eta = keras.ops.cast(learning_rate, variable.dtype)
        gradient = keras.ops.cast(gradient, variable.dtype)
        self.assign(a, self.momentum * a + gradient)
        self.assign_sub(variable, eta * (gradient + self.momentum * a))

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"momentum": self.momentum}
