"""BERT (Devlin et al. 2019) in plain Keras layers: token ids -> pooled [CLS] -> classifier.

Post-layer-norm encoder as in Google's release and in Hugging Face's folder format. No layer of our
own is in it, so that a saved model loads anywhere and every per-example rule serves it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import keras
from keras import layers, ops

from ssl_weighting.checks import check_number
from ssl_weighting.models.split_head import split_head

STDDEV = 0.02  # of all initial kernels and embeddings
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "tanh")
POOLINGS = ("cls", "mean_query")


@dataclasses.dataclass(frozen=True)
class BertShape:
    """Sizes and constants of one BERT; the defaults are bert-base-uncased's.

    Attributes:
        activation: "gelu" is the erf form, "gelu_tanh" Google's approximation.
        dropout: of hidden states and of the pooled vector; attention_dropout: of attention weights.
    """

    vocabulary: int = 30522
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    inner_width: int = 3072
    max_length: int = 512
    num_segments: int = 2
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    epsilon: float = 1e-12

    def __post_init__(self):
        """Check the sizes, that heads divide the width and that the activation is known.

        Raises:
            ValueError: they do not fit, or it is not.
        """
        least = min(
            self.vocabulary, self.width, self.num_layers, self.inner_width, self.max_length,
            self.num_segments,
        )  # fmt: skip
        if least < 1 or not all(0 <= p < 1 for p in (self.dropout, self.attention_dropout)):
            raise ValueError(
                f"Sizes must be at least 1 and dropouts from 0 to below 1. Received: {self}"
            )
        check_number("epsilon", self.epsilon)
        if self.num_heads < 1 or self.width % self.num_heads:
            raise ValueError(
                "`width` must be a multiple of `num_heads`. Received: "
                f"width={self.width}, num_heads={self.num_heads}"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {', '.join(ACTIVATIONS)}. "
                f"Received: activation={self.activation!r}"
            )


def bert(
    shape: BertShape,
    length: int,
    num_classes: int,
    *,
    first_layer: int = 0,
    bert_pooling: str = "cls",
    reparam: str = "none",
    seed: int = 0,
    dtype: str | None = None,
) -> keras.Model:
    """Build the classifier: encoder, pooling, dropout, Dense "head".

    Layers are named embeddings_word, embeddings_position, embeddings_segment, embeddings_norm;
    layer_0_query, .._key, .._value, .._attention, .._attention_norm, .._inner, .._output,
    .._output_norm, layer_1_query and so on; pooler, head. "layer_5_|pooler|head" chooses the top of
    a net of six layers. "features" is the dropped-out pooled vector. Dropout is keyed by `seed` and
    a counter among the model's non-trainable variables, so that a restored run repeats it.

    Args:
        shape: `BertShape`.
        length: L, tokens of an input.
        num_classes: C.
        first_layer: k. 0: the model takes token ids [N, L] int32, 0 where padded. k > 0: layers k
            and up alone, on hidden states [N, L, d] float32 from `bert_lower`.
        bert_pooling: which place of the last layer is read. "cls": that of [CLS], through the tanh
            pooler, as in BERT. "mean_query": one more place, whose input is the mean of the others'
            (padding apart), without the pooler. It is for models of sentences, whose [CLS] is not
            trained, and costs as little as "cls", unlike the mean of all outputs.
        reparam: a name in `split_head.LOGIT_MAPS`: how the head's outputs become logits.
        seed: int, of initial values and dropout.
        dtype: of all layers; None: Keras' policy.

    Raises:
        ValueError: `length` or `first_layer` out of range, unknown `bert_pooling`; see also
            `split_head`.
    """
    _check(shape, length, first_layer, shape.num_layers - 1)
    if bert_pooling not in POOLINGS:
        raise ValueError(
            f"`bert_pooling` must be one of {', '.join(POOLINGS)}. Received: {bert_pooling!r}"
        )
    parts = _Parts(shape, seed, dtype)
    inputs, x, bias = parts.start(length, first_layer)
    for number in range(first_layer, shape.num_layers):
        # Only one place is read of the last layer: the others need not be computed.
        last = number == shape.num_layers - 1
        x = parts.layer(x, bias, number, parts.place(x, bias, bert_pooling) if last else x)
    pooled = layers.Flatten(dtype=dtype)(x)
    if bert_pooling == "cls":
        pooled = parts.dense(pooled, shape.width, "pooler", "tanh")
    features = parts.dropout(pooled, shape.dropout)
    return split_head(
        inputs, features, num_classes, parts.initializer(), "bert", reparam=reparam, dtype=dtype
    )


def bert_lower(
    shape: BertShape, length: int, num_layers: int, *, dtype: str | None = None
) -> keras.Model:
    """Build the embeddings and the first `num_layers` layers: ids [N, L] -> hidden states.

    Returns:
        A model of int32 [N, L] -> [N, L, d], zero vectors where padded: that is how `bert` with a
        `first_layer` knows the padding (LayerNorm gives no other zero vectors).

    Raises:
        ValueError: `length` or `num_layers` out of range.
    """
    _check(shape, length, num_layers, shape.num_layers)
    parts = _Parts(shape, 0, dtype)
    inputs, x, bias = parts.start(length, 0)
    for number in range(num_layers):
        x = parts.layer(x, bias, number, x)
    present = ops.cast(ops.expand_dims(ops.not_equal(inputs, 0), -1), x.dtype)
    return keras.Model(inputs, x * present, name="bert_lower")


def _check(shape, length, first_layer, most):
    if not 1 <= length <= shape.max_length:
        raise ValueError(
            f"`length` must be from 1 to {shape.max_length}, this BERT's positions. "
            f"Received: length={length}"
        )
    if not 0 <= first_layer <= most:
        raise ValueError(
            f"The number of frozen layers must be from 0 to {most}. Received: {first_layer} of "
            f"{shape.num_layers} layers"
        )


class _Parts:
    """The layers of one net, with its sizes and its stream of seeds."""

    def __init__(self, shape, seed, dtype):
        self.shape, self.dtype = shape, dtype
        self.seeds = itertools.count(seed * 10_000)

    def initializer(self):
        return keras.initializers.TruncatedNormal(stddev=STDDEV, seed=next(self.seeds))

    def start(self, length, first_layer):
        """Return the inputs, the hidden states before `first_layer` and the attention's bias."""
        if first_layer:
            inputs = x = keras.Input([length, self.shape.width], dtype=self.dtype or "float32")
            present = ops.any(ops.not_equal(inputs, 0), axis=-1)
        else:
            inputs = keras.Input([length], dtype="int32")
            present, x = ops.not_equal(inputs, 0), self.embed(inputs)
        bias = (1.0 - ops.cast(present, x.dtype)) * -1e9
        return inputs, x, ops.reshape(bias, [-1, 1, 1, length])

    def embed(self, ids):
        places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
        s = self.shape
        parts = [
            self.embedding(places, s.max_length, "position"),
            self.embedding(ops.zeros_like(ids), s.num_segments, "segment"),
            self.embedding(ids, s.vocabulary, "word"),
        ]
        # One reduction: TensorFlow's memory optimizer lets a chain of `+` add in the order in which
        # its terms arrive, and the same run came out in two roundings.
        x = ops.sum(ops.stack(parts), axis=0)
        return self.dropout(self.norm(x, "embeddings_norm"), s.dropout)

    def embedding(self, ids, size, kind):
        options = {"embeddings_initializer": self.initializer(), "dtype": self.dtype}
        name = f"embeddings_{kind}"
        return layers.Embedding(size, self.shape.width, name=name, **options)(ids)

    def place(self, x, bias, pooling):
        """Return the hidden state before the last layer whose place is read, [N, 1, d]."""
        if pooling == "cls":
            return x[:, :1]
        present = ops.reshape(ops.cast(ops.equal(bias, 0), x.dtype), [-1, x.shape[1], 1])
        total = ops.sum(x * present, axis=1, keepdims=True)
        return total / ops.sum(present, axis=1, keepdims=True)

    def layer(self, x, bias, number, queries):
        s, name = self.shape, f"layer_{number}"
        a = self.attention(queries, x, bias, name)
        a = self.dropout(self.dense(a, s.width, f"{name}_attention"), s.dropout)
        x = self.norm(queries + a, f"{name}_attention_norm")
        h = self.dense(x, s.inner_width, f"{name}_inner", s.activation)
        h = self.dropout(self.dense(h, s.width, f"{name}_output"), s.dropout)
        return self.norm(x + h, f"{name}_output_norm")

    def attention(self, queries, x, bias, name):
        """softmax(q k^T / sqrt(d / heads) + bias) v, all heads side by side, [N, Q, d]."""
        s = self.shape
        size = s.width // s.num_heads

        def heads(x, kind):
            y = self.dense(x, s.width, f"{name}_{kind}")
            y = ops.reshape(y, [-1, x.shape[1], s.num_heads, size])
            return ops.transpose(y, [0, 2, 1, 3])

        q, k, v = heads(queries, "query"), heads(x, "key"), heads(x, "value")
        scores = ops.matmul(q, ops.transpose(k, [0, 1, 3, 2])) * (1 / math.sqrt(size)) + bias
        weights = self.dropout(ops.softmax(scores, axis=-1), s.attention_dropout)
        mixed = ops.transpose(ops.matmul(weights, v), [0, 2, 1, 3])
        return ops.reshape(mixed, [-1, queries.shape[1], s.width])

    def dense(self, x, units, name, activation=None):
        tanh_form = activation == "gelu_tanh"
        options = {"kernel_initializer": self.initializer(), "dtype": self.dtype}
        y = layers.Dense(units, None if tanh_form else activation, name=name, **options)(x)
        return ops.gelu(y, approximate=True) if tanh_form else y

    def norm(self, x, name):
        return layers.LayerNormalization(epsilon=self.shape.epsilon, name=name, dtype=self.dtype)(x)

    def dropout(self, x, rate):
        return layers.Dropout(rate, seed=next(self.seeds), dtype=self.dtype)(x) if rate else x
