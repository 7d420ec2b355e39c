"""The last K theta-steps, taken again as pure functions, for the method "unrolled" (Table A1).

Batches are pure functions of the step, so that the state of K steps ago is all that has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from ssl_weighting.inverse_hessian import Unroll
from ssl_weighting.theta.ema import frozen_statistics_forward
from ssl_weighting.theta.pure_steps import pure_step


class Replay:
    """Keeps theta and its optimizer as they were, and repeats the steps since then.

    Args:
        model: Keras model; optimizer: built Keras optimizer of its trainable variables.
        loss: (forward, params, labeled, unlabeled, step) -> scalar, the objective of one step.
        source: training batches, `.at(step)`.
        selected: variables of `model` that Eq. 6 speaks of; the others are constants of each step.
        dtype: of the flat vectors of `Unroll`.
        count: K >= 1.
    """

    def __init__(self, model, optimizer, loss: Callable, source, selected, dtype, count: int):
        self.model, self.optimizer, self.loss, self.source = model, optimizer, loss, source
        self.dtype, self.count, self.take = dtype, count, pure_step(optimizer)
        params = model.trainable_variables
        self.places = [next(k for k, p in enumerate(params) if p is v) for v in selected]
        self.params = [_copy(v, f"param_{k}") for k, v in enumerate(params)]
        self.slots = [_copy(v, f"slot_{k}") for k, v in enumerate(optimizer.variables)]
        self.first = keras.Variable(-1, name="first", dtype="int64", trainable=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in a fixed order."""
        return [self.first, *self.params, *self.slots]

    def keep(self, step: int) -> None:
        """Remember the state before theta-step `step`."""
        self.first.assign(step)
        for copies, originals in (
            (self.params, self.model.trainable_variables),
            (self.slots, self.optimizer.variables),
        ):
            for copy, original in zip(copies, originals, strict=True):
                copy.assign(original.value)

    def tensors(self, step: int) -> dict:
        """Return what `unroll` needs to repeat the steps first..step-1.

        Raises:
            ValueError: the state of K steps ago was not kept.
        """
        first = int(self.first.value)
        if step - first != self.count or first < 0:
            raise ValueError(
                f"The state {self.count} theta-steps before the Lambda-step must have been kept. "
                f"Received: a state of step {first}, a Lambda-step at {step}"
            )
        batches = [self.source.at(k) for k in range(first, step)]
        return {
            "first": self.first.value,
            "params": [tf.convert_to_tensor(v.value) for v in self.params],
            "slots": [tf.convert_to_tensor(v.value) for v in self.slots],
            "batches": tf.nest.map_structure(lambda *parts: tf.stack(parts), *batches),
        }

    def unroll(self, tensors: dict) -> Unroll:
        """Return the steps as functions of their state; called while tracing."""

        def step(k, state, shift):
            batch = tf.nest.map_structure(lambda t: t[k], tensors["batches"])
            params = self._constant_but_selected(state["params"])
            at = tensors["first"] + tf.cast(k, tf.int64)
            with tf.GradientTape() as tape:
                tape.watch(params)
                forward = frozen_statistics_forward(self.model, params)
                loss = self.loss(forward, params, *batch, at)
            gradients = tape.gradient(loss, params, unconnected_gradients="zero")
            gradients = self._shifted(gradients, shift)
            slots, params = self.take(state["slots"], gradients, params)
            return {"params": params, "slots": slots}

        start = {"params": tensors["params"], "slots": tensors["slots"]}
        reached = {
            "params": [tf.convert_to_tensor(v.value) for v in self.model.trainable_variables]
        }
        return Unroll(self.count, lambda: start, step, self._flat, lambda: self._flat(reached))

    def _constant_but_selected(self, params):
        return [p if k in self.places else tf.stop_gradient(p) for k, p in enumerate(params)]

    def _flat(self, state):
        chosen = [tf.reshape(state["params"][k], [-1]) for k in self.places]
        return tf.cast(tf.concat(chosen, axis=0), self.dtype)

    def _shifted(self, gradients, shift):
        gradients = list(gradients)
        sizes = [self.params[k].value.shape.num_elements() for k in self.places]
        for k, part in zip(self.places, tf.split(shift, sizes), strict=True):
            gradients[k] += tf.cast(tf.reshape(part, gradients[k].shape), gradients[k].dtype)
        return gradients


def _copy(variable, name):
    # A Keras variable made from a tf.Variable is the same variable: copy the number.
    value = variable.numpy().copy()
    return keras.Variable(value, dtype=variable.dtype, trainable=False, name=name)
