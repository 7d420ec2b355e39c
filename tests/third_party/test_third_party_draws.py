"""How the augmenters of third_party/ use their draws, and which inputs they refuse."""

import numpy as np
import pytest
import tensorflow as tf
from pillow_reference import LARGEST_DRAW, draws_for, photo_tiles, to_float
from ssl_weighting_upstream import fixmatch_randaugment as fixmatch


@pytest.fixture(scope="module")
def tiles():
    return photo_tiles(every=4)


# ---------------------------------------------------------------- draws


def test_sample_policy_reads_its_columns():
    uniforms = np.zeros((2, fixmatch.STRONG_DRAWS), np.float32)
    uniforms[0, :8] = 3.5 / 14, 0.5, 0.6, 0.4, 13.5 / 14, 8.5 / 9, 0.5, 0.5
    uniforms[1] = LARGEST_DRAW
    policy = fixmatch.sample_policy(uniforms)
    assert fixmatch.OPS[3] == "rotate"
    np.testing.assert_array_equal(policy.op, [[3, 13], [13, 13]])
    np.testing.assert_array_equal(policy.level, [[5, 9], [9, 9]])
    np.testing.assert_array_equal(policy.negate, [[True, False], [True, True]])
    np.testing.assert_array_equal(policy.apply, [[True, False], [False, False]])


def test_sample_policy_is_uniform():
    number = 14 * 9 * 40
    grid = (np.arange(number, dtype=np.float32) + 0.5) / number
    policy = fixmatch.sample_policy(np.tile(grid[:, np.newaxis], (1, fixmatch.STRONG_DRAWS)))
    for slot in range(2):
        assert set(np.bincount(policy.op[:, slot])) == {number // 14}
        assert set(np.bincount(policy.level[:, slot])[1:]) == {number // 9}
        assert np.mean(policy.negate[:, slot]) == np.mean(policy.apply[:, slot]) == 0.5


def test_same_draws_same_views_whatever_the_batch(tiles):
    images, uniforms = to_float(tiles), draws_for(tiles, fixmatch.STRONG_DRAWS)
    compiled = tf.function(fixmatch.randaugment)
    strong = compiled(images, uniforms).numpy()
    np.testing.assert_array_equal(strong, compiled(images, uniforms))
    np.testing.assert_array_equal(strong[::-1], compiled(images[::-1], uniforms[::-1]))
    for n in range(3):
        one = fixmatch.randaugment(images[n : n + 1], uniforms[n : n + 1])
        np.testing.assert_array_equal(one[0], strong[n])
    empty = fixmatch.randaugment(images[:0], uniforms[:0])
    assert empty.shape == (0, 32, 32, 3)


def test_bytes_give_the_views_of_the_floats_that_they_stand_for(tiles):
    weak, strong = (draws_for(tiles, n) for n in (fixmatch.WEAK_DRAWS, fixmatch.STRONG_DRAWS))
    moved = fixmatch.weak_augment_bytes(tiles, weak, flip=True)
    floats = fixmatch.weak_augment(to_float(tiles), weak, flip=True)
    np.testing.assert_array_equal(to_float(moved.numpy()), floats)
    views = fixmatch.randaugment_bytes(moved, strong)
    np.testing.assert_array_equal(views, fixmatch.randaugment(floats, strong))
    with pytest.raises(ValueError, match=r"`images` must be uint8. Received: .*float32"):
        fixmatch.randaugment_bytes(floats, strong)


def test_runs_in_tf_data_with_an_unknown_batch_size():
    images = to_float(photo_tiles(16, 16, every=30)[..., :1])
    weak, strong = (draws_for(images, n) for n in (fixmatch.WEAK_DRAWS, fixmatch.STRONG_DRAWS))

    def view(image, weak_draws, strong_draws):
        return fixmatch.randaugment(fixmatch.weak_augment(image, weak_draws, True), strong_draws)

    data = tf.data.Dataset.from_tensor_slices((images, weak, strong)).batch(25).map(view)
    assert data.element_spec.shape.as_list() == [None, 16, 16, 1]
    views = np.concatenate(list(data.as_numpy_iterator()))
    np.testing.assert_array_equal(views, view(images, weak, strong))
    assert views.dtype == np.float32


# ---------------------------------------------------------------- errors

GOOD = np.zeros((2, 8, 8, 3), np.float32)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GOOD[0], r"`images` must be a batch \[N, H, W, C\].*Received: images.shape=\(8, 8, 3\)"),
        (GOOD[..., :2], r"`images` must be .* C = 1 or 3 .*shape=\(2, 8, 8, 2\)"),
        (GOOD[:, :0], r"`images` must be .* H and W from 1 to 16383.*shape=\(2, 0, 8, 3\)"),
        (np.zeros((1, 1, 2**14, 1), np.float32), r"`images` must be .* from 1 to 16383"),
        (GOOD.astype(np.uint8), r"`images` must be float32 in \[-1, 1\].*images.dtype=uint8"),
        (GOOD.astype(np.float64), r"`images` must be float32.*images.dtype=float64"),
    ],
)
def test_unfit_images_are_refused(images, message):
    uniforms = np.zeros((2, fixmatch.STRONG_DRAWS), np.float32)
    with pytest.raises(ValueError, match=message):
        fixmatch.randaugment(images, uniforms)
    with pytest.raises(ValueError, match=message):
        fixmatch.weak_augment(images, uniforms[:, : fixmatch.WEAK_DRAWS], flip=True)


def test_images_of_unknown_size_are_refused():
    unknown = tf.TensorSpec([None, None, 8, 3], tf.float32)
    draws = tf.TensorSpec([None, fixmatch.STRONG_DRAWS], tf.float32)
    with pytest.raises(ValueError, match=r"static H and W.*\(None, None, 8, 3\).*tf.ensure_shape"):
        tf.function(fixmatch.randaugment).get_concrete_function(unknown, draws)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2,), "float32", r"`uniforms` must be float32 \[N, {k}\].*uniforms.shape=\(2,\)"),
        ((2, 5), "float32", r"`uniforms` must be float32 \[N, {k}\].*uniforms.shape=\(2, 5\)"),
        ((2, None), "float64", r"`uniforms` must be float32.*uniforms.dtype=float64"),
        ((3, None), "float32", r"`uniforms` must have one row for each image.*\(3, {k}\).*\(2, 8"),
    ],
)
def test_unfit_draws_are_refused(shape, dtype, message):
    for augment, k in (
        (fixmatch.randaugment, fixmatch.STRONG_DRAWS),
        (lambda i, u: fixmatch.weak_augment(i, u, True), fixmatch.WEAK_DRAWS),
    ):
        uniforms = np.zeros([k if size is None else size for size in shape], dtype)
        with pytest.raises(ValueError, match=message.format(k=k)):
            augment(GOOD, uniforms)


def test_sample_policy_refuses_unfit_draws():
    with pytest.raises(ValueError, match=r"`uniforms` must be float32 \[N, 10\].*\(4, 8\)"):
        fixmatch.sample_policy(np.zeros((4, 8), np.float32))


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_unfit_cutout_fraction_is_refused(fraction):
    uniforms = np.zeros((2, fixmatch.STRONG_DRAWS), np.float32)
    with pytest.raises(ValueError, match=r"`cutout_fraction` must be from 0 to 1.*Received: "):
        fixmatch.randaugment(GOOD, uniforms, fraction)


@pytest.mark.parametrize(("size", "pad"), [((8, 8), -1), ((8, 8), 8), ((5, 8), 5), ((8, 5), 5)])
def test_unfit_pad_is_refused(size, pad):
    images = np.zeros((2, *size, 3), np.float32)
    uniforms = np.zeros((2, fixmatch.WEAK_DRAWS), np.float32)
    with pytest.raises(ValueError, match=rf"`pad` must be .* {size[0]} x {size[1]}\. .*pad={pad}"):
        fixmatch.weak_augment(images, uniforms, True, pad)
