"""Alg. 2: M-Adam, the Adam that moves only the example weights its batch speaks of."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_number, check_rate, finite, require_ids
from ssl_weighting.structs import sum_by_id

# Float32 holds no square below 1.2e-38: where so small a second moment stands, some were lost.
WHOLE_IN_FLOAT32 = 1e-30
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


class _LambdaOptimizer(keras.optimizers.Optimizer):
    """What the Adams of Lambda share: checked gradients, and second moments in float64.

    The square of an influence of 1e-20 is 0 in float32, as TensorFlow flushes what is smaller than
    1.2e-38: the step would depend on the scale of the influences. It is computed in float64.
    """

    SLOTS: tuple[str, ...] = ()  # names; the first moment first, then the second

    def __init__(self, learning_rate, beta_1, beta_2, epsilon, name, **kwargs):
        check_rate(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        check_number("beta_1", beta_1, below=1)
        check_number("beta_2", beta_2, below=1)
        check_number("epsilon", epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables):
        """Create the slots beside each variable: same shape, zeros."""
        if self.built:
            return
        super().build(variables)
        # As a function: Keras counts variables that it finds in attributes as the optimizer's own.
        self.tables = lambda: list(variables)
        self.slots = list(zip(*self.add_optimizer_variables(variables, self.SLOTS), strict=True))

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        """Add a variable like `reference_variable`; the second moment in float64."""
        if name != self.SLOTS[1]:
            return super().add_variable_from_reference(reference_variable, name, initializer)
        path = reference_variable.path.replace("/", "_")
        shape = reference_variable.shape
        return self.add_variable(shape, initializer, "float64", name=f"{path}_{name}")

    def apply(self, grads, trainable_variables=None):
        """Take a step; all gradients are checked before any variable is written.

        Raises:
            ValueError: a gradient of another shape, of integers, not finite, or of rows that do not
                exist. Within a `tf.function` what depends on values is an InvalidArgumentError.
        """
        grads, variables = list(grads), list(trainable_variables or ())
        if self.built:
            variables = variables or self.tables()
        elif variables:
            self.build(variables)  # no variable can be made where the checks are waited for
        if len(grads) == len(variables):  # Keras refuses other lengths, and what is not built
            pairs = zip(grads, variables, strict=True)
            grads = [g if g is None else _checked(g, v) for g, v in pairs]
        with tf.control_dependencies([g for g in grads if g is not None]):
            super().apply(grads, trainable_variables)

    def get_config(self):
        """Return the constructor's arguments, for `from_config` and `model.save`."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return super().get_config() | own

    def _wide(self, variable):
        """Return a variable and its slots, each as TensorFlow's."""
        slots = self.slots[self._get_variable_index(variable)]
        return [_native(one) for one in (variable, *slots)]

    def _moved(self, g, lam, m, v, t, mask, learning_rate, epsilon):
        rate = tf.cast(learning_rate, tf.float64)
        betas = {"beta1": self.beta_1, "beta2": self.beta_2}
        return madam_update(g, lam, m, v, t, mask=mask, alpha=rate, epsilon=epsilon, **betas)


class MAdam(_LambdaOptimizer):
    """M-Adam as a Keras optimizer for one weight per row (App. C).

    Dense gradients use the paper's mask 1[g != 0]. `tf.IndexedSlices` read and write the rows they
    name and nothing else: O(batch) time and memory whatever the number of rows. Rows named more
    than once in one gradient are summed first. m and t have the weights' dtype, v is float64, so
    that the step does not depend on the scale of the gradients, from 1e-30 to 1e30.

    Args:
        learning_rate: float or schedule, `alpha` of Alg. 2 (eta of Alg. 1), units of lambda.
        beta_1, beta_2: floats in [0, 1), decay rates (the release uses Adam's 0.9 and 0.999).
        epsilon: float >= 0. Alg. 2 only says "a fixed small value"; the release uses 1e-8.
            Saturated predictions make influences of that very size, so the default is far below
            all that float32 holds, which keeps the step independent of their scale.
        step_count: "per_example": t counts the updates of each row (Sec. 3.1: one scalar optimizer
            per weight; the release). "global": t counts calls (the letter of Alg. 2).
        mask: "nonzero": rows whose gradient is exactly zero stay as they are (Alg. 2).
            "membership": every row named by the `tf.IndexedSlices` moves (the release).
        name: string.

    Raises:
        ValueError: a hyper-parameter out of range or an unknown name.
    """

    SLOTS = ("m", "v", "t")

    def __init__(
        self,
        learning_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-60,
        step_count="per_example",
        mask="nonzero",
        name="madam",
        **kwargs,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)
        _check_choice("step_count", step_count, STEP_COUNTS)
        _check_choice("mask", mask, MASKS)
        self.step_count, self.mask = step_count, mask

    def update_step(self, gradient, variable, learning_rate):
        """Apply one step to `variable` from a dense gradient or from `tf.IndexedSlices`."""
        slots = self._wide(variable)
        if not isinstance(gradient, tf.IndexedSlices):
            new = self._step(tf.convert_to_tensor(gradient), slots, learning_rate, "nonzero")
            for slot, value in zip(slots, new, strict=True):
                slot.assign(value)
            return
        rows, g = gradient.indices, gradient.values
        new = self._step(g, [tf.gather(s, rows) for s in slots], learning_rate, self.mask)
        for slot, value in zip(slots, new, strict=True):
            slot.scatter_update(tf.IndexedSlices(value, rows))

    def _step(self, g, slots, learning_rate, mask_name):
        """Return what `slots` are after the step, in their dtypes."""
        g, lam, m, v, t = (tf.cast(x, tf.float64) for x in (g, *slots))
        mask = tf.cast(g != 0, g.dtype) if mask_name == "nonzero" else tf.ones_like(g)
        t = t + mask
        clock = t if self.step_count == "per_example" else tf.cast(self.iterations, t.dtype) + 1
        clock = tf.maximum(clock, 1)  # never visited and masked out: t = 0, unused
        new = self._moved(g, lam, m, v, clock, mask, learning_rate, self.epsilon)
        return [tf.cast(x, slot.dtype) for x, slot in zip((*new, t), slots, strict=True)]

    def get_config(self):
        """Return the constructor's arguments, for `from_config` and `model.save`."""
        return super().get_config() | {"step_count": self.step_count, "mask": self.mask}


class LambdaAdam(_LambdaOptimizer):
    """Adam on the whole of Lambda, to compare with: every weight moves at every step.

    Keras's Adam, whose epsilon stands beside sqrt(v) before the bias is corrected, with the slots
    of that name, but in float64 where it counts.

    Args:
        learning_rate, beta_1, beta_2, epsilon, name: as those of `MAdam`.

    Raises:
        ValueError: a hyper-parameter out of range.
    """

    SLOTS = ("momentum", "velocity")

    def __init__(
        self, learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-60, name="adam", **kwargs
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        """Apply one step to `variable`; rows that a `tf.IndexedSlices` does not name have g = 0."""
        slots = self._wide(variable)
        g = tf.convert_to_tensor(gradient)
        t = tf.cast(self.iterations, tf.float64) + 1
        epsilon = self.epsilon / tf.sqrt(1 - self.beta_2**t)
        wide = (tf.cast(x, tf.float64) for x in (g, *slots))
        new = self._moved(*wide, t, 1.0, learning_rate, epsilon)
        for slot, value in zip(slots, new, strict=True):
            slot.assign(tf.cast(value, slot.dtype))


def widened(first, second, *counts):
    """Return moments of a run that held the second in float32, to go on from in float64.

    Where squares were lost (see `WHOLE_IN_FLOAT32`) a mean of them that is too small would make
    the next step too large: these rows start anew, with their weights as they are.

    Args:
        first, second: arrays m, v; counts: array t, where there is one.

    Returns:
        The list of them, and how many rows start anew.
    """
    visited = counts[0] > 0 if counts else first != 0
    lost = visited & (second < WHOLE_IN_FLOAT32)
    slots = first, second.astype(np.float64), *counts
    return [np.where(lost, np.zeros_like(x), x) for x in slots], int(lost.sum())


def _native(variable):
    # Keras passes its own variables or TensorFlow's, depending on the entry point; only the latter
    # can scatter.
    return variable.value if isinstance(variable, keras.Variable) else variable


def _checked(gradient, variable):
    """Return a gradient that may be applied; rows that stand there twice are summed."""
    name = f"The gradient of {variable.path}"
    if not isinstance(gradient, tf.IndexedSlices):
        values = tf.convert_to_tensor(gradient)
        _check_gradient(name, values, list(variable.shape))
        return finite(name, values)
    rows, values = tf.convert_to_tensor(gradient.indices), tf.convert_to_tensor(gradient.values)
    _check_gradient(name, values, [*rows.shape[:1], *variable.shape[1:]], rows.shape.rank == 1)
    with tf.control_dependencies(require_ids("indices", rows, variable.shape[0])):
        rows, values = sum_by_id(tf.identity(rows), values)
    return tf.IndexedSlices(finite(name, values), rows, gradient.dense_shape)


def _check_gradient(name, values, shape, fits=True):
    if fits and values.dtype.is_floating and values.shape.is_compatible_with(shape):
        return
    raise ValueError(
        f"{name} must be floats of shape {shape}, and row numbers [n]. Received: "
        f"{values.dtype.name} of shape {values.shape}"
    )


def _check_choice(name, value, known):
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {name}={value!r}")
