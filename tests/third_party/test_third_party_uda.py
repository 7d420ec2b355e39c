"""UDA's strong view replayed with Pillow and in float64, byte for byte."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from pillow_reference import (
    LARGEST_DRAW,
    draws_for,
    loop_cutout,
    photo_tiles,
    pillow_op,
    to_rgba,
)
from ssl_weighting_upstream import uda_randaugment as uda

MEAN, STD = map(np.array, uda.CIFAR10)


def uda_op(image, name, level, negate, center):
    """One op of UDA's list on a PIL image of mode RGBA; `center` is (row, column)."""
    if name == "invert":
        return ImageOps.invert(image.convert("RGB")).convert("RGBA")
    if name != "cutout":
        return pillow_op(image, name, level, negate)
    pixels, (row, column), half = np.array(image), center, 2 * level * min(image.size) // 32 // 2
    rows = slice(max(row - half, 0), row + half)
    pixels[rows, max(column - half, 0) : column + half] = (125, 122, 113, 0)
    return Image.fromarray(pixels)


def uda_view(image, policy, places, last):
    """The normalised strong view [H, W, 3] of one uint8 image, in float64."""
    normalised = (image / 255 - MEAN) / STD
    picture = to_rgba(((normalised * STD + MEAN) * 255).astype(np.uint8))
    for op, level, negate, apply, place in zip(*policy, places, strict=True):
        if apply:
            center = [int(p * np.float32(n)) for p, n in zip(place, image.shape[:2], strict=True)]
            picture = uda_op(picture, uda.OPS[op], int(level), negate, center)
    pixels = np.asarray(picture)
    view = (pixels[..., :3] / 255 - MEAN) / STD
    view[pixels[..., 3] == 0] = 0
    return loop_cutout(view, last, 0.5)


def assert_equals_pillow(images, uniforms):
    policy, places = uda.sample_policy(uniforms)
    policy = zip(*(field.numpy() for field in policy), strict=True)
    rows = zip(images, policy, places.numpy(), uniforms[:, -2:], strict=True)
    theirs = np.stack([uda_view(*row) for row in rows])
    parts = tf.function(lambda i, u: uda.augment_bytes(i, u, uda.CIFAR10))(images, uniforms)
    np.testing.assert_array_equal(uda.normalised(*parts, uda.CIFAR10), theirs.astype(np.float32))
    return parts, theirs


@pytest.mark.parametrize("size", [(32, 32), (14, 14), (16, 45), (28, 28)])
def test_random_policies_equal_pillow(size):
    images = photo_tiles(*size, every=2)
    assert_equals_pillow(images, draws_for(images, uda.STRONG_DRAWS))


def test_every_ordered_pair_of_ops_equals_pillow():
    pairs = [(first, second) for first in range(15) for second in range(15)]
    images = photo_tiles()[: len(pairs)]
    uniforms = draws_for(images, uda.STRONG_DRAWS, seed=3)
    for column, slot in ((0, 0), (5, 1)):
        entry = np.array(pairs)[:, slot] * 9 + np.arange(len(pairs)) % 9
        uniforms[:, column] = (entry + 0.5) / 135
    uniforms[:, [2, 7]] = 0  # apply both
    policy, _ = uda.sample_policy(uniforms)
    np.testing.assert_array_equal(policy.op, pairs)
    assert_equals_pillow(images, uniforms)


def test_an_erased_square_shows_its_colour_after_an_op_through_rgb():
    images = np.full((2, 32, 32, 3), 200, np.uint8)
    cutout, invert, color = (uda.OPS.index(n) * 9 + 8 for n in ("cutout", "invert", "color"))
    uniforms = np.zeros((2, uda.STRONG_DRAWS), np.float32)
    uniforms[:, 0] = (cutout + 0.5) / 135
    uniforms[:, 3:5] = 10 / 32, 20 / 32  # column 10, row 20
    uniforms[:, 5] = np.array([invert + 0.5, color + 0.5]) / 135
    colors, alpha = uda.augment_bytes(images, uniforms, uda.CIFAR10, cutout_fraction=0)
    np.testing.assert_array_equal(colors[0, 20, 10], [130, 133, 142])
    assert alpha.numpy()[0].min() == 1
    expected = np.ones((32, 32))
    expected[11:29, 1:19] = 0
    np.testing.assert_array_equal(alpha.numpy()[1, ..., 0], expected)


def test_entries_are_the_135_pairs_and_uniform():
    number = uda.NUM_ENTRIES * 8
    grid = (np.arange(number, dtype=np.float32) + 0.5) / number
    policy, _ = uda.sample_policy(np.tile(grid[:, None], (1, uda.STRONG_DRAWS)))
    entries = policy.op[:, 0].numpy() * 9 + policy.level[:, 0].numpy() - 1
    assert uda.NUM_ENTRIES == 135 and set(np.bincount(entries)) == {8}
    assert np.mean(policy.apply[:, 1]) == np.mean(policy.negate[:, 1]) == 0.5
    top, _ = uda.sample_policy(np.full([1, uda.STRONG_DRAWS], LARGEST_DRAW))
    assert (top.op.numpy() == 14).all() and (top.level.numpy() == 9).all()


def test_bytes_lose_one_as_in_the_release():
    lost = (np.arange(256) - uda._entry_tables(*uda.CIFAR10).astype(int)).astype(int)
    assert set(lost.reshape(-1)) == {0, 1} and lost.sum(axis=1).tolist() == [20, 18, 20]


def test_centred_view_is_the_normalised_one_in_other_units():
    images = photo_tiles(every=9)
    parts = uda.augment_bytes(images, draws_for(images, uda.STRONG_DRAWS), uda.CIFAR10)
    normalised = uda.normalised(*parts, uda.CIFAR10)
    expected = 2 * (normalised * STD + MEAN) - 1
    np.testing.assert_allclose(uda.centred(*parts, uda.CIFAR10), expected, atol=3e-7)
    hidden = parts[1].numpy() == 0
    assert hidden.mean() > 0.1 and not normalised.numpy()[hidden].any()


def test_grey_images_equal_rgb_with_three_equal_channels_but_for_the_fill():
    grey = photo_tiles(28, 28, every=4)[..., :1]
    uniforms = draws_for(grey, uda.STRONG_DRAWS)
    uniforms[:, 0] = uniforms[:, 0] * 0.8 + 0.15  # neither invert nor cutout first
    one, three = uda.Statistics((0.4,), (0.2,)), uda.Statistics((0.4,) * 3, (0.2,) * 3)
    ours = uda.normalised(*uda.augment_bytes(grey, uniforms, one), one).numpy()
    color = uda.augment_bytes(np.repeat(grey, 3, axis=-1), uniforms, three)
    np.testing.assert_array_equal(np.repeat(ours, 3, axis=-1), uda.normalised(*color, three))


def test_unfit_arguments_are_refused():
    images, uniforms = np.zeros([2, 8, 8, 3], np.uint8), np.zeros([2, 12], np.float32)
    with pytest.raises(ValueError, match=r"`images` must be uint8 .*images.dtype=float32"):
        uda.augment_bytes(images.astype(np.float32), uniforms, uda.CIFAR10)
    with pytest.raises(ValueError, match=r"`statistics` must hold .* each of 1 channels"):
        uda.augment_bytes(images[..., :1], uniforms, uda.CIFAR10)
    with pytest.raises(ValueError, match=r"`uniforms` must be float32 \[N, 12\]"):
        uda.augment_bytes(images, uniforms[:, :5], uda.CIFAR10)
