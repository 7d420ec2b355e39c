"""Labeled terms by inverse class frequency: numbers by hand, and scikit-learn's own."""

import numpy as np
import pytest
import tensorflow as tf
from linear_net import LABELED, STEP, UNLABELED, B, C, Net
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from experiments.options.presets import make_config
from ssl_weighting.algorithms import (
    ALGORITHMS,
    ClassBalanced,
    Oracle,
    class_weights,
    make_algorithm,
)
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.recipes import MIXING


def test_weights_are_inverse_frequencies_of_mean_one():
    labels = np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_allclose(class_weights(labels, 3), [2 / 3, 1, 2], rtol=1e-6)
    peer = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3), peer, rtol=1e-6)
    assert class_weights(labels, 3)[labels].mean() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"`class_balanced` must be false.*class \[3\]"):
        class_weights(labels, 4)


@pytest.mark.parametrize("name", sorted(ALGORITHMS.keys() - set(MIXING)))
def test_labeled_rows_alone_get_their_class_s_weight(name):
    made = make_algorithm(name, threshold=0.5, teacher=Net(), num_classes=C)
    weights = np.arange(1, C + 1, dtype=np.float32)
    plain = made(Net(), LABELED, UNLABELED, STEP)
    rows = ClassBalanced(made, weights)(Net(), LABELED, UNLABELED, STEP)
    factor = np.r_[weights[LABELED.label.numpy()], np.ones(len(plain.coefficient) - B)]
    for field in ("coefficient", "without_wu"):
        expected = getattr(plain, field).numpy() * factor
        np.testing.assert_allclose(getattr(rows, field), expected, rtol=1e-6)
    np.testing.assert_array_equal(rows.mask, plain.mask)
    assert ClassBalanced(made, weights).uses_unlabeled == made.uses_unlabeled


def test_it_goes_with_an_oracle():
    made = make_algorithm("fixmatch", threshold=0.0)
    truth = np.zeros(100, np.int64)
    alone = Oracle(made, truth)(Net(), LABELED, UNLABELED, STEP)
    both = Oracle(ClassBalanced(made, np.full(C, 2, np.float32)), truth)
    rows = both(Net(), LABELED, UNLABELED, STEP)
    np.testing.assert_array_equal(rows.mask, alone.mask)
    np.testing.assert_allclose(rows.coefficient[:B], 2 * alone.coefficient[:B], rtol=1e-6)


def test_the_minimum_is_that_of_scikit_learn(rng):
    """The rows' objective with a ridge on the kernel, minimised in float64, against a peer."""
    labels = np.r_[np.zeros(20), np.ones(6), np.full(4, 2)].astype(np.int32)
    x = rng.normal(size=(30, 2)) + labels[:, None]
    ridge, batch = 0.1, LabeledBatch(tf.constant(x), tf.constant(labels))
    algorithm = ClassBalanced(make_algorithm("supervised"), class_weights(labels, 3))

    def rows_at(theta):
        logits = tf.constant(x @ theta[:2] + theta[2], tf.float32)
        outputs = {"features": tf.constant(x, tf.float32), "logits": logits}
        return algorithm(lambda inputs, **how: outputs, batch, UNLABELED, STEP)

    coefficients = rows_at(np.zeros([3, 3])).coefficient.numpy().astype(np.float64)

    def objective(flat):
        theta = flat.reshape(3, 3)
        logits = x @ theta[:2] + theta[2]
        loss = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(30), labels]
        return coefficients @ loss + 0.5 * ridge * np.sum(theta[:2] ** 2)

    found = minimize(objective, np.zeros(9), tol=1e-10).x.reshape(3, 3)
    peer = LogisticRegression(C=1 / (30 * ridge), class_weight="balanced", tol=1e-10).fit(x, labels)
    np.testing.assert_allclose(found[:2], peer.coef_.T, atol=1e-4)


def test_mixed_rows_have_no_class():
    for name in MIXING:
        with pytest.raises(ValueError, match=rf"--class_balanced needs.*--algorithm={name}"):
            make_config(dataset="digits", algorithm=name, class_balanced=True, out="x")
