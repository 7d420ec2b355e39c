"""A Keras model as a pure function of a chosen part of its parameters.

All that this package and the curvatures ask of a network goes through this file: which variables
are selected, their values as tensors that can be watched, and the logits at other values.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

import keras
import tensorflow as tf

BATCH_NORM_MODES = ("moving", "batch")


class Network:
    """Logits z(theta, inputs) of a built Keras model, with theta the selected parameters.

    Works eagerly, inside `tf.function`, `tf.while_loop` and `tf.vectorized_map`, and under
    `tf.GradientTape` and `tf.autodiff.ForwardAccumulator`. Nothing it does moves the statistics of
    BatchNormalization or any other state of the model.

    Args:
        model: a built `keras.Model` or `keras.Layer`, functional or subclassed.
        influence_params: "all", "last_layer" (the trainable variables that share the path of the
            last one up to its last "/"), or a regular expression that `re.search` must find in the
            path of a trainable variable. Keras numbers unnamed layers per process ("conv2d_7"):
            name the layers that an expression is to find.
        batch_norm: "moving" uses the moving statistics; "batch" those of the batch at hand, in
            trainable BatchNormalization layers only (dropout stays off).
        output: picks the logits out of what the model returns; None: its output, or the entry
            "logits" where it returns a dict.

    Attributes:
        variables: the selected Keras variables, in the order of `model.trainable_variables`.
        shapes: their `tf.TensorShape`s. size: p, the number of their entries.
        dtype: their common dtype, a name.

    Raises:
        ValueError: the model is not built, `influence_params` is no regular expression or finds
            nothing, the dtypes differ, or `batch_norm` is unknown.
    """

    def __init__(
        self,
        model: keras.Layer,
        influence_params: str = "all",
        *,
        batch_norm: str = "moving",
        output: Callable | None = None,
    ):
        if not model.built:
            raise ValueError(
                "`model` must be built: call it once on a batch, or give it an input shape. "
                f"Received: {model.name}"
            )
        if batch_norm not in BATCH_NORM_MODES:
            raise ValueError(
                f"`batch_norm` must be one of {', '.join(BATCH_NORM_MODES)}. "
                f"Received: {batch_norm!r}"
            )
        self.model, self.batch_norm, self._output = model, batch_norm, output
        self.variables = _select(model.trainable_variables, influence_params)
        self.shapes = [tf.TensorShape(v.shape) for v in self.variables]
        self.size = sum(shape.num_elements() for shape in self.shapes)
        self.dtype = _common_dtype(self.variables)
        norm = keras.layers.BatchNormalization
        self._batch_norm_layers = [part for part in sublayers(model) if isinstance(part, norm)]

    @property
    def ties_examples(self) -> bool:
        """Whether the logits of one example depend on the other examples of its batch."""
        return self.batch_norm == "batch" and any(
            part.trainable for part in self._batch_norm_layers
        )

    def values(self) -> list[tf.Tensor]:
        """Return the current values of the selected variables."""
        return [tf.convert_to_tensor(v.value) for v in self.variables]

    def flatten(self, tensors: list[tf.Tensor]) -> tf.Tensor:
        """Join tensors shaped like the variables to one [p]."""
        return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)

    def unflatten(self, flat: tf.Tensor) -> list[tf.Tensor]:
        """Split [p] into tensors shaped like the variables."""
        parts = tf.split(flat, [shape.num_elements() for shape in self.shapes])
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def outputs(self, values: list[tf.Tensor], inputs):
        """Return whatever the model returns on `inputs` [P, ...] at `values`."""
        mapping = zip(self.variables, values, strict=True)
        with self._statistics(), keras.StatelessScope(state_mapping=mapping):
            return self.model(inputs, training=False)

    def __call__(self, values: list[tf.Tensor], inputs) -> tf.Tensor:
        """Return the logits [P, C] on `inputs` (a nest of [P, ...]) at `values`.

        Raises:
            ValueError: what `output` picks is not one [P, C] tensor.
        """
        result = self.outputs(values, inputs)
        if self._output is not None:
            result = self._output(result)
        elif isinstance(result, Mapping) and "logits" in result:
            result = result["logits"]
        if not tf.is_tensor(result) or result.shape.rank not in (2, None):
            raise ValueError(
                "`output` must pick one [P, C] tensor out of what the model returns, for example "
                'output=lambda out: out["scores"]. Received: '
                f"{tf.nest.map_structure(lambda t: getattr(t, 'shape', t), result)}"
            )
        return result

    def _statistics(self):
        # BatchNormalization alone is told that it trains, for the length of one call.
        layers = self._batch_norm_layers if self.batch_norm == "batch" else []
        return replaced_calls({layer: _training(layer.call) for layer in layers})


def named_outputs(outputs) -> Mapping[str, tf.Tensor]:
    """Return what a model returns by name; what is no dict are its "logits"."""
    return outputs if isinstance(outputs, Mapping) else {"logits": outputs}


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """Return `layer` and the layers that it holds at any depth, each once, in order of attributes.

    They are looked for among the attributes of each layer, inside lists, tuples and dicts too.
    """
    found: dict[int, keras.Layer] = {}
    stack: list = [layer]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, keras.Layer):
            found[id(item)] = item
            stack.extend(reversed(list(vars(item).values())))
        elif isinstance(item, dict):
            stack.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            stack.extend(reversed(item))
    return list(found.values())


@contextlib.contextmanager
def replaced_calls(calls: dict[keras.Layer, Callable]) -> Iterator[None]:
    """Let each layer run another function as its `call`, for the length of a with-statement."""
    own = {layer: vars(layer)["call"] for layer in calls if "call" in vars(layer)}
    for layer, call in calls.items():
        layer.call = call
    try:
        yield
    finally:
        for layer in calls:
            if layer in own:  # replaced on this instance by someone else before
                layer.call = own[layer]
            else:
                del layer.call


def _training(call):
    def call_in_training(*args, **kwargs):
        return call(*args, **{**kwargs, "training": True})

    return call_in_training


def _select(variables, influence_params: str) -> list:
    if influence_params == "all":
        chosen = list(variables)
    elif influence_params == "last_layer":
        chosen = [v for v in variables if _layer_path(v) == _layer_path(variables[-1])]
    else:
        try:
            pattern = re.compile(influence_params)
        except (re.error, TypeError) as error:
            raise ValueError(
                '`influence_params` must be "all", "last_layer" or a regular expression. '
                f"Received: {influence_params!r} ({error})"
            ) from error
        chosen = [v for v in variables if pattern.search(v.path)]
    if not chosen:
        paths = ", ".join(v.path for v in variables) or "none"
        raise ValueError(
            "`influence_params` must find a trainable variable of the model. "
            f"Received: {influence_params!r}. Their paths: {paths}"
        )
    return chosen


def _layer_path(variable) -> str:
    return variable.path.rpartition("/")[0]


def _common_dtype(variables) -> str:
    dtypes = sorted({keras.backend.standardize_dtype(v.dtype) for v in variables})
    if len(dtypes) > 1:
        raise ValueError(
            f"`influence_params` must find variables of one dtype. Received: {', '.join(dtypes)}"
        )
    return dtypes[0]
