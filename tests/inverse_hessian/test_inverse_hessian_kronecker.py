"""K-FAC and EK-FAC against matrices that are Kronecker products, and against each other."""

import numpy as np
import tensorflow as tf

from ssl_weighting.inverse_hessian import Curvature, KroneckerBlock, SolveOptions, solve

P = 12


def curvature_of(block, h):
    """The matrix h [P, P] without a ridge, and its one block."""
    return Curvature(
        size=P,
        ridge=tf.zeros([P], tf.float64),
        product=lambda x: tf.linalg.matvec(tf.constant(h), x),
        kronecker=lambda: [block],
    )


def test_kfac_is_exact_for_a_kronecker_product(rng):
    i, o = 4, 3
    a = rng.normal(size=[9, i])
    g = rng.normal(size=[9, o])
    a_factor, g_factor = a.T @ a, g.T @ g
    order = rng.permutation(i * o)  # the layer's entries lie anywhere among the parameters
    index = order.reshape(i, o)
    block = KroneckerBlock(
        tf.constant(index, tf.int32), tf.constant(a_factor), tf.constant(g_factor),
        lambda q_a, q_g: None,
    )  # fmt: skip
    h = np.zeros([P, P])
    h[np.ix_(order, order)] = np.kron(a_factor, g_factor)
    curvature = curvature_of(block, h)
    v = rng.normal(size=P)
    found = solve("kfac", curvature, tf.constant(v), SolveOptions(damping=0.7))
    np.testing.assert_allclose(found.vector, np.linalg.solve(h + 0.7 * np.eye(P), v), rtol=1e-9)
    assert found.residual < 1e-9


def test_ekfac_is_no_worse_than_kfac_elsewhere(rng):
    i, o = 4, 3
    rows = np.einsum("ni,no->nio", rng.normal(size=[30, i]), rng.normal(size=[30, o]))
    rows = rows + 0.3 * rng.normal(size=rows.shape)
    true = np.einsum("nio,njp->iojp", rows, rows).reshape(P, P)
    scale = np.trace(true)
    left = np.einsum("nio,njo->ij", rows, rows)
    right = np.einsum("nio,nip->op", rows, rows) / scale

    def moments(q_a, q_g):
        turned = np.einsum("ij,nio,op->njp", q_a.numpy(), rows, q_g.numpy())
        return tf.constant((turned**2).sum(0))

    block = KroneckerBlock(
        tf.reshape(tf.range(P), [i, o]), tf.constant(left), tf.constant(right), moments
    )
    curvature = curvature_of(block, true)
    error = {}
    for name in ("kfac", "ekfac"):
        inverse = np.stack([solve(name, curvature, tf.constant(e), SolveOptions(damping=0.5)).vector
                            for e in np.eye(P)])  # fmt: skip
        error[name] = np.linalg.norm(np.linalg.inv(inverse) - 0.5 * np.eye(P) - true)
    assert error["ekfac"] <= error["kfac"] * (1 + 1e-9)
