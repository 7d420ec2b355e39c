"""Read the IDX files in which MNIST and Fashion-MNIST are distributed."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np

from ssl_weighting.data.damage import DAMAGE, check_claim
from ssl_weighting.data.examples import Examples

_UNSIGNED_BYTE = 8  # the type code of every file of these sets
_PARTS = ("train", "t10k")
_FILES = tuple(f"{part}-{what}-ubyte" for part in _PARTS for what in ("images-idx3", "labels-idx1"))


def find_idx(folder: str | os.PathLike) -> dict[str, Path] | None:
    """Return name -> path of the four files, each with or without .gz, or None if one is missing.

    Names are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with `t10k`.
    """
    found = {}
    for name in _FILES:
        candidates = [Path(folder, name + suffix) for suffix in (".gz", "")]
        found[name] = next((path for path in candidates if path.is_file()), None)
    return None if None in found.values() else found


def read_idx_set(files: dict[str, Path]) -> tuple[Examples, Examples]:
    """Return (train, test) out of the files that `find_idx` found; images [n, H, W, 1] uint8.

    Raises:
        ValueError: if a file is damaged or has another number of entries than its partner.
    """
    parts = []
    for part in _PARTS:
        images_file, labels_file = (
            files[f"{part}-{what}-ubyte"] for what in ("images-idx3", "labels-idx1")
        )
        images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
        if len(images) != len(labels):
            raise ValueError(
                f"{labels_file} must have one label for each of the {len(images)} images of "
                f"{images_file.name}. Received: {len(labels)} labels. Get both files again."
            )
        parts.append(Examples(images[..., np.newaxis], labels.astype(np.int32)))
    return parts[0], parts[1]


def read_idx(path: Path, num_dimensions: int) -> np.ndarray:
    """Return the array of one IDX file of bytes, gzip-compressed if its name ends in .gz.

    Layout: 0, 0, the type code 8, the number of dimensions, each size as a big-endian 32-bit
    number, then the bytes.

    Args:
        path: the file.
        num_dimensions: expected number of dimensions.

    Returns:
        uint8 array of `num_dimensions` dimensions.

    Raises:
        ValueError: if the file is damaged or is something else.
    """
    header = bytes([0, 0, _UNSIGNED_BYTE, num_dimensions])
    start = 4 * (1 + num_dimensions)
    content = _read_bytes(path, header, start)
    if content[:4] != header or len(content) < start:
        raise ValueError(
            f"{path} must be an IDX file of bytes with {num_dimensions} dimensions, starting with "
            f"{header.hex(' ')}. Received: {content[:4].hex(' ') or 'an empty file'}, "
            f"{len(content)} bytes in all. Get the file again."
        )
    shape = _shape(content, start)
    if len(content) != start + math.prod(shape):
        raise ValueError(
            f"{path} must have {start + math.prod(shape)} bytes for its shape {list(shape)}. "
            f"Received: {len(content)} bytes. Get the file again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _shape(content: bytes, start: int) -> tuple[int, ...]:
    return tuple(np.frombuffer(content[4:start], ">u4").tolist())


def _read_bytes(path: Path, header: bytes, start: int) -> bytes:
    """Return the bytes that the header announces, one more if there are more."""
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            content = file.read(start)
            if content[:4] != header or len(content) < start:
                return content
            size = math.prod(_shape(content, start))
            check_claim(size, path.stat().st_size)
            return content + file.read(size + 1)
    except DAMAGE as error:
        raise ValueError(
            f"{path} must be a complete gzip file. Received: {path.stat().st_size} bytes that "
            f"cannot be unpacked ({error}). Get the file again."
        ) from error
