"""The Kronecker factors of a network's layers against its dense Gauss-Newton matrix."""

import numpy as np
import pytest
import tensorflow as tf
from nets import CLASSES, make

from ssl_weighting.inverse_hessian import DiagonalBlock
from ssl_weighting.models.network import Network
from ssl_weighting.parameters.subnetwork_curvature import subnetwork_curvature
from ssl_weighting.parameters.subnetwork_kronecker import kronecker_blocks
from ssl_weighting.structs import QuadraticRows


def blocks_and_matrix(name, examples, select="all"):
    model, inputs = make(name, examples=examples)
    network = Network(model, select)
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(CLASSES), examples)
    rows = QuadraticRows(
        tf.nest.map_structure(tf.constant, inputs),
        tf.zeros([examples, CLASSES], tf.float64),
        tf.constant(rng.normal(size=[examples, CLASSES])),
        tf.constant(np.einsum("pc,cd->pcd", p, np.eye(CLASSES)) - p[:, :, None] * p[:, None]),
        tf.constant(rng.uniform(0.5, 2, examples)),
    )
    curvature = subnetwork_curvature(network, rows, tf.zeros([network.size], tf.float64))
    dense = tf.function(curvature.dense, autograph=False)  # p products, traced once
    return kronecker_blocks(network, rows), dense().numpy()


def orthogonal(rng, size):
    return tf.constant(np.linalg.qr(rng.normal(size=[size, size]))[0])


@pytest.mark.parametrize(
    ("name", "products", "diagonals"), [("mlp", 3, 0), ("conv", 4, 7), ("shared", 1, 2)]
)
def test_blocks_hold_the_true_curvature_along_any_basis(name, products, diagonals):
    blocks, h = blocks_and_matrix(name, 4)
    rng = np.random.default_rng(0)
    covered = np.concatenate([np.ravel(block.index) for block in blocks])
    assert sorted(covered) == list(range(len(h)))  # every parameter once
    found = {True: 0, False: 0}
    for block in blocks:
        index = np.ravel(block.index)
        own = h[np.ix_(index, index)]
        found[isinstance(block, DiagonalBlock)] += 1
        if isinstance(block, DiagonalBlock):
            np.testing.assert_allclose(block.diagonal, np.diag(own), rtol=1e-9, atol=1e-14)
            continue
        q_a, q_g = orthogonal(rng, len(block.a)), orthogonal(rng, len(block.g))
        basis = np.kron(q_a, q_g)
        expected = np.diag(basis.T @ own @ basis).reshape(np.shape(block.index))
        np.testing.assert_allclose(block.moments(q_a, q_g), expected, rtol=1e-8, atol=1e-14)
    assert (found[False], found[True]) == (products, diagonals)


def test_for_one_example_the_factors_of_dense_layers_are_exact():
    blocks, h = blocks_and_matrix("mlp", 1)
    for block in blocks:
        index = np.ravel(block.index)
        np.testing.assert_allclose(
            np.kron(block.a, block.g), h[np.ix_(index, index)], rtol=1e-9, atol=1e-14
        )
    assert np.abs(h).max() > 1e-3
