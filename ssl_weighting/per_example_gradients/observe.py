"""Watch the layers that own the selected parameters while the model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from ssl_weighting.models.network import Network, replaced_calls, sublayers


class Record(NamedTuple):
    """One call of one layer. A layer that is called twice in a forward has two records."""

    layer: keras.Layer
    places: tuple[int, ...]  # of the layer's selected variables in `network.variables`
    variables: tuple[keras.Variable, ...]  # these variables
    args: tuple
    kwargs: dict
    output: tf.Tensor  # of the layer
    inner: tf.Tensor  # the same before the layer's own activation
    by_example: tuple[int, ...] = ()  # which of its flattened args and kwargs have a row an example

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' own names: kernel, bias, gamma, ...; two may have the same."""
        return tuple(v.name for v in self.variables)


class Reads:
    """What surrounds the recorded calls and, in them, the activations; here nothing."""

    def inside(self, places: tuple[int, ...]):
        """Return the context of a call of a layer that owns the variables at `places`."""
        del places
        return contextlib.nullcontext()

    def outside(self):
        """Return the context of the activation of the layer that is being called."""
        return contextlib.nullcontext()


@contextlib.contextmanager
def observe(network: Network, reads: Reads | None = None) -> Iterator[list[Record]]:
    """Record every call of the layers that own a variable of `network`.

    A layer owns what none of its own sublayers owns: of a `MultiHeadAttention` the projections are
    recorded. Works in eager code and while a `tf.function` is traced.

    Args:
        network: `Network`.
        reads: contexts for the calls; None: none.

    Example:
        with observe(network) as records:
            z = network(network.values(), inputs)
    """
    records: list[Record] = []
    calls = {
        layer: _recording(layer, places, network, records, reads or Reads())
        for layer, places in owners(network).items()
    }
    with replaced_calls(calls):
        yield records


def owners(network: Network) -> dict[keras.Layer, tuple[int, ...]]:
    """Return layer -> places of its own selected variables, for every layer that has some."""
    place = {id(v): k for k, v in enumerate(network.variables)}
    found = {}
    for layer in sublayers(network.model):
        below = {id(v) for child in sublayers(layer)[1:] for v in child.trainable_variables}
        own = [place[id(v)] for v in layer.trainable_variables if id(v) in place.keys() - below]
        if own:
            found[layer] = tuple(own)
    return found


def _recording(layer, places, network, records, reads):
    call = layer.call
    variables = tuple(network.variables[k] for k in places)

    def record(*args, **kwargs):
        with reads.inside(places), _before_activation(layer, reads) as inner:
            output = call(*args, **kwargs)
        # Once, or the layer uses it in a way of its own.
        inner = inner[0] if len(inner) == 1 else output
        records.append(Record(layer, places, variables, args, kwargs, output, inner))
        return output

    return record


@contextlib.contextmanager
def _before_activation(layer, reads):
    seen, activation = [], getattr(layer, "activation", None)
    if not callable(activation):
        yield seen
        return

    def watch(x):
        seen.append(x)
        with reads.outside():
            return activation(x)

    layer.activation = watch
    try:
        yield seen
    finally:
        layer.activation = activation
