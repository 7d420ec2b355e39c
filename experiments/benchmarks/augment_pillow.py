"""The views of third_party/ by a loop over images with Pillow: what suite augment compares with.

Ops are sampled beforehand. Each image is converted once into a Pillow image and once back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from ssl_weighting_upstream import ctaugment_ops, fixmatch_randaugment
from ssl_weighting_upstream import fixmatch_ctaugment as cta

Op = Callable[[Image.Image], Image.Image]
_AFFINE = Image.Transform.AFFINE
_FILTERS = tuple(
    getattr(Image.Resampling, name)
    for name in ("LANCZOS", "BICUBIC", "BILINEAR", "BOX", "HAMMING", "NEAREST")
)
_THROUGH_RGB = {
    "autocontrast": lambda level: ImageOps.autocontrast,
    "equalize": lambda level: ImageOps.equalize,
    "posterize": lambda level: lambda i: ImageOps.posterize(i, 4 - int(level * 4 / 10)),
    "solarize": lambda level: lambda i: ImageOps.solarize(i, 256 - int(level * 256 / 10)),
}
_TOWARDS = {
    "autocontrast": ImageOps.autocontrast,
    "blur": lambda image: image.filter(ImageFilter.BLUR),
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "smooth": lambda image: image.filter(ImageFilter.SMOOTH),
}
_ENHANCERS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}


def randaugment_ops(uniforms: np.ndarray, side: int) -> list[list[Op]]:
    """Return the ops of every image, for uniforms [N, STRONG_DRAWS] of FixMatch's RandAugment."""
    policy = fixmatch_randaugment.sample_policy(uniforms)
    rows = zip(*(field.numpy().tolist() for field in policy), strict=True)
    return [
        [
            _randaugment_op(fixmatch_randaugment.OPS[op], level, -1 if negate else 1, side)
            for op, level, negate, apply in zip(*row, strict=True)
            if apply and fixmatch_randaugment.OPS[op] != "identity"
        ]
        for row in rows
    ]


def randaugment_loop(images: np.ndarray, ops: Sequence, centers: np.ndarray) -> np.ndarray:
    """Return the strong views of images [N, S, S, 3] float32; centers [N, 2]: row, column."""
    views = np.empty_like(images)
    half = images.shape[1] // 4
    for n, image in enumerate(images):
        scaled = (image * np.float32(0.5) + np.float32(0.5)) * np.float32(255)
        picture = Image.fromarray(scaled.astype(np.uint8)).convert("RGBA")
        for op in ops[n]:
            picture = op(picture)
        pixels = np.asarray(picture)
        view = (pixels[..., :3].astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
        view[pixels[..., 3] == 0] = 0
        row, column = centers[n]
        view[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
        views[n] = view
    return views


def ctaugment_ops_of(policy: cta.CtaPolicy, side: int) -> list[list[Op]]:
    """Return the ops of every image of a policy."""
    op, level, center = (field.numpy() for field in policy)
    corner = (center * np.float32(side)).astype(int)  # column, row
    return [
        [
            _ctaugment_op(cta.OPS[op[n, k]], *level[n, k].tolist(), corner[n, k], side)
            for k in range(cta.DEPTH)
        ]
        for n in range(len(op))
    ]


def ctaugment_loop(images: np.ndarray, ops: Sequence, corners: np.ndarray) -> np.ndarray:
    """Return the strong views of images [N, S, S, 3] float32; corners [N, 2]: column, row."""
    views = np.empty_like(images)
    side = images.shape[1]
    for n, image in enumerate(images):
        scaled = np.round(np.float32(127.5) * (1 + image)).clip(0, 255)
        picture = Image.fromarray(scaled.astype(np.uint8))
        for op in ops[n]:
            picture = op(picture)
        picture = _erase(picture, 1 + int(side * 0.499), corners[n])
        views[n] = np.asarray(picture).astype(np.float32) / np.float32(127.5) - 1
    return views


def _randaugment_op(name, level, sign, side):
    if name in _THROUGH_RGB:
        change = _THROUGH_RGB[name](level)
        return lambda image: change(image.convert("RGB")).convert("RGBA")
    if name in _ENHANCERS:
        return lambda image: _ENHANCERS[name](image).enhance(0.1 + level * 1.8 / 10)
    if name == "rotate":
        return lambda image: image.rotate(sign * 3 * level)
    shift, shear = sign * int(level * side / 32), sign * level * 0.3 / 10
    return _affine(name, shift, shear)


def _affine(name, shift, shear):
    matrix = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }[name]
    return lambda image: image.transform(image.size, _AFFINE, matrix)


def _ctaugment_op(name, level, second, corner, side):
    signed = 2 * level - 1
    if name in _TOWARDS:
        return lambda image: Image.blend(image, _TOWARDS[name](image), level)
    if name in _ENHANCERS:
        return lambda image: _ENHANCERS[name](image).enhance(0.1 + 1.9 * level)
    if name == "rotate":
        return lambda image: image.rotate(round(signed * 45))
    if name == "rescale":
        return _rescale(0.25 * level, _FILTERS[int(5.99 * second)])
    if name == "cutout":
        size = int(ctaugment_ops.cutout_side(level, side, side))
        return lambda image: _erase(image, size, corner)
    others = {
        "identity": lambda image: image,
        "posterize": lambda image: ImageOps.posterize(image, 1 + int(7.999 * level)),
        "solarize": lambda image: ImageOps.solarize(image, int(255.999 * level)),
    }
    return others[name] if name in others else _affine(name, signed * 0.3, signed * 0.3)


def _rescale(share, resampling):
    def op(image):
        width, height = image.size
        box = (share * width, share * height, width * (1 - share), height * (1 - share))
        return image.crop(box).resize(image.size, resampling)

    return op


def _erase(image, side, corner):
    half, (column, row) = side // 2, (int(c) for c in corner)
    low, high = max(column - half, 0), max(row - half, 0)
    box = (low, high, min(column + half, image.width), min(row + half, image.height))
    image = image.copy()
    image.paste((127, 127, 127), box)
    return image
