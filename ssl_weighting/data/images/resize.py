"""Bring images to a common side, so that runs of any size fit the machine at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.examples import RawDataset
from ssl_weighting.data.progress import counted


def resize_images(
    images: np.ndarray | ExampleTable, size: int | tuple[int, int]
) -> np.ndarray | ExampleTable:
    """Return `images` resized, by Pillow's bilinear filter (averaging when shrinking).

    Args:
        images: [n, H, W, C] uint8 with C = 1 or 3, an array or a table.
        size: new height and width, or the one number that is both; at least 1. Other shapes are
            stretched.

    Returns:
        [n, height, width, C] uint8; images of that size as they are.

    Raises:
        ValueError: if `size` or the shape does not fit.
    """
    from PIL import Image

    height, width = height_and_width(size)
    check_side(min(height, width))
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            "`images` must be uint8 [n, H, W, C] with C = 1 or 3. "
            f"Received: images={images.dtype.name}{list(images.shape)}."
        )
    if images.shape[1:3] == (height, width):
        return images
    resized = np.empty((len(images), height, width, images.shape[3]), np.uint8)
    for row, image in enumerate(counted(images, len(images), "resizing images")):
        grey_or_colour = image[..., 0] if image.shape[2] == 1 else image
        small = Image.fromarray(grey_or_colour).resize((width, height), Image.Resampling.BILINEAR)
        resized[row] = np.asarray(small).reshape(resized.shape[1:])
    return resized


def resize_dataset(raw: RawDataset, side: int) -> RawDataset:
    """Return `raw` with all images resized to `side`; the source says so."""
    shape = raw.train.inputs.shape[1:3]
    if shape == (side, side):
        return raw
    parts = {p: getattr(raw, p) for p in ("train", "test", "unlabeled", "validation")}
    resized = {
        part: replace(e, inputs=resize_images(e.inputs, side))
        for part, e in parts.items()
        if e is not None
    }
    note = f"{raw.source}, resized from {shape[0]}x{shape[1]} to {side}x{side}"
    return replace(raw, source=note, **resized)


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a size, which may be one number for both."""
    return (size, size) if isinstance(size, int) else size


def check_side(side: int) -> None:
    """Raise ValueError if `side` is no side of an image."""
    if side < 1:
        raise ValueError(f"`image_size` must be at least 1. Received: image_size={side}.")
