"""CTAugment's draws and rates by hand and against a loop."""

import numpy as np
import pytest
import tensorflow as tf
from pillow_ctaugment import loop_rates
from pillow_reference import LARGEST_DRAW
from ssl_weighting_upstream import fixmatch_ctaugment as cta

ROTATE, POSTERIZE, RESCALE, IDENTITY = map(
    cta.OPS.index, ("rotate", "posterize", "rescale", "identity")
)


def test_nineteen_ops_and_their_bins():
    assert len(cta.OPS) == 19 and tuple(sorted(cta.OPS)) == cta.OPS
    bins = dict(zip(cta.OPS, cta.BINS.tolist(), strict=True))
    assert bins.pop("identity") == [0, 0]
    assert bins.pop("posterize") == [8, 0]
    assert bins.pop("rescale") == [17, 6]
    assert set(map(tuple, bins.values())) == {(17, 0)}
    rates = cta.initial_rates()
    assert rates.shape == (19, 2, 17) and rates.sum() == 16 * 17 + 8 + 17 + 6
    assert (rates[POSTERIZE, 0, :8] == 1).all() and not rates[POSTERIZE, 0, 8:].any()


def draws(op, bin_1=0.0, place_1=0.0, bin_2=0.0, place_2=0.0):
    slot = [(op + 0.5) / 19, bin_1, place_1, bin_2, place_2, 0.25, 0.75]
    return np.float32([slot + slot])


def test_probe_levels_are_the_draws_themselves():
    policy = cta.probe_policy(draws(RESCALE, 0.9, 0.3, 0.9, 0.6))
    np.testing.assert_array_equal(policy.op, [[RESCALE, RESCALE]])
    np.testing.assert_array_equal(policy.level, np.float32([[[0.3, 0.6], [0.3, 0.6]]]))
    np.testing.assert_array_equal(policy.center, np.float32([[[0.25, 0.75], [0.25, 0.75]]]))


def test_training_levels_with_all_rates_one():
    policy = cta.training_policy(draws(RESCALE, 3.5 / 17, 0.5, 5.5 / 6, 0.25), cta.initial_rates())
    np.testing.assert_allclose(policy.level[0, 0], [3.5 / 17, 5.25 / 6], rtol=1e-6)
    top = cta.training_policy(np.full([1, 14], LARGEST_DRAW), cta.initial_rates())
    assert top.op.numpy().max() == 18 and top.level.numpy().max() <= 1
    policy = cta.training_policy(draws(POSTERIZE, LARGEST_DRAW, 0.5), cta.initial_rates())
    assert policy.level[0, 0, 0] == np.float32(7.5 / 8)


def test_threshold_cuts_below_0798_of_the_best():
    rates = cta.initial_rates()
    rates[ROTATE, 0, :4] = 0.797, 0.799, 0.5, 0.9
    shares = cta.bin_probabilities(tf.constant(rates)).numpy()[ROTATE, 0]
    np.testing.assert_allclose(shares[:5], [0, 0.809 / 1.01, 0, 0.91 / 1.01, 1], rtol=1e-6)
    rates[ROTATE, 0] = 0.4  # only shares of the largest count
    assert (cta.bin_probabilities(tf.constant(rates)).numpy()[ROTATE, 0] == 1).all()


def test_cut_bins_are_never_drawn_and_the_others_in_proportion():
    rates = cta.initial_rates()
    rates[POSTERIZE, 0, :8] = 0, 1, 0.89, 0, 0, 1, 0.2, 0
    grid = (np.arange(4000, dtype=np.float32) + 0.5) / 4000
    uniforms = np.tile(draws(POSTERIZE), (len(grid), 1))
    uniforms[:, 1] = grid
    uniforms[-1, 1] = LARGEST_DRAW
    level = cta.training_policy(uniforms, rates).level[:, 0, 0].numpy()
    counts = np.bincount(np.rint(level * 8).astype(int), minlength=8)
    share = 1.01 + 0.90 + 1.01
    expected = 4000 * np.array([0, 1.01, 0.90, 0, 0, 1.01, 0, 0]) / share
    np.testing.assert_allclose(counts, expected, atol=1.5)


def test_one_update_by_hand():
    op = tf.constant([[ROTATE, IDENTITY], [ROTATE, RESCALE]])
    level = tf.constant([[[0.5, 0.1], [0.9, 0.9]], [[0.52, 0.3], [0.0, 0.9999]]])
    rates = cta.update_rates(tf.constant(cta.initial_rates()), op, level, tf.constant([0.2, 0.6]))
    changed = set(map(tuple, np.argwhere(rates.numpy() != cta.initial_rates())))
    # int(0.999 x 0.5 x 17) = int(0.999 x 0.52 x 17) = 8; the second rescale: int(0.9998 x 6) = 5.
    assert changed == {(ROTATE, 0, 8), (RESCALE, 0, 0), (RESCALE, 1, 5)}
    twice = 0.99 * (0.99 + 0.01 * 0.2) + 0.01 * 0.6
    np.testing.assert_allclose(rates[ROTATE, 0, 8], twice, rtol=1e-6)
    np.testing.assert_allclose(rates[RESCALE, 1, 5], 0.99 + 0.01 * 0.6, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 64, 300])
def test_many_updates_equal_a_loop_over_images(batch):
    rng = np.random.default_rng(batch)
    rates = cta.initial_rates() * rng.random(cta.RATES_SHAPE, dtype=np.float32)
    policy = cta.probe_policy(rng.random((batch, cta.PROBE_DRAWS), dtype=np.float32))
    omega = rng.random(batch, dtype=np.float32)
    ours = tf.function(cta.update_rates)(rates, policy.op, policy.level, omega)
    loop = loop_rates(rates, policy.op.numpy(), policy.level.numpy(), omega)
    np.testing.assert_allclose(ours, loop, rtol=3e-6, atol=1e-7)
    assert np.abs(ours - rates).max() > 0.001


def test_proximity_is_the_probability_of_the_label():
    p = tf.constant([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(cta.proximity(p, tf.constant([1, 1, 2])), [0.2, 1, 0], atol=1e-7)


def test_unfit_draws_are_refused():
    with pytest.raises(ValueError, match=r"`uniforms` must be float32 \[N, 14\].*\(2, 16\)"):
        cta.probe_policy(np.zeros([2, 16], np.float32))
    policy = cta.probe_policy(np.zeros([2, 14], np.float32))
    with pytest.raises(ValueError, match=r"`images` must be float32"):
        cta.ctaugment(np.zeros([2, 8, 8, 3], np.float64), policy)
    with pytest.raises(ValueError, match=r"`uniforms` must be float32 \[N, 2\]"):
        image = np.zeros([2, 8, 8, 3], np.float32)
        cta.ctaugment_with_cutout(image, policy, np.zeros([2, 3], np.float32))
