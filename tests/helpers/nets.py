"""Tiny Keras models, one a kind of architecture, for tests of the influence engine.

`make(name, dtype, examples)` returns a built model and inputs of that many examples. Every model
has three logits and activations without kinks, and its BatchNormalization statistics are moved
away from 0 and 1, so that a rule that forgets one of them is found out.
"""

import keras
import numpy as np
from keras import layers

CLASSES = 3


def mlp(dtype):
    """Functional: two hidden Dense layers and a head."""
    x = inputs = keras.Input([4], dtype=dtype)
    x = layers.Dense(5, "tanh", dtype=dtype, name="first")(x)
    x = layers.Dense(4, "tanh", dtype=dtype, use_bias=False, name="second")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, dtype=dtype, name="head")(x))


def conv(dtype):
    """Functional: strides, both paddings, dilation, groups, depthwise, BatchNormalization."""
    x = inputs = keras.Input([6, 6, 2], dtype=dtype)
    # Eight: for fewer, oneDNN held to AVX2 gives a wrong gradient of the shortcut's kernel.
    x = layers.Conv2D(8, 3, padding="same", dtype=dtype, name="stem")(x)
    x = layers.BatchNormalization(dtype=dtype, name="norm_1", momentum=0.7)(x)
    x = layers.Activation("tanh", dtype=dtype)(x)
    shortcut = layers.Conv2D(4, 1, strides=2, use_bias=False, dtype=dtype, name="shortcut")(x)
    x = layers.Conv2D(4, 3, strides=2, padding="same", groups=2, dtype=dtype, name="groups")(x)
    x = layers.Add(dtype=dtype)([x, shortcut])
    x = layers.DepthwiseConv2D(
        2, padding="same", depth_multiplier=2, dtype=dtype, name="depthwise"
    )(x)
    x = layers.BatchNormalization(dtype=dtype, name="norm_2", scale=False)(x)
    x = layers.Conv2D(3, 2, dilation_rate=2, activation="tanh", dtype=dtype, name="dilated")(x)
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, dtype=dtype, name="head")(x))


class _Block(layers.Layer):
    """A layer with sublayers in a list and a parameter of its own."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(width, "tanh", dtype=kwargs["dtype"]) for _ in range(2)]

    def build(self, shape):
        self.gain = self.add_weight(shape=[shape[-1]], initializer="ones", name="gain")
        for part in self.parts:
            part.build(shape)
            shape = part.compute_output_shape(shape)

    def call(self, x):
        for part in self.parts:
            x = part(x) * self.gain
        return x


class Subclassed(keras.Model):
    """Returns a dict; blocks in a dict; dropout and BatchNormalization told by `training`."""

    def __init__(self, dtype):
        super().__init__(dtype=dtype)
        self.blocks = {"a": _Block(4, dtype=dtype, name="block")}
        self.norm = layers.BatchNormalization(dtype=dtype, name="norm")
        self.dropout = layers.Dropout(0.5, dtype=dtype)
        self.head = layers.Dense(CLASSES, dtype=dtype, name="head")

    def call(self, x, training=None):
        x = self.dropout(self.norm(self.blocks["a"](x), training=training), training=training)
        return {"logits": self.head(x), "features": x}


def subclassed(dtype):
    """Subclassed model, built by a call."""
    model = Subclassed(dtype)
    model(np.zeros([1, 4], dtype))
    return model


def shared(dtype):
    """Functional: one Dense layer used twice in a forward."""
    x = inputs = keras.Input([4], dtype=dtype)
    twice = layers.Dense(4, "tanh", dtype=dtype, name="twice")
    x = twice(layers.Rescaling(0.5, dtype=dtype)(twice(x)))
    return keras.Model(inputs, layers.Dense(CLASSES, dtype=dtype, name="head")(x))


def attention(dtype):
    """Functional on {"ids", "mask"}: Embedding, masked MultiHeadAttention, LayerNormalization."""
    ids = keras.Input([5], dtype="int32", name="ids")
    mask = keras.Input([5], dtype="bool", name="mask")
    x = layers.Embedding(7, 4, dtype=dtype, name="embedding")(ids)
    attend = layers.MultiHeadAttention(2, 3, dtype=dtype, name="attention")
    x = x + attend(x, x, attention_mask=keras.ops.expand_dims(mask, 1))
    x = layers.LayerNormalization(dtype=dtype, name="norm")(x)
    x = layers.Dense(4, "gelu", dtype=dtype, name="feed_forward")(x)
    x = layers.GlobalAveragePooling1D(dtype=dtype)(x)
    return keras.Model(
        {"ids": ids, "mask": mask}, layers.Dense(CLASSES, dtype=dtype, name="head")(x)
    )


MODELS = {
    "mlp": mlp,
    "conv": conv,
    "subclassed": subclassed,
    "shared": shared,
    "attention": attention,
}
WITH_BATCH_NORM = ("conv", "subclassed")


def make(name: str, dtype: str = "float64", examples: int = 5, seed: int = 0):
    """Return the named model with random parameters and statistics, and inputs [examples, ...]."""
    model = MODELS[name](dtype)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed" in variable.path:
            continue
        noise = rng.normal(0, 0.3, variable.shape)
        value = noise / np.sqrt(max(1, np.prod(variable.shape[:-1]) / 4))
        if "variance" in variable.path or "gamma" in variable.path or "gain" in variable.path:
            value = np.exp(noise)
        variable.assign(value.astype(dtype))
    return model, inputs_of(name, dtype, examples, rng)


def inputs_of(name: str, dtype: str, examples: int, rng):
    """Return random inputs [examples, ...] for the named model."""
    if name == "attention":
        mask = rng.random([examples, 5]) < 0.7
        mask[:, 0] = True  # every example attends to something
        return {"ids": rng.integers(0, 7, [examples, 5]).astype("int32"), "mask": mask}
    shape = [6, 6, 2] if name == "conv" else [4]
    return rng.normal(size=[examples, *shape]).astype(dtype)
