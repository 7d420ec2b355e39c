"""Alg. 2: M-Adam, the Adam that moves only the example weights its batch speaks of."""

from __future__ import annotations

import keras
import tensorflow as tf

MASKS = ("nonzero", "membership")
STEP_COUNTS = ("per_example", "global")


def madam_update(g, lam, m, v, t, *, mask, alpha, beta1, beta2, epsilon):
    """Lines 6-10 of the algorithm, elementwise on the entries given.

    Args:
        g: [n] float, gradient of the outer loss with respect to `lam`.
        lam, m, v: [n] float, weights and running averages of g and g*g.
        t: [n] or scalar float, number of this step (1 for the first).
        mask: [n] float of zeros and ones, M of the paper; masked-out entries stay bit-identical.
        alpha, beta1, beta2, epsilon: floats, the paper's letters.

    Returns:
        lam, m, v after the step, each [n] float.
    """
    m = m + (beta1 - 1) * m * mask + (1 - beta1) * g * mask
    v = v + (beta2 - 1) * v * mask + (1 - beta2) * g * g * mask
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    lam = lam - tf.math.divide_no_nan(alpha * m_hat * mask, tf.sqrt(v_hat) + epsilon)
    return lam, m, v


class MAdam(keras.optimizers.Optimizer):
    """M-Adam as a Keras optimizer for one weight per row (App. C).

    Dense gradients use the paper's mask 1[g != 0]. `tf.IndexedSlices` read and write the rows they
    name and nothing else: O(batch) time and memory whatever the number of rows. Rows named more
    than once in one gradient are summed first.

    Args:
        learning_rate: float or schedule, `alpha` of Alg. 2 (eta of Alg. 1), units of lambda.
        beta_1, beta_2: floats in [0, 1), decay rates (the release uses Adam's 0.9 and 0.999).
        epsilon: float >= 0. Alg. 2 only says "a fixed small value"; the release uses 1e-8.
            Saturated predictions make influences of that very size, so the default is far below
            it, which keeps the step independent of their scale.
        step_count: "per_example": t counts the updates of each row (Sec. 3.1: one scalar optimizer
            per weight; the release). "global": t counts calls (the letter of Alg. 2).
        mask: "nonzero": rows whose gradient is exactly zero stay as they are (Alg. 2).
            "membership": every row named by the `tf.IndexedSlices` moves (the release).
        name: string.

    Raises:
        ValueError: a hyper-parameter out of range or an unknown name.
    """

    def __init__(
        self,
        learning_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-18,
        step_count="per_example",
        mask="nonzero",
        name="madam",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        _check_fraction("beta_1", beta_1)
        _check_fraction("beta_2", beta_2)
        if epsilon < 0:
            raise ValueError(f"`epsilon` must be >= 0. Received: epsilon={epsilon}")
        _check_choice("step_count", step_count, STEP_COUNTS)
        _check_choice("mask", mask, MASKS)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.step_count, self.mask = step_count, mask

    def build(self, variables):
        """Create m, v and t beside each variable: same shape and dtype, zeros."""
        if self.built:
            return
        super().build(variables)
        self.first_moments, self.second_moments, self.visits = self.add_optimizer_variables(
            variables, ["m", "v", "t"]
        )

    def update_step(self, gradient, variable, learning_rate):
        """Apply one step to `variable` from a dense gradient or from `tf.IndexedSlices`."""
        k = self._get_variable_index(variable)
        slots = [
            _native(s)
            for s in (variable, self.first_moments[k], self.second_moments[k], self.visits[k])
        ]
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, slots, learning_rate)
        else:
            new = self._step(tf.convert_to_tensor(gradient), slots, learning_rate, "nonzero")
            for slot, value in zip(slots, new, strict=True):
                slot.assign(value)

    def _update_rows(self, gradient, slots, learning_rate):
        rows, g = _sum_duplicates(gradient)
        new = self._step(g, [tf.gather(s, rows) for s in slots], learning_rate, self.mask)
        for slot, value in zip(slots, new, strict=True):
            slot.scatter_update(tf.IndexedSlices(value, rows))

    def _step(self, g, slots, learning_rate, mask_name):
        lam, m, v, t = slots
        dtype = g.dtype
        nonzero = mask_name == "nonzero"
        mask = tf.cast(g != 0, dtype) if nonzero else tf.ones_like(g)
        t = t + mask
        clock = t if self.step_count == "per_example" else tf.cast(self.iterations, dtype) + 1
        lam, m, v = madam_update(
            *(g, lam, m, v, tf.maximum(clock, 1)),  # never visited and masked out: t = 0, unused
            mask=mask,
            alpha=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
        )
        return lam, m, v, t

    def get_config(self):
        """Return the constructor's arguments, for `from_config` and `model.save`."""
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "step_count": self.step_count,
            "mask": self.mask,
        }


def _native(variable):
    # Keras passes its own variables or TensorFlow's, depending on the entry point; only the latter
    # can scatter.
    return variable.value if isinstance(variable, keras.Variable) else variable


def _sum_duplicates(gradient):
    rows, segment = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, segment, tf.size(rows))


def _check_fraction(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value}")


def _check_choice(name, value, known):
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {name}={value!r}")
