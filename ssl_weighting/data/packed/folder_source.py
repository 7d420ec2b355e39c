"""A folder of pictures as what a pack is made of, read a piece at a time."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssl_weighting.data.images.folder_layout import Found
from ssl_weighting.data.images.folders import (
    check_draft,
    find_files,
    name_of,
    read_pictures,
    skips,
    source_of,
    unlike,
    with_channels,
)
from ssl_weighting.data.images.picture import PictureError, is_grey, read_picture, read_record
from ssl_weighting.data.packed.manifest import ENCODED, PIXELS
from ssl_weighting.data.packed.source import Block, PackSource

SMALL = 64  # side up to which the pixels of a picture take about as much room as its file
_AT_ONCE = 256  # pictures in a block


class FolderSource(PackSource):
    """A folder of pictures, as `load_folder` reads it; see `PackSource`.

    Args:
        path, image_size, on_error, jpeg_draft: as of `load_folder`.

    Raises:
        FileNotFoundError, ValueError: as `load_folder`, but for what stands in the files.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        image_size: int | None = None,
        on_error: str = "auto",
        jpeg_draft: bool = False,
    ):
        check_draft(jpeg_draft, image_size)
        self._root, self._files, self.class_names = find_files(path, on_error)
        self.image_size, self.jpeg_draft, self._on_error = image_size, jpeg_draft, on_error
        self.name = self._root.resolve().name
        self.source = source_of(path, image_size, jpeg_draft)
        self.parts = {part: len(pairs) for part, pairs in self._files.items()}
        small = image_size is not None and image_size <= SMALL
        self.stores = (PIXELS, ENCODED) if small else (ENCODED, PIXELS)
        self._grey = False
        self._digest_of = functools.cache(self._digested)

    @functools.cached_property
    def identity(self) -> str:
        """Digest of names, labels, sizes and times of all files, and of how they are read."""
        parts = [(part, self.identity_of(part, 0, count)) for part, count in self.parts.items()]
        known = [self.manner, self._on_error, *parts]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    @property
    def manner(self) -> str:
        """Digest of names and of how files are read; see `PackSource`."""
        known = (self.name, self.source, self.class_names, self.image_size, self.jpeg_draft)
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def identity_of(self, part: str, start: int, stop: int) -> str:
        """Return the digest of names, labels, sizes and times of files; see `PackSource`."""
        return self._digest_of(part, start, stop)

    def _digested(self, part, start, stop):
        digest = hashlib.sha256(part.encode())
        for file, label in self._files[part][start:stop]:
            about = [name_of(self._root, file), label, file.problem, *_state(file.path)]
            digest.update(json.dumps(about).encode())
        return digest.hexdigest()

    def skips(self, part: str) -> bool:
        """See `PackSource`."""
        return skips(self._on_error, part)

    def shape(self) -> tuple[int, int, int]:
        """Return (H, W, C): of the first picture that can be read, in colour if any is."""
        _, image = self._first
        grey = self._grey or (image.ndim == 2 and self._all_grey)
        return (*image.shape[:2], 1 if grey else 3)

    def as_grey(self) -> None:
        """Let all images be grey, since those that can be read are; see `PackSource`."""
        self._grey = True

    def blocks(self, part: str, start: int, stop: int, store: str) -> Iterator[Block]:
        """Yield the pictures of files; see `PackSource`.

        Raises:
            PictureError: a file cannot be read and must not be skipped.
            ValueError: a picture is of another size.
        """
        options = {"image_size": self.image_size, "draft": self.jpeg_draft}
        read = functools.partial(read_record if store == ENCODED else read_picture, **options)
        for first in range(start, stop, _AT_ONCE):
            pairs = self._files[part][first : min(first + _AT_ONCE, stop)]
            found = list(read_pictures([file for file, _ in pairs], read))
            yield self._block(part, pairs, found, store)

    def _block(self, part, pairs, found, store) -> Block:
        height, width, channels = self.shape()
        images, contents, labels, names, skipped, coloured = [], [], [], [], [], False
        for (file, label), one in zip(pairs, found, strict=True):
            name = name_of(self._root, file)
            if isinstance(one, PictureError):
                if not self.skips(part):
                    raise one
                skipped.append((name, one.reason))
                continue
            content, image = one if store == ENCODED else (None, one)
            if image.shape[:2] != (height, width):
                raise unlike(*self._first, file, image)
            coloured |= image.ndim == 3
            images.append(with_channels(image, channels))
            contents += [] if content is None else [content]
            labels.append(label)
            names.append(name)
        shaped = np.reshape(images, (len(images), height, width, channels)).astype(np.uint8)
        labels = np.array(labels, np.int32)
        return Block(shaped, contents, labels, names, skipped, coloured)

    @functools.cached_property
    def _first(self) -> tuple[Found, np.ndarray]:
        """Return the first file that can be read, with its picture."""
        first = None
        read = functools.partial(read_picture, image_size=self.image_size, draft=self.jpeg_draft)
        for file in self._all():
            (image,) = read_pictures([file], read)
            if not isinstance(image, PictureError):
                return file, image
            first = first or image
        raise first

    @functools.cached_property
    def _all_grey(self) -> bool:
        """Whether the beginnings of all files that can be read say so."""
        return False not in read_pictures(self._all(), is_grey)

    def _all(self) -> list[Found]:
        return [file for pairs in self._files.values() for file, _ in pairs]


def _state(path: Path) -> tuple[int, int]:
    try:
        known = os.stat(path)
    except OSError:
        return 0, 0
    return known.st_size, known.st_mtime_ns
