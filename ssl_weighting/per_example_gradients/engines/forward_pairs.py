"""One forward-mode pass, operation by operation: activations in pairs (x, x') with x' the tangent.

`tf.autodiff.ForwardAccumulator` can differentiate a whole model, but it finds a tangent by
transposing a gradient twice, which spreads every bias and scale over a whole activation. Here the
layers that do the work follow a rule (`dual_rules`), and the accumulator is left with the rest,
one operation at a time. Where an activation passes through anything but the operations of the
model, which only a subclassed part can do, the accumulator takes the model whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf

from ssl_weighting.models.network import replaced_calls
from ssl_weighting.per_example_gradients.engines.forward_rules import RULES, no_rule


def logits_tangent(network, inputs, vector) -> tf.Tensor:
    """Return z' = dz/dtheta . vector, the derivative of the logits along `vector`, [P, C].

    Args:
        network: `Network`; inputs: nest of [P, ...].
        vector: list of tensors shaped like the variables.
    """
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    values, vector = network.values(), [tf.convert_to_tensor(v) for v in vector]
    try:
        z, tangent = _by_rules(network, values, inputs, vector)
    except (TypeError, ValueError, LookupError, NotImplementedError, tf.errors.OpError):
        return _by_reverse_passes(network, values, inputs, vector)
    return tf.zeros_like(z) if tangent is None else tangent


def _by_rules(network, values, inputs, vector):
    """Return the logits and their tangent, None for zero."""
    run = _Run(network.variables, values, vector, inputs)
    try:
        with replaced_calls({op: run.on_pairs(op) for op in operations(network.model)}):
            z = network(values, inputs)
        return z, run.tangent(z)
    except _UnknownActivationError:
        with tf.autodiff.ForwardAccumulator(values, vector) as accumulator:
            z = network(values, inputs)
        return z, accumulator.jvp(z)


def _by_reverse_passes(network, values, inputs, vector):
    """Return z' as the gradient of u -> J^T u along `vector`: for loops, as in an LSTM.

    The accumulator has no rule for them while a function is traced.
    """
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(values)
            z = network(values, inputs)
        u = tf.zeros_like(z)
        outer.watch(u)
        found = inner.gradient(z, values, output_gradients=u, unconnected_gradients="zero")
    return outer.gradient(found, u, output_gradients=vector, unconnected_gradients="zero")


def operations(model) -> Iterator[keras.Operation]:
    """Yield the operations of a model: of functional models and Sequentials in it, their own."""
    if isinstance(model, keras.Sequential):
        parts = model.layers
    elif isinstance(model, keras.Function):
        parts = model.operations
    else:
        yield model
        return
    for part in parts:
        yield from operations(part)


class _UnknownActivationError(Exception):
    """Nothing that was watched has produced this tensor."""


class _Run:
    """The tangents of the parameters and of the activations so far, by the id of the tensor."""

    def __init__(self, variables, values, vector, inputs):
        self._parameters = list(zip(values, vector, strict=True))
        self._of_variable = dict(zip(map(id, variables), self._parameters, strict=True))
        # Each tensor is kept beside its tangent, so that its id stays its own.
        self._known = {id(part): (part, None) for part in tf.nest.flatten(inputs)}

    def tangent(self, tensor) -> tf.Tensor | None:
        """Return the tangent of an activation, None where it is zero."""
        if not (tensor.dtype.is_floating or tensor.dtype.is_complex):
            return None
        if id(tensor) not in self._known:
            raise _UnknownActivationError
        return self._known[id(tensor)][1]

    def of_variable(self, variable) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return a Keras variable's value and its tangent, None where it is not selected."""
        return self._of_variable.get(id(variable), (variable.value, None))

    def note(self, tensor, tangent) -> None:
        """Keep the tangent of an activation."""
        self._known[id(tensor)] = (tensor, tangent)

    def watched(self, nest) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Return the activations in `nest` that have tangents, with them, and the parameters."""
        tensors = {id(t): t for t in tf.nest.flatten(nest) if tf.is_tensor(t)}
        # A variable that is an argument of an operation is one of the parameters, or a constant.
        tensors = [t for t in tensors.values() if not isinstance(t, keras.Variable)]
        pairs = [(t, self.tangent(t)) for t in tensors]
        return self._parameters + [pair for pair in pairs if pair[1] is not None]

    def on_pairs(self, operation):
        """Return what stands in for `operation.call`: it notes the tangents of what it returns."""
        call = operation.call
        rule = RULES.get(type(operation), no_rule)

        def call_on_pairs(*args, **kwargs):
            outputs, tangents = rule(self, operation, call, args, kwargs)
            tf.nest.map_structure(self.note, outputs, tangents)
            return outputs

        return call_on_pairs
