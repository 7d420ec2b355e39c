"""Replays the views of FixMatch with Pillow and with plain loops: they must agree exactly."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pillow_reference import (
    LARGEST_DRAW,
    LEVELS,
    draws_for,
    loop_cutout,
    loop_weak,
    photo_tiles,
    pillow_op,
    pillow_strong,
    policy_of,
    to_float,
    to_rgba,
)
from sklearn.datasets import load_digits
from ssl_weighting_upstream import fixmatch_randaugment as fixmatch


@pytest.fixture(scope="module")
def tiles():
    """[260, 32, 32, 3] uint8: every second tile of both photographs."""
    return photo_tiles(every=2)


@pytest.fixture(scope="module")
def digits():
    """[60, 16, 16, 1] uint8: handwritten digits, enlarged."""
    small = (load_digits().images[:60] * 15.9).astype(np.uint8)
    large = [Image.fromarray(i).resize((16, 16), Image.Resampling.BILINEAR) for i in small]
    return np.stack([np.asarray(i) for i in large])[..., np.newaxis]


@pytest.fixture(scope="module")
def translucent(tiles):
    """Tiles with alpha, [65, 32, 32, 4] uint8; every other one has been rotated: black corners."""
    pictures = [to_rgba(tile) for tile in tiles[::4]]
    return np.stack([np.asarray(p.rotate(20 * (i % 2))) for i, p in enumerate(pictures)])


# ---------------------------------------------------------------- RandAugment


@pytest.mark.parametrize("name", fixmatch.OPS)
def test_op_equals_pillow_at_every_level_and_sign(name, translucent):
    settings = np.array([(level, sign) for level in LEVELS for sign in (0, 1)], np.int32)
    levels, negates = np.repeat(settings, len(translucent), axis=0).T
    images = np.tile(translucent, (len(settings), 1, 1, 1))
    ours = apply_policy(images, policy_of(name, levels, negates.astype(bool)))
    rows = zip(images, levels, negates, strict=True)
    theirs = [pillow_op(Image.fromarray(i), name, int(level), sign) for i, level, sign in rows]
    np.testing.assert_array_equal(ours, np.stack([np.asarray(i) for i in theirs]))
    assert (np.mean(ours != images) > 0.1) == (name != "identity")


def apply_policy(rgba, policy):
    """`fixmatch.apply_policy` on RGBA images [N, H, W, 4] uint8."""
    alpha = np.repeat(rgba[..., 3:] // 255, 3, axis=-1)
    colors, alpha = fixmatch.apply_policy(rgba[..., :3], alpha, policy)
    return np.concatenate([colors, alpha[..., :1] * 255], axis=-1)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 3), (20, 44), (61, 17), (64, 64)])
def test_policies_equal_pillow_on_other_sizes(size):
    images = to_float(photo_tiles(*size, every=8 if min(size) > 4 else 900))
    uniforms = draws_for(images, fixmatch.STRONG_DRAWS, seed=size[0])
    assert_strong_equals_pillow(images, uniforms)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_policies_equal_pillow_with_alpha(seed, tiles):
    images = to_float(tiles)
    assert_strong_equals_pillow(images, draws_for(images, fixmatch.STRONG_DRAWS, seed))


def test_every_ordered_pair_of_ops_equals_pillow(tiles):
    pairs = [(first, second) for first in range(14) for second in range(14)]
    images = to_float(tiles[: len(pairs)])
    uniforms = draws_for(images, fixmatch.STRONG_DRAWS)
    uniforms[:, [0, 4]] = (np.array(pairs) + 0.5) / 14
    uniforms[:, [3, 7]] = 0  # apply both
    np.testing.assert_array_equal(fixmatch.sample_policy(uniforms).op, pairs)
    assert_strong_equals_pillow(images, uniforms)


def test_grey_images_equal_rgb_with_three_equal_channels(digits):
    grey = to_float(digits)
    uniforms = draws_for(grey, fixmatch.STRONG_DRAWS)
    uniforms[:, [3, 7]] = 0
    color = np.repeat(grey, 3, axis=-1)
    strong = fixmatch.randaugment(grey, uniforms).numpy()
    assert strong.shape == grey.shape
    np.testing.assert_array_equal(
        np.repeat(strong, 3, axis=-1), fixmatch.randaugment(color, uniforms)
    )
    assert_strong_equals_pillow(color, uniforms)


def assert_strong_equals_pillow(images, uniforms):
    policy = [field.numpy() for field in fixmatch.sample_policy(uniforms)]
    rows = zip(images, zip(*policy, strict=True), uniforms, strict=True)
    theirs = np.stack([pillow_strong(*row) for row in rows])
    np.testing.assert_array_equal(fixmatch.randaugment(images, uniforms), theirs)


# ---------------------------------------------------------------- cut-out


def test_cutout_equals_a_loop(tiles):
    images = to_float(tiles)[:, :, :24]
    uniforms = draws_for(images, fixmatch.STRONG_DRAWS)
    uniforms[:, [3, 7]] = 0.9  # no op
    whole = fixmatch.randaugment(images, uniforms, cutout_fraction=0.0).numpy()
    for fraction in (0.25, 0.3, 0.5, 1.0):
        ours = fixmatch.randaugment(images, uniforms, fraction)
        pairs = zip(whole, uniforms, strict=True)
        theirs = [loop_cutout(view, draws[-2:], fraction) for view, draws in pairs]
        np.testing.assert_array_equal(ours, np.stack(theirs))


def test_cutout_of_half_the_side_by_hand():
    white = tf.ones([2, 32, 32, 1])
    uniforms = np.full((2, fixmatch.STRONG_DRAWS), 0.9, np.float32)
    uniforms[0, -2:] = 10.5 / 32, 20.5 / 32  # centre: row 10, column 20
    uniforms[1, -2:] = 0, LARGEST_DRAW  # a corner: row 0, column 31
    erased = fixmatch.randaugment(white, uniforms).numpy()[..., 0] == 0
    expected = np.zeros((2, 32, 32), bool)
    expected[0, 2:18, 12:28] = True
    expected[1, :8, 23:] = True
    np.testing.assert_array_equal(erased, expected)


# ---------------------------------------------------------------- weak augmentation


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize(
    ("size", "pad", "padding"),
    [
        ((32, 32), None, (4, 4)),
        ((16, 16), None, (2, 2)),
        ((20, 44), None, (2, 5)),
        ((5, 9), None, (0, 1)),
        ((20, 44), 0, (0, 0)),
        ((20, 44), 19, (19, 19)),
    ],
)
def test_weak_augment_equals_a_loop(flip, size, pad, padding):
    images = to_float(photo_tiles(*size)[:300])
    uniforms = draws_for(images, fixmatch.WEAK_DRAWS)
    ours = fixmatch.weak_augment(images, uniforms, flip, pad)
    pairs = zip(images, uniforms, strict=True)
    theirs = [loop_weak(image, draws, flip, padding) for image, draws in pairs]
    np.testing.assert_array_equal(ours, np.stack(theirs))


def test_weak_augment_reaches_every_shift_and_both_mirrorings():
    image = np.arange(32 * 32, dtype=np.float32).reshape(1, 32, 32, 1)
    draws = [np.linspace(0, LARGEST_DRAW, n, dtype=np.float32) for n in (2, 9, 9)]
    uniforms = np.stack(np.meshgrid(*draws), axis=-1).reshape(-1, 3)
    views = fixmatch.weak_augment(np.tile(image, (len(uniforms), 1, 1, 1)), uniforms, flip=True)
    assert len(np.unique(views, axis=0)) == 2 * 9 * 9
