"""The optimizer that BERT and UDA's text runs were fine-tuned with."""

from __future__ import annotations

import keras

from ssl_weighting.checks import check_number, check_rate

# Variables without weight decay: biases and LayerNorm's scale and shift.
NOT_DECAYED = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable("ssl_weighting")
class BertAdamW(keras.optimizers.Optimizer):
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; theta <- theta - eta (m/(sqrt(v)+e) + w theta).

    Google's BERT form: no bias correction, decay outside the moments and only where it belongs,
    gradients clipped together first.

    Args:
        learning_rate: float or schedule, eta.
        weight_decay: w >= 0, of all variables but biases and LayerNorm's.
        beta_1, beta_2: b1 and b2 in [0, 1).
        epsilon: e.
        global_clipnorm: the largest norm of all gradients together; None: no clipping.
    """

    def __init__(
        self,
        learning_rate=2e-5,
        weight_decay=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        global_clipnorm=1.0,
        name="bert_adamw",
        **kwargs,
    ):
        check_rate(learning_rate)
        check_number("weight_decay", weight_decay)
        check_number("epsilon", epsilon)
        check_number("beta_1", beta_1, below=1)
        check_number("beta_2", beta_2, below=1)
        if global_clipnorm is not None:
            check_number("global_clipnorm", global_clipnorm)
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables):
        """Create m and v beside each variable, and say which are not decayed."""
        if self.built:
            return
        # Keras takes eta w theta off before the step: the same as taking it off with the step.
        self.exclude_from_weight_decay(var_list=[v for v in variables if v.name in NOT_DECAYED])
        super().build(variables)
        self.m = self.add_optimizer_variables(variables, "momentum")
        self.v = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient, variable, learning_rate):
        """Take one step on `variable`, its decay apart."""
        index = self._get_variable_index(variable)
        m, v = self.m[index], self.v[index]
        eta = keras.ops.cast(learning_rate, variable.dtype)
        gradient = keras.ops.cast(gradient, variable.dtype)
        self.assign(m, self.beta_1 * m + (1 - self.beta_1) * gradient)
        self.assign(v, self.beta_2 * v + (1 - self.beta_2) * keras.ops.square(gradient))
        self.assign_sub(variable, eta * m / (keras.ops.sqrt(v) + self.epsilon))

    def get_config(self):
        """Return the constructor's arguments."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return super().get_config() | own
