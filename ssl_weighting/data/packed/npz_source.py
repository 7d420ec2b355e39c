"""Images of an .npz file as what a pack is made of, read a piece at a time."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssl_weighting.data.array_files import named_damage, read_npz
from ssl_weighting.data.array_rows import ArrayRows, npz_rows
from ssl_weighting.data.images.npz import as_images, source_of
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.keyed_arrays import check_keys, labeled_parts
from ssl_weighting.data.packed.manifest import PIXELS
from ssl_weighting.data.packed.source import Block, PackSource

_BLOCK = 2**24  # bytes of a block of an array


class NpzSource(PackSource):
    """Images of an .npz file, as `load_npz` reads it; see `PackSource`.

    Args:
        path: of the file.
        image_size: side to which images are resized; None takes them as they are.

    Raises:
        FileNotFoundError, ValueError: as `load_npz`, but for what only reading shows.
    """

    stores = (PIXELS,)
    jpeg_draft = False

    def __init__(self, path: str | os.PathLike, image_size: int | None = None):
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"`dataset` must name a file as npz:PATH. Received: npz:{path}, which is not there."
            )
        self._path, self.image_size = path, image_size
        self._arrays = npz_rows(path)
        check_keys(path, self._arrays)
        known = {
            name: one if name.startswith("x_") else _whole(one)
            for name, one in self._arrays.items()
        }
        examples, self.class_names = labeled_parts(path, known, self._stand_in)
        self._labels = {part: one.labels for part, one in examples.items()}
        self._shapes = {part: one.inputs.shape for part, one in examples.items()}
        self._check_shapes()
        self.parts = {part: len(one) for part, one in examples.items()}
        self.name, self.source = Path(path).stem, source_of(path, image_size)
        self._next: tuple[str, int] | None = None  # where `_pixels` goes on
        self._pixels: Iterator[np.ndarray] = iter(())

    @functools.cached_property
    def identity(self) -> str:
        """Digest of names, sizes and checksums of the arrays, and of how they are read."""
        with named_damage(self._path), zipfile.ZipFile(self._path) as archive:
            members = [(one.filename, one.file_size, one.CRC) for one in archive.infolist()]
        known = [self.name, self.source, self.image_size, members]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def labels(self, part: str) -> np.ndarray:
        """Return the labels of a part, [n] int32."""
        return self._labels[part]

    def shape(self) -> tuple[int, int, int]:
        """Return (H, W, C) of an image."""
        height, width, channels = self._shapes["train"][1:]
        return (self.image_size or height, self.image_size or width, channels)

    def as_grey(self) -> None:
        """See `PackSource`; arrays say what they are."""
        raise ValueError("Images of an .npz file have the channels that they have.")

    def blocks(self, part: str, start: int, stop: int, store: str) -> Iterator[Block]:
        """Yield images of an array; see `PackSource`.

        Raises:
            ValueError: the file is damaged.
        """
        if self._next != (part, start):  # what stands before must be read too
            self._pixels = _one_by_one(self._arrays[f"x_{part}"], self._shapes[part])
            for _ in itertools.islice(self._pixels, start):
                pass
        size = max(_BLOCK // int(np.prod(self._shapes[part][1:])), 1)
        while start < stop:
            images = np.stack(list(itertools.islice(self._pixels, min(size, stop - start))))
            if self.image_size is not None:
                images = resize_images(images, self.image_size)
            end = start + len(images)
            names = [f"x_{part}[{row}]" for row in range(start, end)]
            yield Block(images, [], self._labels[part][start:end], names, [], True)
            start = end
        self._next = part, stop

    def _stand_in(self, part: str) -> np.ndarray:
        """Return an array of a part's shape that takes no memory; refuse what are no images."""
        name = f"x_{part}"
        rows = self._arrays[name]
        shape = (*rows.shape, 1) if len(rows.shape) == 3 else rows.shape
        if rows.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            as_images(read_npz(self._path)[name], f"`{name}` in {self._path}")  # refuses it
        return np.broadcast_to(np.uint8(0), shape)

    def _check_shapes(self):
        for part, shape in self._shapes.items():
            if not shape[0]:
                raise ValueError(
                    f"`x_{part}` in {self._path} must have images. Received: {list(shape)}. Add "
                    "some or leave it out."
                )
        if len({shape[1:] for shape in self._shapes.values()}) > 1:
            listed = ", ".join(f"x_{part}={list(shape)}" for part, shape in self._shapes.items())
            raise ValueError(
                f"All images of {self._path} must be of one shape. Received: {listed}. Resize or "
                "convert them."
            )


def _whole(rows: ArrayRows) -> np.ndarray:
    found = list(rows.blocks(max(rows.shape[0], 1)))
    return found[0] if found else np.empty(rows.shape, rows.dtype)


def _one_by_one(rows: ArrayRows, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for block in rows.blocks(max(_BLOCK // int(np.prod(shape[1:])), 1)):
        yield from block.reshape(len(block), *shape[1:])
