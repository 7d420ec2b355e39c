"""What third_party/ must reproduce, one image at a time, with Pillow and numpy; and real images."""

import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images
from ssl_weighting_upstream import fixmatch_randaugment as fixmatch

LEVELS = range(1, 10)
LARGEST_DRAW = np.float32(1 - 2**-24)


def pillow_op(image, name, level, negate):
    """One op of FixMatch's RandAugment on a PIL image of mode RGBA."""
    sign = -1 if negate else 1
    if name == "identity":
        return image
    if name == "rotate":
        return image.rotate(sign * 3 * level)
    if name in ("autocontrast", "equalize", "posterize", "solarize"):
        return pillow_table_op(image.convert("RGB"), name, level).convert("RGBA")
    if name in ("color", "contrast", "brightness", "sharpness"):
        enhancer = getattr(ImageEnhance, name.capitalize())
        return enhancer(image).enhance(level * 1.8 / 10 + 0.1)
    matrix = {
        "shear_x": (1, sign * level * 0.3 / 10, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, sign * level * 0.3 / 10, 1, 0),
        "translate_x": (1, 0, sign * int(level * image.width / 32), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * int(level * image.height / 32)),
    }[name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def pillow_table_op(image, name, level):
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(level * 4 / 10))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(level * 256 / 10))
    return getattr(ImageOps, name)(image)


def pillow_strong(image, policy, uniforms, fraction=0.5):
    """The strong view [H, W, 3] of one float32 image [H, W, 3], given row n of a policy."""
    picture = to_rgba(((image * np.float32(0.5) + np.float32(0.5)) * np.float32(255)).astype("u1"))
    for op, level, negate, apply in zip(*policy, strict=True):
        if apply:
            picture = pillow_op(picture, fixmatch.OPS[op], int(level), negate)
    picture = np.asarray(picture)
    view = ((picture[..., :3] / 255 - 0.5) / 0.5).astype(np.float32)
    view[picture[..., 3] == 0] = 0
    return loop_cutout(view, uniforms[-2:], fraction)


def loop_cutout(view, draws, fraction):
    height, width = view.shape[:2]
    half = int(fraction * min(height, width)) // 2
    row, column = int(draws[0] * height), int(draws[1] * width)
    view = view.copy()
    view[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
    return view


def loop_weak(image, draws, flip, pad):
    image = image[:, ::-1] if flip and draws[0] < 0.5 else image
    (height, width), (up, left) = image.shape[:2], pad
    padded = np.pad(image, [(up, up), (left, left), (0, 0)], mode="reflect")
    row, column = int(draws[1] * (2 * up + 1)), int(draws[2] * (2 * left + 1))
    return padded[row : row + height, column : column + width]


def policy_of(name, levels, negates):
    """A policy that applies one op to each of N images in the first slot, and nothing after."""
    number, op = len(levels), fixmatch.OPS.index(name)
    slots = ([op] * number, [0] * number), (levels, levels), (negates, negates)
    coins = [True] * number, [False] * number
    return fixmatch.Policy(*(tf.stack(pair, axis=1) for pair in (*slots, coins)))


def draws_for(images, num_draws, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((len(images), num_draws), dtype=np.float32)


def to_rgba(pixels):
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBA")


def to_float(pixels):
    return pixels.astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def cut(photo, height, width):
    rows, columns = photo.shape[0] // height, photo.shape[1] // width
    photo = photo[: rows * height, : columns * width].reshape(rows, height, columns, width, 3)
    return photo.swapaxes(1, 2).reshape(-1, height, width, 3)


def photo_tiles(height=32, width=32, every=1):
    """[n, height, width, 3] uint8: tiles of two photographs of 427 x 640 pixels."""
    photos = load_sample_images().images
    return np.concatenate([cut(photo, height, width) for photo in photos])[::every]
