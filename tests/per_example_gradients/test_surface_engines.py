"""Whatever examples an engine is handed: right, or refused."""

import nets
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients import ENGINES, per_example_dot_products

MODEL, INPUTS = nets.make("mlp", "float64", 3)
NETWORK = Network(MODEL)
rng = np.random.default_rng(0)
VECTOR = [tf.constant(rng.normal(size=s)) for s in NETWORK.shapes]
COTANGENT = rng.normal(size=[3, nets.CLASSES])


def run(engine, x, c, v=VECTOR):
    return per_example_dot_products(NETWORK, x, c, v, engine=engine)


def by_hand(p):
    """Return g_p . v from the tape of one example."""
    values = [v.value for v in MODEL.trainable_variables]
    with tf.GradientTape() as tape:
        z = tf.reduce_sum(MODEL(INPUTS[p : p + 1]) * COTANGENT[p])
    pairs = zip(tape.gradient(z, values), VECTOR, strict=True)
    return sum(float(tf.reduce_sum(g * v)) for g, v in pairs)


@pytest.mark.parametrize("engine", ENGINES)
def test_right_at_every_size_and_beside_examples_that_are_not_finite(engine):
    expected = np.array([by_hand(p) for p in range(3)])
    for power in (0, -60, 60):  # linear in the cotangent
        found = run(engine, INPUTS, COTANGENT * 2.0**power)
        np.testing.assert_allclose(found, expected * 2.0**power, rtol=1e-10)
    for bad in (np.nan, np.inf):
        inputs, cotangent = INPUTS.copy(), COTANGENT.copy()
        inputs[1] = cotangent[1] = bad
        for pair in ((inputs, COTANGENT), (INPUTS, cotangent)):
            found = run(engine, *pair).numpy()
            np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=1e-10)
        assert not np.isfinite(found[1])
    assert run(engine, INPUTS[:0], COTANGENT[:0]).shape == (0,)


@pytest.mark.parametrize("engine", ENGINES)
def test_other_shapes_and_dtypes_are_refused(engine):
    # TensorFlow's own refusal names both shapes.
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        run(engine, INPUTS, COTANGENT[:, :1])
    for inputs, cotangent, vector in (
        (INPUTS[:2], COTANGENT, VECTOR),
        (INPUTS, COTANGENT[:1], VECTOR),
        (INPUTS, COTANGENT[:, 0], VECTOR),
        (INPUTS, COTANGENT[None], VECTOR),
        (INPUTS, COTANGENT.astype("f"), VECTOR),
        (INPUTS, COTANGENT.astype("i4"), VECTOR),
        (INPUTS[:, :2], COTANGENT, VECTOR),
        (INPUTS, COTANGENT, VECTOR[1:]),
        (INPUTS, COTANGENT, VECTOR[::-1]),
        (INPUTS, COTANGENT, [tf.cast(part, tf.float32) for part in VECTOR]),
    ):
        with pytest.raises(ValueError, match=r"must|incompatible|expected"):
            run(engine, inputs, cotangent, vector)
