"""The last layer's part of the Hessian in closed form, in every shape the methods ask for."""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.inverse_hessian import Curvature, KroneckerBlock, Unroll


class HeadRows(NamedTuple):
    """What Eq. 6 needs of a set of loss rows, in float64."""

    features: tf.Tensor  # [R, i]: phi, with a trailing 1 where the bias takes part
    gradient: tf.Tensor  # [R, c]: d loss_r / d f_r, with f the head's c outputs
    hessian: tf.Tensor  # [R, c, c]: d^2 loss_r / d f_r^2
    coefficient: tf.Tensor  # [R]: factor of loss_r in the objective, lambda included


def last_layer_curvature(
    rows: HeadRows,
    ridge: tf.Tensor,
    sample_size: int,
    *,
    positive: bool = True,
    unroll: Unroll | None = None,
) -> Curvature:
    """Return H_data = sum_r coefficient_r phi_r phi_r^T (x) d^2 loss_r/df^2 and its relatives.

    Args:
        rows: R rows.
        ridge: [p] float64; sample_size: rows of one `sampled_product`.
        positive: whether the Hessians of the rows are positive semi-definite.
        unroll: handed on.
    """
    bound = functools.partial(functools.partial, rows=rows)
    return Curvature(
        size=rows.features.shape[1] * rows.gradient.shape[1],
        ridge=ridge,
        product=bound(_product),
        dense=bound(data_hessian),
        factor=bound(_factor) if positive else None,
        factor_rows=rows.gradient.shape[0] and rows.gradient.shape[0] * rows.gradient.shape[1],
        gradients=bound(_gradients),
        sampled_product=bound(_sampled_product, size=sample_size),
        kronecker=bound(_kronecker),
        unroll=unroll,
    )


def data_hessian(rows: HeadRows) -> tf.Tensor:
    """Return H_data, [p, p] float64 with p = i * c."""
    scaled = rows.coefficient[:, None, None] * rows.hessian
    count = tf.shape(rows.features)[1] * tf.shape(scaled)[1]
    # One matrix product of [i, R] with [R, i*c*c] instead of a five-letter contraction.
    right = tf.einsum("rj,rcd->rjcd", rows.features, scaled)
    block = tf.einsum("ri,rjcd->icjd", rows.features, right)
    return tf.reshape(block, [count, count])


def _product(x, rows):
    x = tf.reshape(x, [rows.features.shape[1], -1])
    z = tf.einsum("rcd,rd->rc", rows.hessian, tf.matmul(rows.features, x))
    return tf.reshape(
        tf.matmul(rows.features, rows.coefficient[:, None] * z, transpose_a=True), [-1]
    )


def _factor(rows):
    root = _square_root(rows.hessian) * tf.sqrt(rows.coefficient)[:, None, None]
    a = tf.einsum("rkc,ri->rkic", root, rows.features)
    return tf.reshape(a, [-1, rows.features.shape[1] * rows.gradient.shape[1]])


def _square_root(hessian):
    # Rounding leaves eigenvalues a little below zero.
    values, vectors = tf.linalg.eigh(hessian)
    return tf.sqrt(tf.nn.relu(values))[:, :, None] * tf.linalg.matrix_transpose(vectors)


def _gradients(rows):
    g = tf.einsum("ri,rc->ric", rows.features, rows.gradient)
    return tf.reshape(g, [-1, rows.features.shape[1] * rows.gradient.shape[1]]), rows.coefficient


def _sampled_product(k, x, rows, size):
    count = tf.shape(rows.coefficient)[0]
    key = tf.stack([tf.cast(k, tf.int64), tf.constant(17, tf.int64)])
    chosen = tf.random.stateless_uniform([size], key, maxval=count, dtype=tf.int32, alg="philox")
    sample = HeadRows(*(tf.gather(part, chosen) for part in rows))
    scale = tf.cast(count, tf.float64) / size
    return _product(x, sample._replace(coefficient=sample.coefficient * scale))


def _kronecker(rows):
    """One block: sum_r c_r phi phi^T (x) the mean of d^2 loss/df^2 with weights c_r."""
    c = rows.coefficient
    a = tf.einsum("r,ri,rj->ij", c, rows.features, rows.features)
    g = tf.math.divide_no_nan(tf.einsum("r,rcd->cd", c, rows.hessian), tf.reduce_sum(c))
    shape = [rows.features.shape[1], rows.gradient.shape[1]]
    index = tf.reshape(tf.range(shape[0] * shape[1]), shape)

    def moments(q_a, q_g):
        turned = tf.square(tf.matmul(rows.features, q_a))
        along = tf.einsum("co,rcd,do->ro", q_g, rows.hessian, q_g)
        return tf.einsum("r,ri,ro->io", c, turned, along)

    return [KroneckerBlock(index, a, g, moments)]
