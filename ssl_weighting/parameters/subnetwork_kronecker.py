"""The Kronecker factors of a network's Gauss-Newton matrix, layer by layer (K-FAC, EK-FAC).

With the columns of S_p^(1/2) as cotangents, H is the sum over examples p and columns k of
coefficient_p g_pk g_pk^T, and the gradient of a layer y = a W is a sum over positions s of
a_ps delta_pks^T. K-FAC takes inputs and output gradients for independent of each other.
"""

from __future__ import annotations

import collections

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.inverse_hessian import DiagonalBlock, KroneckerBlock
from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients.engines.backward import backward
from ssl_weighting.per_example_gradients.rules import conv, dense, gradients_of, rule_of
from ssl_weighting.structs import QuadraticRows


def kronecker_blocks(network: Network, rows: QuadraticRows) -> list:
    """Return a `KroneckerBlock` for each Dense and Conv2D layer, a diagonal for everything else.

    One forward pass and one backward pass for each of the C classes. A layer that is called twice,
    or that shares a variable with another, gets its diagonal alone. With batch statistics the
    factors are those of `layerwise`.

    Args:
        network: p parameters; rows: P rows of one forward pass.

    Raises:
        ValueError: as in `backward`.
    """
    values, vectors = tf.linalg.eigh(rows.hessian)
    root = tf.sqrt(tf.nn.relu(values))[:, :, None] * tf.linalg.matrix_transpose(vectors)
    records, deltas = backward(network, rows.inputs, tf.unstack(root, axis=1))
    offsets = np.cumsum([0] + [shape.num_elements() for shape in network.shapes])
    index = [
        np.arange(start, stop).reshape(shape)
        for start, stop, shape in zip(offsets, offsets[1:], network.shapes, strict=False)
    ]
    reads = collections.Counter(place for record in records for place in record.places)
    blocks = []
    for k, record in enumerate(records):
        own = [delta[k] for delta in deltas]
        if _is_product(record) and all(reads[place] == 1 for place in record.places):
            blocks.append(_product_block(record, own, rows.coefficient, index))
    taken = {int(i) for block in blocks for i in block.index.flat}
    return blocks + _diagonal_blocks(records, deltas, rows.coefficient, index, taken)


def _is_product(record):
    if "kernel" not in record.names:
        return False
    if type(record.layer) is keras.layers.Conv2D:
        return rule_of(record) is conv and record.layer.groups == 1
    return rule_of(record) is dense


def _product_block(record, deltas, coefficient, index):
    a = _inputs(record)  # [P, s, i]
    places = dict(zip(record.names, record.places, strict=True))
    kernel = index[places["kernel"]]
    at = kernel.reshape([-1, kernel.shape[-1]])
    if "bias" in places:
        a = tf.concat([a, tf.ones_like(a[..., :1])], axis=-1)
        at = np.concatenate([at, index[places["bias"]][None]])
    count, positions = tf.shape(a)[0], tf.cast(tf.shape(a)[1], a.dtype)
    d = tf.stack([tf.reshape(delta, [count, -1, at.shape[1]]) for delta in deltas])  # [k, P, s, o]
    total = tf.reduce_sum(coefficient)
    left = tf.einsum("p,psi,psj->ij", coefficient, a, a) / total
    right = tf.einsum("p,kpso,kpsq->oq", coefficient, d, d) / positions

    def moments(q_a, q_g):
        turned = tf.einsum("psi,ij->psj", a, q_a), tf.einsum("kpso,oq->kpsq", d, q_g)
        gradients = tf.einsum("psi,kpso->kpio", *turned)
        return tf.einsum("p,kpio->io", coefficient, tf.square(gradients))

    return KroneckerBlock(at.astype(np.int32), left, right, moments)


def _inputs(record):
    """Return what each output position is a product of, [P, s, i]."""
    x, layer = record.args[0], record.layer
    if isinstance(layer, keras.layers.Conv2D):
        x = tf.image.extract_patches(
            x,
            [1, *layer.kernel_size, 1],
            [1, *layer.strides, 1],
            [1, *layer.dilation_rate, 1],
            layer.padding.upper(),
        )
    return tf.reshape(x, [tf.shape(x)[0], -1, x.shape[-1]])


def _diagonal_blocks(records, deltas, coefficient, index, taken):
    """The diagonal of H for every variable that no product covers."""
    squares = {}
    for each in deltas:
        gradients = {}
        for record, delta in zip(records, each, strict=True):
            for place, g in zip(record.places, gradients_of(record, delta), strict=True):
                if int(index[place].flat[0]) not in taken:
                    gradients[place] = gradients.get(place, 0) + g
        for place, g in gradients.items():
            flat = tf.reshape(g, [tf.shape(g)[0], -1])
            part = tf.einsum("p,pm->m", coefficient, tf.square(flat))
            squares[place] = squares.get(place, 0) + part
    return [
        DiagonalBlock(index[place].ravel().astype(np.int32), diagonal)
        for place, diagonal in squares.items()
    ]
