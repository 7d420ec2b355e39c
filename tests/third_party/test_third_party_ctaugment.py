"""CTAugment's ops replayed with Pillow, byte for byte."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pillow_ctaugment import pillow_op, pillow_view
from pillow_reference import draws_for, photo_tiles, to_float
from ssl_weighting_upstream import ctaugment_ops, pillow_resize
from ssl_weighting_upstream import fixmatch_ctaugment as cta

# Ends, middles, edges of bins, and what makes sides and thresholds change.
LEVELS = np.float32([0, 0.01, 1 / 17, 0.125, 0.3, 0.4375, 0.5, 0.55, 0.7, 0.875, 0.97, 0.999999, 1])


@pytest.fixture(scope="module")
def tiles():
    """[33, 32, 32, 3] uint8."""
    return photo_tiles(every=16)


def check_op(name, images, levels, seconds):
    """Every image at every level, in one call of ours."""
    pairs = [(first, second) for first in levels for second in seconds]
    size = images.shape[1:3]
    rng = np.random.default_rng(0)
    centers = rng.integers(0, size, (len(pairs) * len(images), 2)).astype(np.int32)
    tiled = np.tile(images, (len(pairs), 1, 1, 1))
    each = np.repeat(np.float32(pairs), len(images), axis=0)
    op = tf.fill([len(tiled)], cta.OPS.index(name))
    ours = ctaugment_ops.apply_op(tf.constant(tiled), op, tf.constant(each), tf.constant(centers))
    rows = zip(tiled, each, centers, strict=True)
    theirs = [np.asarray(pillow_op(Image.fromarray(i), name, *ls, c)) for i, ls, c in rows]
    np.testing.assert_array_equal(ours, np.stack(theirs))
    return ours.numpy(), tiled


@pytest.mark.parametrize("name", [name for name in cta.OPS if name != "rescale"])
def test_op_equals_pillow_at_many_levels(name, tiles):
    ours, images = check_op(name, tiles, LEVELS, [0])
    still = name in ("identity", "translate_x", "translate_y")
    assert (np.mean(ours != images) > 0.05) == (not still)


@pytest.mark.parametrize("second", range(6))
def test_rescale_equals_pillow_with_every_filter_and_margin(second, tiles):
    margins = np.float32(np.linspace(0, 1, 33))
    check_op("rescale", tiles[::4], margins, [(second + 0.5) / 5.99 if second < 5 else 1.0])


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (14, 14), (28, 28), (16, 45), (61, 20)])
def test_other_sizes_equal_pillow(size):
    images = photo_tiles(*size, every=300 if min(size) > 4 else 20_000)
    for name in ("rescale", "rotate", "shear_x", "blur", "smooth", "cutout", "contrast"):
        check_op(name, images, LEVELS[::2], [0.0, 0.45, 1.0] if name == "rescale" else [0])


def test_filters_keep_a_flat_image_flat_and_nearest_repeats_pixels():
    flat = tf.fill([6, 32, 32, 3], tf.constant(77, tf.uint8))
    share = tf.fill([6], tf.constant(0.25, tf.float64))
    np.testing.assert_array_equal(pillow_resize.zoom(flat, share, tf.range(6)), flat)
    ramp = tf.reshape(tf.range(32), [1, 1, 32, 1]) * tf.ones([1, 32, 1, 1], tf.int32)
    ours = pillow_resize.zoom(tf.cast(ramp, tf.uint8), share[:1], tf.constant([5]))
    np.testing.assert_array_equal(ours[0, 0, :, 0], np.repeat(np.arange(8, 24), 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_views_equal_pillow(seed):
    images = to_float(photo_tiles(every=2))
    uniforms = draws_for(images, cta.STRONG_DRAWS, seed)
    draws, last = uniforms[:, : cta.PROBE_DRAWS], uniforms[:, -2:]
    probe = cta.probe_policy(draws)
    check_views(cta.ctaugment(images, probe), images, probe, [None] * len(images))
    policy = cta.training_policy(draws, cta.initial_rates())
    ours = tf.function(cta.ctaugment_with_cutout)(images, policy, last)
    check_views(ours, images, policy, last)
    stored = tf.constant(photo_tiles(every=2))
    np.testing.assert_array_equal(ours, cta.ctaugment_with_cutout(stored, policy, last))


def check_views(ours, images, policy, lasts):
    rows = zip(images, *(field.numpy() for field in policy), lasts, strict=True)
    np.testing.assert_array_equal(ours, np.stack([pillow_view(*row) for row in rows]))


def test_grey_images_equal_rgb_with_three_equal_channels():
    grey = to_float(photo_tiles(14, 14, every=4)[..., :1])
    uniforms = draws_for(grey, cta.STRONG_DRAWS)
    policy = cta.training_policy(uniforms[:, : cta.PROBE_DRAWS], cta.initial_rates())
    last = uniforms[:, -2:]
    ours = cta.ctaugment_with_cutout(grey, policy, last).numpy()
    color = cta.ctaugment_with_cutout(np.repeat(grey, 3, axis=-1), policy, last)
    np.testing.assert_array_equal(np.repeat(ours, 3, axis=-1), color)


def test_last_square_by_hand():
    uniforms = np.float32([[20.5 / 32, 10.5 / 32]])  # centre: column 20, row 10
    policy = cta.CtaPolicy(
        tf.fill([1, 2], cta.OPS.index("identity")), tf.zeros([1, 2, 2]), tf.zeros([1, 2, 2])
    )
    view = cta.ctaugment_with_cutout(tf.ones([1, 32, 32, 3]), policy, uniforms).numpy()[0]
    expected = np.ones([32, 32, 3], np.float32)
    expected[2:18, 12:28] = np.float32(127) / np.float32(127.5) - 1
    np.testing.assert_array_equal(view, expected)
    assert abs(expected[5, 20, 0] - -0.0039) < 1e-4
