"""The toy sets: sizes, balance, geometry, and that the seed alone decides."""

import numpy as np
import pytest

from ssl_weighting.data.synthetic import NAMES, SyntheticConfig, load_synthetic

PARTS = ("labeled", "unlabeled", "validation", "test")


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_the_papers_and_classes_are_balanced(name):
    splits = load_synthetic(SyntheticConfig(name))
    assert [len(getattr(splits, part)) for part in PARTS] == [10, 1000, 30, 10_000]
    for part in PARTS:
        examples = getattr(splits, part)
        assert examples.inputs.shape == (len(examples), 2)
        assert np.bincount(examples.labels).tolist() == [len(examples) // 2] * 2
    assert name in splits.source
    assert splits.class_names == ("0", "1")


@pytest.mark.parametrize("name", NAMES)
def test_no_point_is_in_two_parts(name):
    splits = load_synthetic(SyntheticConfig(name, num_test=200))
    points = np.concatenate([getattr(splits, part).inputs for part in PARTS])
    assert len(np.unique(points, axis=0)) == len(points)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_everything(name):
    same = [load_synthetic(SyntheticConfig(name, seed=3)).split_hash for _ in range(2)]
    other = load_synthetic(SyntheticConfig(name, seed=4))
    assert same[0] == same[1] != other.split_hash


@pytest.mark.parametrize("name", NAMES)
def test_scale_multiplies_the_coordinates(name):
    plain, scaled = (load_synthetic(SyntheticConfig(name, scale=s, seed=1)) for s in (1.0, 3.0))
    np.testing.assert_allclose(scaled.test.inputs, 3 * plain.test.inputs, rtol=1e-6)


def test_linear_classes_are_apart_by_the_margin():
    test = load_synthetic(SyntheticConfig("linear", noise=0.5)).test
    distance = test.inputs.sum(1) / np.sqrt(2)
    np.testing.assert_array_equal(distance > 0, test.labels == 1)
    # |N(0, noise)| beyond a margin of 0.1: mean 0.1 + noise sqrt(2 / pi).
    assert np.abs(distance).min() > 0.0999
    assert np.abs(distance).mean() == pytest.approx(0.1 + 0.5 * np.sqrt(2 / np.pi), rel=0.02)


def test_circles_have_the_stated_radii_and_noise():
    test = load_synthetic(SyntheticConfig("circles", noise=0.05)).test
    radius = np.hypot(*test.inputs.T)
    for label, expected in ((0, 1.0), (1, 0.5)):
        assert radius[test.labels == label].mean() == pytest.approx(expected, abs=0.01)
        assert radius[test.labels == label].std() == pytest.approx(0.05, rel=0.05)


def test_moons_without_noise_lie_on_two_half_circles():
    test = load_synthetic(SyntheticConfig("moons", noise=0.0)).test
    upper, lower = (test.inputs[test.labels == c].astype(np.float64) for c in (0, 1))
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1.0, 0.5]).T), 1, atol=1e-6)
    assert upper[:, 1].min() > -1e-6
    assert lower[:, 1].max() < 0.5 + 1e-6


def test_labeled_points_are_a_random_choice_of_the_curve():
    """Evenly spaced points would leave no gap larger than a fifth of the circle."""
    gaps = []
    for seed in range(20):
        labeled = load_synthetic(SyntheticConfig("circles", seed=seed, num_test=2)).labeled
        outer = labeled.inputs[labeled.labels == 0]
        angles = np.sort(np.arctan2(*outer.T))
        gaps.append(np.diff(angles, append=angles[0] + 2 * np.pi).max())
    assert np.mean(gaps) > 0.35 * 2 * np.pi


def test_odd_sizes_and_no_validation_set_are_fine():
    splits = load_synthetic(
        SyntheticConfig("moons", num_labeled=3, val_size=0, num_unlabeled=5, num_test=7)
    )
    assert [len(getattr(splits, part)) for part in PARTS] == [3, 5, 0, 7]
    assert np.bincount(splits.labeled.labels).tolist() == [2, 1]


def test_ids_tell_nothing_about_classes():
    labels = load_synthetic(SyntheticConfig("moons")).unlabeled.labels
    assert abs(np.corrcoef(np.arange(1000), labels)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "spiral"}, r"`name` must be one of linear, circles, moons.* name='spiral'"),
        ({"num_labeled": 1}, r"`num_labeled` must be at least 2. Received: num_labeled=1"),
        ({"val_size": -1}, r"`val_size` must be at least 0. Received: val_size=-1"),
        ({"num_unlabeled": 0}, r"`num_unlabeled` must be at least 1"),
        ({"num_test": 1}, r"`num_test` must be at least 2"),
        ({"noise": -0.1}, r"`noise` must be finite .* Received: noise=-0.1"),
        ({"noise": float("nan")}, r"`noise` must be finite .* Received: noise=nan"),
        ({"scale": 0.0}, r"`scale` must be finite and positive. Received: scale=0.0"),
        ({"seed": -1}, r"`seed` must be from 0 .* Received: seed=-1"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**({"name": "moons"} | arguments))
