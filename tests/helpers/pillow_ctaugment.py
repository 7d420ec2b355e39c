"""What CTAugment must reproduce, one image and one rate at a time, with Pillow and plain Python."""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from ssl_weighting_upstream import fixmatch_ctaugment as cta

FILTERS = [getattr(Image.Resampling, n) for n in ("LANCZOS", "BICUBIC", "BILINEAR", "BOX")]
FILTERS += [Image.Resampling.HAMMING, Image.Resampling.NEAREST]
CHANGES = {
    "autocontrast": ImageOps.autocontrast,
    "blur": lambda image: image.filter(ImageFilter.BLUR),
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "smooth": lambda image: image.filter(ImageFilter.SMOOTH),
}


def pillow_op(image, name, level, second=0.0, center=(0, 0)):
    """One op of CTAugment on a PIL image of mode RGB; `center` is (row, column)."""
    level, second = float(level), float(second)
    if name in CHANGES:
        return Image.blend(image, CHANGES[name](image), level)
    if name in ("brightness", "color", "contrast", "sharpness"):
        return getattr(ImageEnhance, name.capitalize())(image).enhance(0.1 + 1.9 * level)
    if name == "posterize":
        return ImageOps.posterize(image, 1 + int(7.999 * level))
    if name == "solarize":
        return ImageOps.solarize(image, int(255.999 * level))
    if name == "rescale":
        return pillow_rescale(image, level, second)
    if name == "cutout":
        return pillow_cutout(image, level, center)
    if name == "rotate":
        return image.rotate(round((2 * level - 1) * 45))
    return image.transform(image.size, Image.Transform.AFFINE, matrix(name, (2 * level - 1) * 0.3))


def matrix(name, amount):
    """Affine matrix of identity, shear and translate."""
    return {
        "identity": (1, 0, 0, 0, 1, 0),
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, amount, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, amount),
    }[name]


def pillow_rescale(image, level, second):
    (width, height), s = image.size, 0.25 * level
    crop = image.crop((s * width, s * height, width * (1 - s), height * (1 - s)))
    return crop.resize(image.size, FILTERS[int(5.99 * second)])


def pillow_cutout(image, level, center):
    half = (1 + int(level * min(image.size) * 0.499)) // 2
    pixels, (row, column) = np.array(image), center
    pixels[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 127
    return Image.fromarray(pixels)


def pillow_view(image, ops, levels, centers, last=None):
    """The probe view [H, W, 3] of a float32 image, or with `last` the strong one."""
    size = image.shape[:2]
    scaled = np.round(np.float32(127.5) * (1 + image)).clip(0, 255)
    picture = Image.fromarray(scaled.astype(np.uint8))
    for op, level, center in zip(ops, levels, centers, strict=True):
        picture = pillow_op(picture, cta.OPS[op], *level, pixel(center, size))
    if last is not None:
        picture = pillow_cutout(picture, 1.0, pixel(last, size))
    return np.asarray(picture).astype(np.float32) / np.float32(127.5) - 1


def pixel(draws, size):
    """(row, column) of the draws (column, row)."""
    return int(draws[1] * np.float32(size[0])), int(draws[0] * np.float32(size[1]))


def loop_rates(rates, ops, levels, proximities):
    """Upstream's update: one image, op and level after the other; float64."""
    rates = np.array(rates, np.float64)
    for op_of_slots, level_of_slots, proximity in zip(ops, levels, proximities, strict=True):
        for op, level in zip(op_of_slots, level_of_slots, strict=True):
            for which in (0, 1):
                if bins := cta.BINS[op, which]:
                    place = op, which, int(0.999 * level[which] * bins)
                    rates[place] = 0.99 * rates[place] + 0.01 * proximity
    return rates
