"""UDA's loss on texts, two classes, worked by hand: annealing, KL, temperature, mask."""

import numpy as np
import pytest
import tensorflow as tf
from ssl_weighting_upstream.uda_tsa import tsa_threshold

from ssl_weighting.algorithms import FixMatch, PseudoLabel
from ssl_weighting.algorithms.uda import UDA
from ssl_weighting.objective import weighted_objective
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

# Token 1, 2, ...: the probability of class 0 that this net gives to a text of that one token.
P = {1: 0.8, 2: 0.6, 3: 0.9, 4: 0.6, 5: 0.5}
LABELED = LabeledBatch(tf.constant([[1], [2]]), tf.constant([0, 1]))  # right: 0.8 and 0.4
UNLABELED = UnlabeledBatch(
    tf.constant([7, 3], tf.int64), tf.constant([[3], [5]]), tf.constant([[4], [5]])
)
KL = 0.226289  # 0.9 ln(0.9 / 0.6) + 0.1 ln(0.1 / 0.4)


def forward(tokens, **_):
    assert tokens.dtype == tf.int32
    p = tf.constant([0.5, *P.values()])
    z = tf.math.log(tf.gather(p, tokens[:, 0]) / (1 - tf.gather(p, tokens[:, 0])))
    return {"features": z[:, None], "logits": tf.stack([z / 2, -z / 2], axis=1)}


def loss_of(algorithm, step=2):
    rows = algorithm(forward, LABELED, UNLABELED, tf.constant(step, tf.int64))
    assert rows.ids[:, 0].numpy().tolist() == [-1, -1, 7, 3]
    return float(weighted_objective(rows, None)), rows


def test_thresholds_of_two_classes():
    for schedule, expected in (("linear", 0.6), ("log", 0.8160603), ("exp", 0.5091578)):
        assert float(tsa_threshold(schedule, tf.constant(2), 10, 2)) == pytest.approx(expected)
        assert float(tsa_threshold(schedule, tf.constant(10), 10, 2)) > 0.99
    assert float(tsa_threshold("linear", tf.constant(0), 10, 2)) == 0.5


@pytest.mark.parametrize(
    ("options", "step", "labeled"),
    [
        ({}, 2, (-np.log(0.8) - np.log(0.4)) / 2),
        ({"tsa": "linear"}, 2, -np.log(0.4)),  # 0.8 is above 0.6: it teaches no more
        ({"tsa": "linear"}, 0, -np.log(0.4)),
        ({"tsa": "log"}, 2, (-np.log(0.8) - np.log(0.4)) / 2),  # both below 0.816
        ({"tsa": "exp"}, 2, -np.log(0.4)),
    ],
)
def test_labeled_loss_is_the_mean_over_those_that_teach(options, step, labeled):
    loss, _ = loss_of(UDA(num_steps=10, **options), step)
    assert loss == pytest.approx(labeled + KL / 2, rel=1e-5)


def test_no_labeled_example_teaches_when_all_are_sure():
    sure = LABELED._replace(inputs=tf.constant([[1], [1]]), label=tf.constant([0, 0]))
    rows = UDA(tsa="linear", num_steps=10)(forward, sure, UNLABELED, tf.constant(0, tf.int64))
    assert float(weighted_objective(rows, None)) == pytest.approx(KL / 2, rel=1e-5)


def test_temperature_sharpens_the_target_alone():
    # (0.9, 0.1) squared and normalised: (0.9878049, 0.0121951); (0.5, 0.5) stays.
    loss, _ = loss_of(UDA(temperature=0.5))
    labeled = (-np.log(0.8) - np.log(0.4)) / 2
    assert loss - labeled == pytest.approx(0.449910 / 2, rel=1e-4)


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 1), (0.85, 1), (0.95, 0)])
def test_the_mask_is_of_the_original_and_the_mean_over_all(threshold, kept):
    loss, rows = loss_of(UDA(threshold=threshold))
    labeled = (-np.log(0.8) - np.log(0.4)) / 2
    assert loss == pytest.approx(labeled + kept * KL / 2, rel=1e-5)
    assert rows.mask.numpy()[2] == kept


def test_at_the_threshold_is_not_above_it():
    _, rows = loss_of(UDA(threshold=0.5))
    assert rows.mask.numpy().tolist() == [1, 1, 1, 0]


def test_fixmatch_and_pseudo_label_take_tokens():
    labeled = (-np.log(0.8) - np.log(0.4)) / 2
    loss, _ = loss_of(FixMatch(threshold=0.85))
    assert loss == pytest.approx(labeled - np.log(0.6) / 2, rel=1e-5)
    loss, _ = loss_of(PseudoLabel(threshold=0.85, ramp_steps=0))
    assert loss == pytest.approx(labeled - np.log(0.9) / 2, rel=1e-5)
