"""The theta-optimizers as pure functions, to be differentiated through (method "unrolled").

Keras offers no stateless optimizers on TensorFlow. Tests hold these against the optimizers' own
steps.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from ssl_weighting.theta.nesterov import NesterovSGD

_UNSUPPORTED = ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "amsgrad")


def pure_step(optimizer: keras.optimizers.Optimizer) -> Callable:
    """Return (slots, gradients, params) -> (slots, params), what `optimizer.apply` would do.

    Args:
        optimizer: built `NesterovSGD`, `keras.optimizers.SGD` or `keras.optimizers.Adam`. `slots`
            are the values of its `variables`, in their order.

    Raises:
        ValueError: another optimizer, or one that clips, decays or averages.
    """
    rule = {NesterovSGD: _nesterov, keras.optimizers.SGD: _sgd, keras.optimizers.Adam: _adam}
    used = [name for name in _UNSUPPORTED if getattr(optimizer, name, None)]
    if type(optimizer) not in rule or used:
        raise ValueError(
            "The optimizer of theta must be one of NesterovSGD, SGD, Adam, without clipping, decay "
            f"or averaging of its own, for method unrolled. Received: {type(optimizer).__name__}, "
            f"with {', '.join(used) or 'none of these'}"
        )
    names = [v.name for v in optimizer.variables]
    first = [k for k, name in enumerate(names) if name.endswith("momentum")]
    second = [k for k, name in enumerate(names) if name.endswith("velocity")]
    counter = next(k for k, v in enumerate(optimizer.variables) if v is optimizer.iterations)

    def step(slots, gradients, params):
        slots, params = list(slots), list(params)
        rate = _learning_rate(optimizer, slots[counter])
        for k, g in enumerate(gradients):
            m = slots[first[k]] if first else None
            v = slots[second[k]] if second else None
            eta = tf.cast(rate, g.dtype)
            m, v, params[k] = rule[type(optimizer)](
                optimizer, slots[counter], eta, g, m, v, params[k]
            )
            if first:
                slots[first[k]] = m
            if second:
                slots[second[k]] = v
        slots[counter] = slots[counter] + 1
        return slots, params

    return step


def _learning_rate(optimizer, iteration):
    with keras.StatelessScope(state_mapping=[(optimizer.iterations, iteration)]):
        return tf.convert_to_tensor(optimizer.learning_rate)


def _nesterov(optimizer, iteration, eta, g, a, _, theta):
    del iteration
    a = optimizer.momentum * a + g
    return a, None, theta - eta * (g + optimizer.momentum * a)


def _sgd(optimizer, iteration, eta, g, m, _, theta):
    del iteration
    if not optimizer.momentum:
        return m, None, theta - eta * g
    m = optimizer.momentum * m - eta * g
    return m, None, theta + (optimizer.momentum * m - eta * g if optimizer.nesterov else m)


def _adam(optimizer, iteration, eta, g, m, v, theta):
    t = tf.cast(iteration + 1, g.dtype)
    b1, b2 = (tf.constant(b, g.dtype) for b in (optimizer.beta_1, optimizer.beta_2))
    m, v = m + (1 - b1) * (g - m), v + (1 - b2) * (g * g - v)
    alpha = eta * tf.sqrt(1 - b2**t) / (1 - b1**t)
    # The root has no derivative at 0, where parameters lie that never had a gradient.
    root = tf.where(v > 0, tf.sqrt(tf.where(v > 0, v, tf.ones_like(v))), tf.zeros_like(v))
    return m, v, theta - alpha * m / (root + optimizer.epsilon)
