"""Suite augment: what is timed on either side is the same work."""

import numpy as np
import pytest
from pillow_reference import photo_tiles, to_float

from experiments.benchmarks import augment
from experiments.benchmarks.measure import Timing
from experiments.benchmarks.suite import Options


@pytest.mark.parametrize("name", ["randaugment", "ctaugment"])
def test_both_sides_make_the_same_views(name):
    images = to_float(photo_tiles(every=3))
    ours, pillow = augment.strong_views(name, images)
    np.testing.assert_array_equal(ours(), pillow())
    assert np.mean(pillow() != images) > 0.3


def test_a_batch_row_makes_fixmatch_batches():
    call = augment.cases(Options())["batch_randaugment"].make(True)
    labeled, unlabeled = call()
    assert labeled.inputs.shape == [2, 8, 8, 3] and unlabeled.strong.shape == [14, 8, 8, 3]


def test_ratios_by_hand():
    timings = {
        name: Timing(np.ones(3), np.full(3, cpu), 1, 0.0)
        for name, cpu in (("randaugment", 0.01), ("randaugment_pillow", 0.06), ("batch_x", 1.0))
    }
    timings["batch_ctaugment"] = Timing(np.ones(3), np.array([0.1, 0.02, 0.03]), 1, 0.0)
    found = augment.ratios(timings, {}, Options())
    assert found["randaugment_over_pillow"].value == pytest.approx(6)
    assert found["cores_for_5_steps_ctaugment"].value == pytest.approx(0.15)
    assert "ctaugment_over_pillow" not in found
