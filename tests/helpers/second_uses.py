"""Tiny models with a parameter that is read in two places, one model a kind.

`make(name)` returns a built float64 model with random parameters and inputs [P, ...]. `KINDS` tells
of each which variable is read outside the calls of its layer; None: every use is one of a layer
that has the variable for its own.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

CLASSES, P = 3, 4
F64 = {"dtype": "float64"}


def _dense(units, name, **options):
    return layers.Dense(units, name=name, **F64, **options)


class _Net(keras.Model):
    """below -> head, with a place for what a kind does otherwise."""

    def __init__(self):
        super().__init__(**F64)
        self.below, self.head = _dense(4, "below", activation="tanh"), _dense(CLASSES, "head")
        for layer in (self.below, self.head):
            layer.build([None, 4])

    def call(self, x):
        return self.head(self.below(x))


class TiedOutput(keras.Model):
    """The table of an Embedding makes the logits, too."""

    def __init__(self):
        super().__init__(**F64)
        self.embedding = layers.Embedding(CLASSES, 4, name="embedding", **F64)
        self.mix = _dense(4, "mix", activation="tanh")

    def call(self, ids):
        x = self.mix(ops.mean(self.embedding(ids), axis=1))
        return ops.matmul(x, ops.transpose(self.embedding.embeddings))


class ReadBelow(_Net):
    """The features depend on the head's kernel; the head's call comes after."""

    def call(self, x):
        x = self.below(x)
        return self.head(x + ops.sum(self.head.kernel, axis=1))


class ReadBehindAnother(_Net):
    """A second use of the first kernel that reaches the logits through other layers alone."""

    def call(self, x):
        return self.head(self.below(ops.tanh(ops.matmul(x, self.below.kernel))))


class TimesZero(_Net):
    """A second use that is zero at these values."""

    def call(self, x):
        return super().call(x) + 0.0 * ops.sum(self.below.kernel)


class DeadReLU(_Net):
    """A second use behind units that are off."""

    def call(self, x):
        return super().call(x) + ops.sum(ops.relu(ops.abs(self.below.kernel) * -1.0))


class BiasTwice(_Net):
    """A bias that is added at the end once more."""

    def call(self, x):
        return super().call(x) + self.head.bias


class ScaleTwice(_Net):
    """BatchNormalization's gamma as a temperature."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization(name="norm", **F64)
        self.norm.build([None, 4])

    def call(self, x):
        return self.head(self.norm(self.below(x))) * ops.mean(self.norm.gamma)


class _Block(layers.Layer):
    """A layer with a variable of its own that also reads the kernel of its sublayer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = _dense(4, "inner")

    def build(self, shape):
        self.gain = self.add_weight(shape=[4], name="gain")
        self.inner.build(shape)

    def call(self, x):
        return ops.tanh(self.inner(x) * self.gain) + ops.sum(self.inner.kernel)


class Nested(keras.Model):
    """A parent, itself an owner, reads what its child owns."""

    def __init__(self):
        super().__init__(**F64)
        self.block, self.head = _Block(name="block", **F64), _dense(CLASSES, "head")

    def call(self, x):
        return self.head(self.block(x))


def own_activation():
    """The activation of a layer reads the layer's kernel."""
    inputs = keras.Input([4], **F64)
    below = _dense(4, "below")
    below.activation = lambda x: ops.tanh(x) * ops.sum(below.kernel)
    return keras.Model(inputs, _dense(CLASSES, "head")(below(inputs)))


def operation():
    """Functional: an operation between the layers takes a layer's kernel for an argument."""
    inputs = keras.Input([4], **F64)
    below = _dense(4, "below", activation="tanh")
    x = below(inputs)
    x = ops.matmul(x, below.kernel)
    return keras.Model(inputs, _dense(CLASSES, "head")(x))


def closure():
    """Functional: a Lambda has a layer's kernel in its closure."""
    inputs = keras.Input([4], **F64)
    below = _dense(4, "below", activation="tanh")
    x = layers.Lambda(lambda x: x @ ops.transpose(below.kernel), **F64)(below(inputs))
    return keras.Model(inputs, _dense(CLASSES, "head")(x))


class _Holder(layers.Layer):
    """Has the table of another layer among its own variables."""

    def __init__(self, table, **options):
        super().__init__(**options)
        self.table = table

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.table))


def held():
    """Functional: two layers own one variable."""
    ids = keras.Input([5], dtype="int32")
    embedding = layers.Embedding(CLASSES, 4, name="embedding", **F64)
    x = ops.mean(ops.tanh(embedding(ids)), axis=1)
    return keras.Model(ids, _Holder(embedding.embeddings, name="holder", **F64)(x))


class _OneName(layers.Layer):
    """Two variables of one name."""

    def build(self, shape):
        self.first, self.second = (self.add_weight(shape=[4, 4], name="kernel") for _ in range(2))

    def call(self, x):
        return ops.tanh(ops.matmul(x, self.first)) * ops.matmul(x, self.second)


def one_name():
    """Functional: a layer whose variables share a name."""
    inputs = keras.Input([4], **F64)
    return keras.Model(inputs, _dense(CLASSES, "head")(_OneName(name="pair", **F64)(inputs)))


def called_twice():
    """Functional: one layer, called twice."""
    inputs = keras.Input([4], **F64)
    below = _dense(4, "below", activation="tanh")
    return keras.Model(inputs, _dense(CLASSES, "head")(below(below(inputs))))


def regularized():
    """Functional: penalties in `losses` of the model, which are no part of the logits."""
    inputs = keras.Input([4], **F64)
    x = _dense(4, "below", kernel_regularizer="l2", activity_regularizer="l2")(inputs)
    return keras.Model(inputs, _dense(CLASSES, "head", kernel_regularizer="l2")(x))


class FrozenTwice(_Net):
    """The second use is of a kernel that is not trained."""

    def __init__(self):
        super().__init__()
        self.below.trainable = False

    def call(self, x):
        return super().call(x) + ops.sum(self.below.kernel)


class Stopped(_Net):
    """The second use passes no gradient."""

    def call(self, x):
        return super().call(x) + tf.stop_gradient(ops.sum(self.below.kernel))


KINDS = {
    "tied_output": (TiedOutput, "embedding/embeddings"),
    "read_below": (ReadBelow, "head/kernel"),
    "read_behind_another": (ReadBehindAnother, "below/kernel"),
    "times_zero": (TimesZero, "below/kernel"),
    "dead_relu": (DeadReLU, "below/kernel"),
    "bias_twice": (BiasTwice, "head/bias"),
    "scale_twice": (ScaleTwice, "norm/gamma"),
    "nested": (Nested, "inner/kernel"),
    "own_activation": (own_activation, "below/kernel"),
    "operation": (operation, "below/kernel"),
    "closure": (closure, "below/kernel"),
    "held": (held, None),
    "one_name": (one_name, None),
    "called_twice": (called_twice, None),
    "regularized": (regularized, None),
    "frozen_twice": (FrozenTwice, None),
    "stopped": (Stopped, None),
}


def make(name):
    """Return the model called `name` and its inputs."""
    model, rng = KINDS[name][0](), np.random.default_rng(0)
    texts = name in ("tied_output", "held")
    inputs = rng.integers(0, CLASSES, [P, 5]) if texts else rng.normal(size=[P, 4])
    inputs = tf.constant(inputs, "int32" if texts else "float64")
    model(inputs)
    for variable in model.weights:
        value = rng.normal(size=variable.shape)
        variable.assign(np.exp(value / 3) if "variance" in variable.path else value)
    return model, inputs
