"""Read images that a trained model is to label: some at a time, from folders, files or arrays."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssl_weighting.data.array_files import read_npz
from ssl_weighting.data.array_rows import ArrayRows, npz_rows
from ssl_weighting.data.images.folder_layout import Found, files_below, is_picture
from ssl_weighting.data.images.folders import name_of, read_pictures, with_channels
from ssl_weighting.data.images.npz import as_images
from ssl_weighting.data.images.picture import SUFFIXES, PictureError, read_picture
from ssl_weighting.data.images.resize import height_and_width


def find_images(path: str | os.PathLike) -> list[tuple[str, Found]]:
    """Return (name, file) of every image below a folder, sorted, none of them opened.

    Args:
        path: folder, searched with its sub-folders, as `load_folder` searches unlabeled ones; files
            that are no pictures by their names are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no image.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            f"`path` must be a folder of images. Received: path={path}, not a folder."
        )
    found = [f for f in files_below(root, root, nested=True) if f.problem or is_picture(f.path)]
    if not found:
        raise ValueError(f"{root} must have images ({', '.join(SUFFIXES)}). Received: none.")
    return [(name_of(root, file), file) for file in found]


def read_images(
    files: Sequence[tuple[str, Found]],
    size: int | tuple[int, int],
    channels: int,
    on_error: str = "skip",
    draft: bool = False,
) -> tuple[list[str], np.ndarray, tuple[tuple[str, str], ...]]:
    """Read images.

    Args:
        files: (name, file) of each.
        size: side, or (height, width), to which images are resized.
        channels: 1 (grey) or 3 (colour) of the model's inputs.
        on_error: "skip" files that cannot be read, or "stop" at the first.
        draft: as of `picture.decode`.

    Returns:
        Names; images [n, height, width, channels] uint8; and (name, reason) of each file that could
        not be read.

    Raises:
        PictureError: an unreadable one stops.
    """
    names, images, skipped = [], [], []
    found = [file for _, file in files]
    read = read_pictures(found, functools.partial(read_picture, image_size=size, draft=draft))
    for (name, _), image in zip(files, read, strict=True):
        if not isinstance(image, PictureError):
            names.append(name)
            images.append(with_channels(image, channels))
        elif on_error == "stop":
            raise image
        else:
            skipped.append((name, image.reason))
    shape = (len(images), *height_and_width(size), channels)
    return names, np.reshape(images, shape).astype(np.uint8), tuple(skipped)


def new_images(path: str | os.PathLike, channels: int) -> tuple[ArrayRows, ArrayRows | None]:
    """Return the images `x` of an .npz file, and their `names` where it has some.

    Args:
        path: of the file.
        channels: 1 or 3 of the model's inputs; 0: either.

    Returns:
        Images, uint8 [n, H, W, C], and names [n], strings.

    Raises:
        ValueError: it is damaged, has no `x`, or that is no such array. So do the blocks.
    """
    found = npz_rows(path)
    if "x" not in found:
        raise ValueError(f"{path} must hold an array `x`. Received: {', '.join(found)}")
    x, names = found["x"], found.get("names")
    shape = (*x.shape, 1) if len(x.shape) == 3 else x.shape
    if x.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        as_images(read_npz(path)["x"], f"`x` in {path}")  # refuses it
    if channels not in (0, shape[3]) or not shape[0]:
        raise ValueError(
            f"`x` in {path} must be uint8 [n, H, W, {channels or 'C'}] with n > 0, as this run was "
            f"trained on. Received: {list(shape)}"
        )
    if names is not None and (names.shape != shape[:1] or names.dtype.kind != "U"):
        raise ValueError(
            f"`names` in {path} must be strings, one for each of the {shape[0]} rows of `x`. "
            f"Received: {names.dtype.name}{list(names.shape)}"
        )

    def blocks(size: int) -> Iterator[np.ndarray]:
        return (block.reshape(len(block), *shape[1:]) for block in x.blocks(size))

    return ArrayRows(shape, x.dtype, blocks), names
