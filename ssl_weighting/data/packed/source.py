"""What packs are made of: a folder of pictures or an .npz file, read a piece at a time."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ssl_weighting.data.array_files import named_damage, read_npz
from ssl_weighting.data.array_rows import ArrayRows, npz_rows
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
from ssl_weighting.data.images.npz import as_images
from ssl_weighting.data.images.npz import source_of as npz_source_of
from ssl_weighting.data.images.picture import PictureError, is_grey, read_picture, read_record
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.keyed_arrays import check_keys, labeled_parts
from ssl_weighting.data.packed.manifest import ENCODED, PIXELS

SMALL = 64  # side up to which the pixels of a picture take about as much room as its file
_AT_ONCE = 256  # pictures in a block
_BLOCK = 2**24  # bytes of a block of an array


class Block(NamedTuple):
    """Some examples of a part, one after the other.

    Attributes:
        images: [k, H, W, C] uint8, those that could be read.
        contents: k files' bytes, where these are packed; else [].
        labels: [k] int32.
        names: k names.
        skipped: (name, reason) of each that could not be read.
        coloured: whether one of the pictures is no grey one.
    """

    images: np.ndarray
    contents: list[bytes]
    labels: np.ndarray
    names: list[str]
    skipped: list[tuple[str, str]]
    coloured: bool

    @property
    def size(self) -> int:
        """How many examples were looked at."""
        return len(self.names) + len(self.skipped)


class PackSource(Protocol):
    """A set that is to be packed.

    Attributes:
        name, class_names: of the set.
        source: where it comes from, for people.
        identity: digest of all that the pack depends on, in hexadecimal; none of it is read.
        manner: digest of what every example of it depends on.
        image_size: side to which images are resized; None: they are as they are.
        jpeg_draft: as of `decode`.
        parts: part -> examples of it, readable or not, in the set's order.
        stores: the stores that it can be packed into, the usual one first.
    """

    name: str
    class_names: tuple[str, ...]
    source: str
    identity: str
    manner: str
    image_size: int | None
    jpeg_draft: bool
    parts: Mapping[str, int]
    stores: tuple[str, ...]

    def shape(self) -> tuple[int, int, int]:
        """Return (H, W, C) of an example."""
        ...

    def as_grey(self) -> None:
        """Let all images be grey from now on."""
        ...

    def identity_of(self, part: str, start: int, stop: int) -> str:
        """Return the digest of what the examples start to stop of a part depend on, and no other.

        That is beside `manner`; nothing of it is read.
        """
        ...

    def skips(self, part: str) -> bool:
        """Return whether what cannot be read of a part is left out."""
        ...

    def blocks(self, part: str, start: int, stop: int, store: str) -> Iterator[Block]:
        """Yield the examples start to stop of a part, as a store needs them."""
        ...


class FolderSource:
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


class NpzSource:
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
        self.name, self.source = Path(path).stem, npz_source_of(path, image_size)
        self._next: tuple[str, int] | None = None  # where `_pixels` goes on
        self._pixels: Iterator[np.ndarray] = iter(())

    @functools.cached_property
    def identity(self) -> str:
        """Digest of names, sizes and checksums of the arrays, and of how they are read."""
        with named_damage(self._path), zipfile.ZipFile(self._path) as archive:
            members = [(one.filename, one.file_size, one.CRC) for one in archive.infolist()]
        known = [self.name, self.source, self.image_size, members]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    @property
    def manner(self) -> str:
        """All of `identity`: what is part of one file changes with it."""
        return self.identity

    def identity_of(self, part: str, start: int, stop: int) -> str:
        """See `PackSource`."""
        return f"{part} {start} {stop}"

    def skips(self, part: str) -> bool:
        """See `PackSource`; an array can be read or not."""
        return False

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
