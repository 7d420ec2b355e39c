"""The objective and the base algorithms' rows against hand-worked numbers."""

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.algorithms import UDA, FixMatch, PseudoLabel, Supervised, make_algorithm
from ssl_weighting.structs import LabeledBatch, LossRows, UnlabeledBatch

# Logits are the inputs themselves, so every number below can be worked by hand.
LABELED = LabeledBatch(tf.constant([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), tf.constant([0, 2]))
WEAK = np.array([[5.0, 0.0, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 9.0], [0.0, 3.0, 0.0]], "f")
STRONG = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0], [1.0, 1.0, 1.0], [0.0, 0.0, 4.0]], "f")
UNLABELED = UnlabeledBatch(
    tf.constant([7, 3, 3, 0], tf.int64), tf.constant(WEAK), tf.constant(STRONG)
)
STEP = tf.constant(5, tf.int64)


def forward(inputs):
    return {"features": inputs[:, :2], "logits": inputs}


def log_softmax(z):
    z = np.asarray(z, np.float64)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


SUPERVISED = -np.array([log_softmax([2, 0, 0])[0], log_softmax([0, 1, 0])[2]])


def check_labeled_rows(rows):
    np.testing.assert_allclose(rows.loss[:2], SUPERVISED, rtol=1e-6)
    assert rows.coefficient[:2].numpy().tolist() == [0.5, 0.5]
    assert rows.mask[:2].numpy().tolist() == [1, 1]
    assert (rows.ids[:2] == -1).numpy().all()


def test_supervised_rows():
    rows = Supervised()(forward, LABELED, None, STEP)
    check_labeled_rows(rows)
    assert rows.loss.shape == [2]


def test_fixmatch_rows():
    rows = FixMatch(threshold=0.9, wu=2.0)(forward, LABELED, UNLABELED, STEP)
    check_labeled_rows(rows)
    p = log_softmax(STRONG)
    expected = -p[np.arange(4), [0, 1, 2, 1]]
    np.testing.assert_allclose(rows.loss[2:], expected, rtol=1e-5)
    # max softmax: e^5/(e^5+2) = 0.987, 0.367, 0.9998, e^3/(e^3+2) = 0.909
    assert rows.mask[2:].numpy().tolist() == [1, 0, 1, 1]
    np.testing.assert_allclose(rows.confidence[2, 0], np.exp(5) / (np.exp(5) + 2), rtol=1e-6)
    assert rows.coefficient[2:].numpy().tolist() == [0.5] * 4
    assert rows.ids[2:, 0].numpy().tolist() == [7, 3, 3, 0]
    np.testing.assert_array_equal(rows.logits[2:], STRONG)


def test_fixmatch_threshold_is_inclusive_and_uda_is_strict():
    half = UNLABELED._replace(weak=tf.constant([[0.0, 0.0]]), strong=tf.constant([[0.0, 1.0]]))
    half = half._replace(ids=tf.constant([0], tf.int64))
    labeled = LabeledBatch(tf.constant([[0.0, 0.0]]), tf.constant([0]))
    assert FixMatch(threshold=0.5)(forward, labeled, half, STEP).mask[1] == 1
    assert UDA(threshold=0.5)(forward, labeled, half, STEP).mask[1] == 0


def test_uda_rows():
    rows = UDA(threshold=0.9, temperature=0.5)(forward, LABELED, UNLABELED, STEP)
    check_labeled_rows(rows)
    q, p = log_softmax(WEAK / 0.5), log_softmax(STRONG)
    np.testing.assert_allclose(rows.loss[2:], (np.exp(q) * (q - p)).sum(1), rtol=1e-4)
    assert rows.mask[2:].numpy().tolist() == [1, 0, 1, 1]  # on the un-tempered softmax


def test_pseudo_label_rows_use_one_view_and_a_ramp():
    rows = PseudoLabel(threshold=0.9, ramp_steps=20)(forward, LABELED, UNLABELED, STEP)
    check_labeled_rows(rows)
    np.testing.assert_allclose(rows.loss[2:], -log_softmax(WEAK).max(1), atol=1e-6)
    np.testing.assert_allclose(rows.coefficient[2:], 5 / 20 / 4)


@pytest.mark.parametrize("name", ["fixmatch", "uda", "pseudo_label"])
def test_targets_and_masks_carry_no_gradient(name):
    weak = tf.constant(WEAK)
    algorithm = make_algorithm(name, threshold=0.0)
    with tf.GradientTape() as tape:
        tape.watch(weak)
        rows = algorithm(forward, LABELED, UNLABELED._replace(weak=weak), STEP)
        total = tf.reduce_sum(rows.loss[2:] * rows.mask[2:])
    gradient = tape.gradient(total, weak)
    if name == "pseudo_label":  # the loss reads the same view: p - one-hot
        expected = np.exp(log_softmax(WEAK)) - np.eye(3)[WEAK.argmax(1)]
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
    else:
        assert gradient is None or not tf.reduce_any(gradient != 0)


def mixed_rows():
    """Rows with two parents, as MixUp makes them."""
    return LossRows(
        loss=tf.constant([1.0, 2.0, 4.0]),
        coefficient=tf.constant([1.0, 0.5, 0.5]),
        mask=tf.constant([1.0, 1.0, 0.0]),
        ids=tf.constant([[-1, -1], [4, -1], [4, 5]], tf.int64),
        share=tf.constant([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]]),
        features=tf.zeros([3, 1]),
        logits=tf.zeros([3, 2]),
        loss_of_logits=lambda z: tf.zeros(3),
        confidence=tf.ones([3, 2]),
    )


def test_weights_of_mixed_rows_by_hand():
    lam = tf.constant([[1.0, 1.0], [3.0, 1.0], [3.0, 7.0]])
    weights = objective.row_weights(mixed_rows(), lam)
    assert weights.numpy().tolist() == [1.0, 2.5, 5.0]
    # 1*1*1 + 0.5*2.5*2 + masked
    assert float(objective.weighted_objective(mixed_rows(), weights)) == 3.5


@pytest.mark.parametrize("name", ["fixmatch", "uda", "pseudo_label"])
def test_weights_of_one_are_the_base_algorithm_bit_for_bit(name):
    rows = make_algorithm(name, threshold=0.3)(forward, LABELED, UNLABELED, STEP)
    weighted = objective.weighted_objective(rows, objective.row_weights(rows, tf.ones([6, 2])))
    base = objective.weighted_objective(rows, None)
    assert weighted.numpy().tobytes() == base.numpy().tobytes()
    by_hand = float(np.mean(rows.loss[:2]) + np.mean(rows.mask[2:] * rows.loss[2:]))
    np.testing.assert_allclose(base, by_hand, rtol=1e-6)


def test_l2_penalty_is_half_the_sum_of_squares():
    kernels = [tf.Variable([[1.0, 2.0]]), tf.Variable([3.0])]
    assert float(objective.l2_penalty(kernels)) == 7.0


def test_unknown_algorithm_lists_the_known():
    with pytest.raises(
        ValueError, match="supervised, pseudo_label, vat, mean_teacher, mixmatch, uda, remixmatch"
    ):
        make_algorithm("fixmach")


def test_a_setting_that_no_algorithm_has_is_refused():
    with pytest.raises(ValueError, match=r"`settings` must be among .*, wu, xi. .*\['treshold'\]"):
        make_algorithm("fixmatch", treshold=0.9)
    assert make_algorithm("fixmatch", vat_epsilon=3.0) == make_algorithm("fixmatch")
