"""Read a user's own images from one .npz file."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np

from ssl_weighting.data.array_files import read_npz, size_of_npz
from ssl_weighting.data.array_rows import npz_rows
from ssl_weighting.data.examples import Examples, RawDataset, base_name
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.keyed_arrays import check_keys, described, labeled_parts
from ssl_weighting.data.memory import STREAM, need_of_images, require
from ssl_weighting.data.own import own_dataset


def load_npz(path: str | os.PathLike, image_size: int | None = None) -> RawDataset:
    """Return the set in a file written with `np.savez`.

    Keys: x_train, y_train; optional x_test with y_test (without them, a fifth of the training
    images is held out, see `own_dataset`), x_unlabeled, x_validation with y_validation, class_names
    [C] strings (default: "0", "1", ...). Images are uint8 [n, H, W] or [n, H, W, C] with C = 1 or
    3, labels integers [n] or [n, 1]. Images are called x_train[0], x_train[1], ... Pickled objects
    are refused.

    Args:
        path: of the file.
        image_size: side to which images are resized, before copies are looked for; None takes them
            as they are.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, a key is missing or unknown, or an array does not fit.
        TooLargeError: if there is not the memory for it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`dataset` must name a file as npz:PATH. Received: npz:{path}, which is not there."
        )
    need = _need(path, image_size)
    require(need, f"The images of {base_name(path)}", f"{STREAM}, or fewer or smaller images")
    parts, class_names = _read_parts(path)
    named = {part: parts.pop(part).named(f"x_{part}") for part in list(parts)}
    if image_size is not None:  # each part is let go once it is resized
        named = {part: _resized(named.pop(part), image_size) for part in list(named)}
    return own_dataset(Path(path).stem, named, class_names, source_of(path, image_size))


def _read_parts(path):
    arrays = read_npz(path)
    check_keys(path, arrays)
    return labeled_parts(
        path, arrays, lambda part: as_images(arrays[f"x_{part}"], f"`x_{part}` in {path}")
    )


def source_of(path: str | os.PathLike, image_size: int | None) -> str:
    """Return what results say of a file."""
    resized = "" if image_size is None else f", images resized to {image_size}x{image_size}"
    return f"file {base_name(path)}{resized}"


def as_images(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of images as uint8 [n, H, W, C] with C = 1 or 3; grey ones may lack the C.

    Args:
        array: of a file, for training or for prediction.
        name: of it, for errors.

    Raises:
        ValueError: it is something else; says how it becomes what is asked for.
    """
    images = array[..., np.newaxis] if array.ndim == 3 else array
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} must be uint8 [n, H, W] or [n, H, W, C] with C = 1 or 3. "
            f"Received: {described(array)}. {_conversion(images)}"
        )
    return images


def _need(path, image_size) -> float:
    """Return how many bytes a run takes for the images of a file, as its headers tell."""
    size = size_of_npz(path)
    shapes = [rows.shape for name, rows in npz_rows(path).items() if name.startswith("x_")]
    sides = (image_size, image_size)
    if image_size is None or all(shape[1:3] == sides for shape in shapes):
        return need_of_images(size)
    pixels = (math.prod((*shape[:1], *sides, *shape[3:])) for shape in shapes)
    return size + need_of_images(sum(pixels))


def _resized(examples: Examples, side: int) -> Examples:
    return dataclasses.replace(examples, inputs=resize_images(examples.inputs, side))


def _conversion(images: np.ndarray) -> str:
    """Return how such an array becomes what is asked for."""
    if images.ndim != 4 or images.dtype.kind not in "iuf" or not images.size:
        if images.ndim == 2 and images.dtype.kind == "f":
            return "Features are trained on as --dataset=features:PATH."
        return "Store one array of images of one size."
    if images.shape[3] not in (1, 3):
        first = images.shape[1] in (1, 3)
        moved = "Store `x.transpose(0, 2, 3, 1)`: the channels come last."
        return moved if first else "Store grey images or RGB, without transparency."
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return "For values in [0, 1] store `np.rint(255 * x).astype('uint8')`."
    if low >= 0 and high <= 255:
        return "Store `np.rint(x).astype('uint8')`."
    return (
        "Scale them from their range, such as -1 to 1 or 0 to 65535, to 0 to 255, and store "
        "`np.rint(...).astype('uint8')`."
    )
