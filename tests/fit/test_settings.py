"""The settings of `fit` are the trainer's, by the programs' names and in their units."""

import numpy as np

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.fit.settings import settings_of
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.training.optimizers import weight_store


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
