"""--measure_noise: two halves of V score the same examples; the weights are none the wiser."""

import numpy as np
import scipy.stats
import tensorflow as tf
from tiny import make_trainer

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.structs import LabeledBatch


def trainer(measure_noise):
    return make_trainer(settings=BilevelSettings(inner_steps=3, measure_noise=measure_noise))


def test_it_changes_no_weight_and_reports_the_correlation_of_both_halves():
    measuring, plain = trainer(True), trainer(False)
    for one in (measuring, plain):
        one.train(3)
    whole, batch = measuring.validation_at(0), measuring.lambda_source.at(0)
    scores = []
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        half = LabeledBatch(*(part[rows] for part in whole))
        scores.append(measuring._lambda_step.measure(*batch, half, 3).lam_gradient.numpy())
    reports = [one.lambda_step() for one in (measuring, plain)]
    expected = scipy.stats.spearmanr(*scores).statistic
    assert abs(expected) < 1 and np.isclose(reports[0]["halves_spearman"], expected)
    assert "halves_spearman" not in reports[1]
    assert np.array_equal(measuring.store.table(), plain.store.table())


def test_equal_halves_agree():
    measuring = trainer(True)
    whole = measuring.validation_at(0)
    twice = LabeledBatch(*(tf.repeat(part, 2, axis=0) for part in whole))
    measuring.validation_at = lambda k: twice
    assert measuring.lambda_step()["halves_spearman"] > 0.999
