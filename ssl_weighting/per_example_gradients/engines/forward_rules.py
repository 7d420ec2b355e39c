"""What an operation does to pairs (x, x') of activation and tangent, one rule a kind of layer.

    affine in x, and in (K, b):                 y = layer(x; K, b)
                                                y' = layer(x'; K, b') + layer(x; K', 0)
    BatchNormalization with moving statistics:  y = s x + t
                                                y' = s x' + (s' x + t')
    anything else:                              `tf.autodiff.ForwardAccumulator`

A rule takes (run, operation, call, args, kwargs): `run.watched(nest)` and `run.of_variable` tell
tangents, `call` is the operation's own. It returns the outputs and, shaped like them, their
tangents, None for zero.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import layers


def no_rule(run, operation, call, args, kwargs):
    """Differentiate any operation, with respect to all parameters: it may read any."""
    primals, tangents = zip(*run.watched((args, kwargs)), strict=True)
    with tf.autodiff.ForwardAccumulator(list(primals), list(tangents)) as accumulator:
        outputs = call(*args, **kwargs)
    return outputs, tf.nest.map_structure(
        lambda part: accumulator.jvp(part) if tf.is_tensor(part) else None, outputs
    )


def affine(run, layer, call, args, kwargs):
    """Convolutions and Dense layers; what comes after, the activation, is differentiated apart."""
    if not _replaceable(layer, args):
        return no_rule(run, layer, call, args, kwargs)
    (x,), dx = args, run.tangent(args[0])
    kernel, dkernel = run.of_variable(layer.kernel)
    bias, dbias = (None, None) if layer.bias is None else run.of_variable(layer.bias)
    if dx is None and dkernel is None:
        return no_rule(run, layer, call, args, kwargs)

    def linear(x, kernel, bias):
        with _values(layer, kernel, bias), _attributes(layer, bias):
            return call(x, **kwargs)

    y = linear(x, kernel, bias)
    if dx is None:
        dy = linear(x, dkernel, dbias)
    else:
        dy = linear(dx, kernel, dbias)
        dy += 0 if dkernel is None else linear(x, dkernel, None)
    if layer.activation is keras.activations.linear:
        return y, dy
    run.note(y, dy)
    return no_rule(run, layer, layer.activation, (y,), {})


def batch_normalization(run, layer, call, args, kwargs):
    """BatchNormalization on the last axis, where the batch does not set its statistics."""
    if not _at_rest(layer, args, kwargs):
        return no_rule(run, layer, call, args, kwargs)
    (x,) = args

    def scale_and_shift():
        scale = tf.math.rsqrt(layer.moving_variance.value + layer.epsilon)
        scale = scale * layer.gamma.value if layer.scale else scale
        shift = -layer.moving_mean.value * scale
        return scale, shift + layer.beta.value if layer.center else shift

    (s, t), (ds, dt) = no_rule(run, layer, scale_and_shift, (), {})
    own = _plus(_times(x, ds), dt)
    dy = _plus(_times(run.tangent(x), s), own)
    if dy is dt is not None:  # one number a channel
        dy += tf.zeros_like(x)
    return x * s + t, dy


RULES = dict.fromkeys(
    # Exactly these types: a subclass may compute anything.
    (
        *(layers.Dense, layers.EinsumDense, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
        *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    ),
    affine,
) | {layers.BatchNormalization: batch_normalization}


def rule_name(layer) -> str:
    """Return which rule serves a kind of layer, in words; its options may need the accumulator."""
    rule = RULES.get(type(layer), no_rule)
    return "accumulator" if rule is no_rule else rule.__name__


def _replaceable(layer, args) -> bool:
    # The kernel may be computed (LoRA), the activation may be a layer with parameters.
    plain = isinstance(layer.kernel, keras.Variable) and callable(layer.activation)
    one_input = len(args) == 1 and tf.is_tensor(args[0])
    return plain and one_input and not isinstance(layer.activation, keras.Operation)


def _at_rest(layer, args, kwargs) -> bool:
    if len(args) != 1 or (kwargs.get("training") and layer.trainable):
        return False
    last = layer.axis in (-1, args[0].shape.rank - 1)
    return last and args[0].dtype == layer.moving_mean.value.dtype


def _values(layer, kernel, bias):
    mapping = [(layer.kernel, kernel)]
    if layer.bias is not None:  # all that Dense asks for
        mapping.append((layer.bias, tf.zeros_like(layer.bias.value) if bias is None else bias))
    return keras.StatelessScope(state_mapping=mapping)


@contextlib.contextmanager
def _attributes(layer, bias) -> Iterator[None]:
    before = {
        name: getattr(layer, name) for name in ("activation", "use_bias") if hasattr(layer, name)
    }
    changed = {"activation": None, "use_bias": bias is not None}
    try:
        for name in before:
            setattr(layer, name, changed[name])
        yield
    finally:
        for name, value in before.items():
            setattr(layer, name, value)


def _times(a, b):
    return None if a is None or b is None else a * b


def _plus(a, b):
    return a if b is None else b if a is None else a + b
