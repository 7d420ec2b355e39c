"""The pixel arithmetic of upstream's image_ops, exhaustively, against Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter, ImageOps
from pillow_reference import LEVELS, photo_tiles, policy_of, to_float
from ssl_weighting_upstream import fixmatch_randaugment as fixmatch
from ssl_weighting_upstream import image_filters, image_moves, image_ops


def test_blend_equals_pillow_for_every_pair_of_values_and_factor():
    base, image = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    factors = [0.0, *(level * 1.8 / 10 + 0.1 for level in LEVELS), -0.5, 3.0]
    theirs = [Image.blend(Image.fromarray(base), Image.fromarray(image), f) for f in factors]
    ours = image_filters.blend(
        base[np.newaxis, ..., np.newaxis],
        np.tile(image[..., np.newaxis], (len(factors), 1, 1, 1)),
        tf.constant(factors, tf.float32),
    )
    np.testing.assert_array_equal(ours[..., 0], np.stack([np.asarray(i) for i in theirs]))


def test_autocontrast_equals_pillow_for_many_ranges():
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.integers(0, 256, (2, 3000)), axis=0)
    images = np.clip(np.arange(256), low[:, np.newaxis], high[:, np.newaxis]).astype(np.uint8)
    images = images.reshape(-1, 16, 16, 1)
    ours = image_ops.look_up(images, image_ops.autocontrast_tables(tf.constant(images)))
    theirs = [np.asarray(ImageOps.autocontrast(Image.fromarray(i[..., 0]))) for i in images]
    np.testing.assert_array_equal(ours[..., 0], np.stack(theirs))
    assert np.any((high > low) & (np.max(theirs, axis=(1, 2)) == 254))  # the order of operations


def test_equalize_equals_pillow_on_unusual_histograms():
    rng = np.random.default_rng(0)
    shape = (40, 24, 24)
    images = np.concatenate(
        [
            np.full((1, 24, 24), 7),  # one value
            rng.integers(0, 2, shape) * 255,  # two values
            rng.integers(100, 103, shape),
            np.minimum(rng.geometric(0.02, shape), 255),
            np.where(rng.random(shape) < 0.4, 255, rng.integers(0, 256, shape)),  # step 1
            np.where(rng.random(shape) < 0.8, 255, rng.integers(0, 256, shape)),  # step 0
        ]
    ).astype(np.uint8)[..., np.newaxis]
    ours = image_ops.look_up(images, image_ops.equalize_tables(tf.constant(images)))
    theirs = [np.asarray(ImageOps.equalize(Image.fromarray(i[..., 0]))) for i in images]
    np.testing.assert_array_equal(ours[..., 0], np.stack(theirs))


def test_grey_smooth_and_blur_equal_pillow_on_noise():
    noise = np.random.default_rng(0).integers(0, 256, (3, 90, 70, 3), dtype=np.uint8)
    pictures = [Image.fromarray(image) for image in noise]
    grey = np.stack([np.asarray(p.convert("L")) for p in pictures])
    smooth = np.stack([np.asarray(p.filter(ImageFilter.SMOOTH)) for p in pictures])
    blur = np.stack([np.asarray(p.filter(ImageFilter.BLUR)) for p in pictures])
    ours = image_filters.grey(tf.constant(noise))
    np.testing.assert_array_equal(ours, np.repeat(grey[..., np.newaxis], 3, axis=-1))
    np.testing.assert_array_equal(image_filters.smooth(tf.constant(noise)), smooth)
    np.testing.assert_array_equal(image_filters.blur(tf.constant(noise)), blur)


def test_mean_level_rounds_half_up():
    images = np.array([[[[2], [3]]], [[[2], [2]]], [[[255], [255]]]], np.uint8)
    np.testing.assert_array_equal(
        tf.reshape(image_filters.mean_level(tf.constant(images)), [-1]), [3, 2, 255]
    )


@pytest.mark.parametrize("degrees", [-180, -77, -45, 1, 12, 90, 133])
def test_rotation_by_other_angles_equals_pillow(degrees):
    photo = photo_tiles(70, 51)[5]
    matrix = image_moves.fixed_point(image_moves.rotation_matrix(degrees, *photo.shape[:2]))
    ours = image_moves.affine_nearest(
        tf.constant(photo[np.newaxis]), tf.constant(matrix[np.newaxis])
    )
    picture = Image.fromarray(photo)
    theirs = picture.transform(
        picture.size, Image.Transform.AFFINE, image_moves.rotation_matrix(degrees, *photo.shape[:2])
    )
    if degrees % 90:  # Pillow turns by right angles without an affine transform
        theirs = picture.rotate(degrees)
    np.testing.assert_array_equal(ours[0], theirs)


def test_posterize_and_solarize_tables_by_hand():
    bits = [4, 4, 3, 3, 2, 2, 2, 1, 1]
    thresholds = [231, 205, 180, 154, 128, 103, 77, 52, 26]
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    for level, bit, threshold in zip(LEVELS, bits, thresholds, strict=True):
        posterized = apply_to_ramp(ramp, "posterize", level)
        assert np.unique(posterized).tolist() == list(range(0, 256, 2 ** (8 - bit)))
        solarized = apply_to_ramp(ramp, "solarize", level)
        assert solarized[[threshold - 1, threshold]].tolist() == [threshold - 1, 255 - threshold]


def apply_to_ramp(ramp, name, level):
    colors, _ = fixmatch.apply_policy(
        tf.constant(ramp), tf.constant(ramp), policy_of(name, [level], [False])
    )
    return colors.numpy().reshape(-1)


def test_bytes_are_truncated_in_float32_as_released():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    back = image_ops.truncate_to_bytes(tf.constant(to_float(values))).numpy().reshape(-1)
    lowered = np.flatnonzero(back != np.arange(256))
    assert lowered.tolist() == list(range(1, 48))
    np.testing.assert_array_equal(back[lowered], lowered - 1)
    without = image_ops.released_bytes(tf.constant(values)).numpy().reshape(-1)
    np.testing.assert_array_equal(without, back)
    floats = image_ops.bytes_to_float(tf.constant(values)).numpy().reshape(-1)
    assert floats[[0, 255]].tolist() == [-1, 1]
    exact = (np.arange(256) / 255 - 0.5) / 0.5
    np.testing.assert_array_equal(floats, exact.astype(np.float32))
