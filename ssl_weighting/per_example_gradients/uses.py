"""Find what reads a parameter outside its layer: engines that go layer by layer would miss it.

These engines add up what arrives at the recorded calls of the layers that own the parameters. That
is the gradient if nothing else depends on them. Tied weights break it: an Embedding's table that
also makes the logits, a kernel that another layer reads. The check is structural. Inside the calls
of its owner each parameter becomes a constant; where the outputs still depend on it, it is used
elsewhere. Nothing is computed, so that no zero and no rounding can hide a use.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import NamedTuple

import keras
import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.observe import Reads, Record, observe


class Uses(NamedTuple):
    """Paths of selected variables that are read in other places than their layers' calls."""

    by_logits: tuple[str, ...]  # the logits depend on them there
    by_inputs: tuple[str, ...]  # what the owners are called on depends on them there
    past_keras: tuple[str, ...]  # read as the `tf.Variable` beneath, at no values but its own
    unfit: tuple[str, ...]  # layers (not variables) that return no tensor of one row an example
    by_example: tuple[tuple[int, ...], ...]  # `Record.by_example` of each call


def other_uses(network: Network, inputs) -> Uses:
    """Return the uses of the selected variables beside the calls of the layers that own them.

    The model is traced once for each network, on the shapes of `inputs` (a nest of [P, ...]), with
    another P where it takes any: what has P rows may have them for another reason.
    """
    if network not in _FOUND:
        _FOUND[network] = _uses_of(network, inputs)
    return _FOUND[network]


INSTEAD = (
    'Use engine="forward" (--per_example_engine=forward) and, in place of kfac and ekfac, '
    "--inverse_hessian=conjugate_gradient"
)
_FOUND = weakref.WeakKeyDictionary()
_EXAMPLES = 211  # of a trace: a length that no other axis is likely to have


def goes_by_layers(network: Network, inputs) -> bool:
    """Return whether all that depends on the parameters passes through calls that rules take."""
    uses = other_uses(network, inputs)
    return not uses.by_logits + uses.unfit


def refuse_other_uses(network: Network, inputs) -> None:
    """Stop what goes layer by layer where that would miss a use of a parameter.

    Raises:
        ValueError: a parameter is read outside the layer that owns it, or a layer does not return
            one tensor with a row for each example.
    """
    uses = other_uses(network, inputs)
    if uses.by_logits:
        raise ValueError(
            "Parameters must be read by the layers that own them, and nowhere else, for the "
            "engines ghost, layerwise and layerwise_vectorized and for the methods kfac and ekfac: "
            f"they go layer by layer. Received: {', '.join(uses.by_logits)}, which "
            f"{network.model.name} reads elsewhere too. {INSTEAD}"
        )
    refuse_unfit(uses.unfit)


def refuse_unfit(layers: tuple[str, ...]) -> None:
    """Stop where there are `layers` from `unfit`.

    Raises:
        ValueError: there are.
    """
    if layers:
        raise ValueError(
            f"Layer {layers[0]} must return one tensor whose first axis is that of the examples, "
            "outside of any loop or inner function, for the engines ghost, layerwise and "
            f"layerwise_vectorized and for the methods kfac and ekfac. {INSTEAD}"
        )


def unfit(records: list[Record], z: tf.Tensor) -> tuple[str, ...]:
    """Return the paths of layers that do not return one tensor with a row for each logit row."""

    def fits(output):
        here = tf.is_tensor(output) and _graph(output) is _graph(z)
        return here and output.shape[:1].as_list() == z.shape[:1].as_list()

    return tuple({r.layer.path: None for r in records if not fits(r.output)})


def refuse_reads_past_keras(network: Network, inputs) -> None:
    """Stop where no engine can follow a parameter.

    Raises:
        ValueError: the model reads the `tf.Variable` beneath a selected Keras variable.
    """
    paths = other_uses(network, inputs).past_keras
    if paths:
        raise ValueError(
            "The parameters of Eq. 6 must be read as Keras variables inside `call` "
            "(`layer.kernel`): no engine can follow a tf.Variable that was taken out of one "
            f"before (`layer.kernel.value`). Received: {', '.join(paths)} of {network.model.name}. "
            "Or leave them out (--influence_params=REGEX)"
        )


def _uses_of(network, inputs) -> Uses:
    try:
        return _trace(network, _specs(inputs, _EXAMPLES))
    except (TypeError, ValueError, LookupError, tf.errors.OpError):
        return _trace(network, _specs(inputs))  # a model of batches of one size


def _trace(network, shapes) -> Uses:
    found = []

    def run(values, inputs):
        reads = _Held(network.variables, values)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            with observe(network, reads) as records:
                z = network(values, inputs)
        beneath = _beneath(network.variables, tape)
        called_on = [part for r in records for part in tf.nest.flatten((r.args, r.kwargs))]
        called_on = [part for part in called_on if tf.is_tensor(part) and _graph(part) is z.graph]
        for targets, sources in ((z, values), (called_on, values), (z, beneath)):
            found.append(_connected(tape, targets, sources, network.variables))
        found.append(unfit(records, z))
        found.append(tuple(_by_example(r, z.shape[0]) for r in records))

    values = [tf.TensorSpec(shape, network.dtype) for shape in network.shapes]
    tf.function(run, autograph=False).get_concrete_function(values, shapes)
    return Uses(*found)


class _Held(Reads):
    """Which selected variables are constants at this point of the forward pass."""

    def __init__(self, variables, values):
        self._places = [id(v) for v in variables]
        self._values = dict(zip(self._places, values, strict=True))
        self._outside = self._values

    @contextlib.contextmanager
    def inside(self, places):
        """Hold the variables at these places, for the call of a layer that owns them."""
        before = self._values, self._outside
        held = {self._places[k]: tf.stop_gradient(self._values[self._places[k]]) for k in places}
        self._values, self._outside = self._values | held, self._values
        try:
            with _Values(self._values):
                yield
        finally:
            self._values, self._outside = before

    def outside(self):
        """Let go of what `inside` holds, for what the layer does with its outputs."""
        return _Values(self._outside)


class _Values(keras.StatelessScope):
    """A scope that reads selected variables from a dict, by id."""

    def __init__(self, values):
        super().__init__()
        self._values = values

    def get_current_value(self, variable):
        """Return what was assigned in this scope, else the value in the dict, else None."""
        assigned = super().get_current_value(variable)
        return self._values.get(id(variable)) if assigned is None else assigned


def _graph(tensor):
    return getattr(tensor, "graph", None)  # a constant that was made before has none


def _beneath(variables, tape):
    """Return for each Keras variable the `tf.Variable` that was read in its place, or None."""
    watched = {id(v) for v in tape.watched_variables()}
    beneath = []
    for variable in variables:
        own = variable.value
        parts = [own, *getattr(own, "values", ())]  # mirrored on several devices: one on each
        beneath.append(next((part for part in parts if id(part) in watched), None))
    return beneath


def _connected(tape, targets, sources, variables) -> tuple[str, ...]:
    targets = [t for t in tf.nest.flatten(targets) if t.dtype.is_floating]
    here = [k for k, source in enumerate(sources) if source is not None]
    gradients = tape.gradient(targets, [sources[k] for k in here]) if targets and here else []
    pairs = zip(here, gradients, strict=True)
    return tuple(variables[k].path for k, gradient in pairs if gradient is not None)


def _by_example(record, count):
    flat = tf.nest.flatten((record.args, record.kwargs))
    return tuple(k for k, t in enumerate(flat) if tf.is_tensor(t) and t.shape[:1] == [count])


def _specs(inputs, count=None):
    def spec(part):
        part = tf.convert_to_tensor(part)
        return tf.TensorSpec([count or part.shape[0], *part.shape[1:]], part.dtype)

    return tf.nest.map_structure(spec, inputs)
