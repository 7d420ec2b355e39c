"""`Parameters`, the contract of Eq. 6's parameters, and those who keep it."""

import inspect
import math

import pytest
import tensorflow as tf

from ssl_weighting.models import mlp
from ssl_weighting.parameters import Parameters
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.structs import LabeledBatch

PUBLIC = {name: part for name, part in vars(Parameters).items() if not name.startswith("_")}


@pytest.mark.parametrize("kind", [LastLayer, Subnetwork])
def test_both_kinds_have_every_member_with_the_arguments_that_are_written_down(kind):
    made = kind(mlp(2, 2, width=4, seed=0))
    assert {"forward", "prepare", "curvature", "dot_products", "ridge", "size"} <= PUBLIC.keys()
    for name in (*PUBLIC, *inspect.get_annotations(Parameters)):
        assert hasattr(made, name), name
    for name, part in PUBLIC.items():
        if inspect.isfunction(part):
            _, *expected = inspect.signature(part).parameters
            assert list(inspect.signature(getattr(made, name)).parameters) == expected, name


@pytest.mark.parametrize("kind", [LastLayer, Subnetwork])
def test_flat_vectors_have_its_size_and_dtype(kind):
    made = kind(mlp(2, 2, width=4, seed=0))
    batch = LabeledBatch(tf.ones([3, 2]), tf.constant([0, 1, 1]))
    loss, gradient = made.validation_gradient(batch)
    assert loss.shape == [] and made.size == sum(map(math.prod, (v.shape for v in made.variables)))
    for vector in (gradient, made.ridge()):
        assert vector.shape == [made.size] and vector.dtype == made.dtype
