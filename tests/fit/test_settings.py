"""The settings of `fit` are the trainer's, by the programs' names and in their units."""

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.fit.settings import settings_of
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.training.optimizers import weight_store
from ssl_weighting.training.settings import TrainingSettings


def test_what_is_not_given_is_the_library_s_own():
    found = settings_of({}, seed=0)
    assert found.bilevel == BilevelSettings(inner_steps=100)
    assert found.influence == LambdaStepSettings()
    assert found.algorithm == {}


def test_numbers_mean_what_the_programs_options_mean():
    given = {"max_memory": 1.5, "hess_l2_coeff": -1.0, "solve_iterations": 7, "threshold": 0.8}
    found = settings_of(given | {"lambda_max": 2.0, "lambda_init": 0.5}, seed=3)
    assert found.influence.max_memory == 1_500_000_000  # GB
    assert found.influence.hess_l2_coeff is None
    assert (found.influence.solve.iterations, found.influence.solve.seed) == (7, 3)
    assert found.algorithm == {"threshold": 0.8}
    store = weight_store(found.weights, 4)
    assert store.lambda_max == 2.0 and np.all(store.table() == 0.5)


@pytest.mark.parametrize("optimizer", ["madam", "adam"])
@pytest.mark.parametrize(("beta1", "expected"), [(0.0, [0.8, 1.0]), (0.5, [0.8, 0.8 + 0.2 / 3])])
def test_beta_1_of_lambda_is_the_option_s(optimizer, beta1, expected):
    """An influence that turns: at beta_1 = 0 the weight goes back at once; two steps by hand."""
    settings = TrainingSettings(lambda_optimizer=optimizer, lambda_lr=0.2, madam_beta1=beta1)
    store = weight_store(settings, 1)
    for gradient, value in zip((1.0, -1.0), expected, strict=True):
        store.update(tf.constant([0], tf.int64), tf.constant([gradient]))
        assert store.table().numpy()[0] == pytest.approx(value, abs=1e-6)
