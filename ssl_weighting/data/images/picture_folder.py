"""A user's own images in a folder, decoded when they are asked for: none of them stays in memory.

The set is the one of `load_folder`, with its checks, its held-out test set and its skipped files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.images.folder_layout import Found
from ssl_weighting.data.images.folders import (
    find_files,
    name_of,
    read_pictures,
    skips,
    source_of,
    with_channels,
)
from ssl_weighting.data.images.picture import PictureError, read_picture
from ssl_weighting.data.own import own_dataset
from ssl_weighting.data.progress import counted


class PictureFolder:
    """The files of a set by part and row; a row counts the part's files, readable or not.

    Args:
        path, on_error: as of `load_folder`.
        side: to which images are resized.
        channels: 1 (grey) or 3 (colour).

    Raises:
        FileNotFoundError, ValueError: as `load_folder`, but for what stands in the files.
    """

    def __init__(self, path: str | os.PathLike, side: int, channels: int, on_error: str = "auto"):
        self.root, self._parts, self._classes = find_files(path, on_error)
        self._path, self._side, self._channels, self._on_error = path, side, channels, on_error

    @property
    def sizes(self) -> dict[str, int]:
        """Files of each part."""
        return {part: len(pairs) for part, pairs in self._parts.items()}

    def digest(self) -> str:
        """Return the SHA-256 of the names, places and bytes of all files, in hexadecimal."""
        pairs = [(part, file) for part, pairs in self._parts.items() for file, _ in pairs]
        digest = hashlib.sha256(json.dumps(self._classes).encode())
        with ThreadPoolExecutor() as pool:
            contents = pool.map(lambda pair: _digest(pair[1]), pairs)
            for (part, file), content in zip(
                pairs, counted(contents, len(pairs), "comparing images"), strict=True
            ):
                digest.update(json.dumps([part, self._name(file), content]).encode())
        return digest.hexdigest()

    def read(self, part: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of `rows` [m] that can be read, and what is wrong with each row.

        Returns:
            [k, side, side, channels] uint8, and [m] str, "" for the k that could be read.

        Raises:
            PictureError: a file cannot be read and must not be skipped.
        """
        files = [self._parts[part][row][0] for row in rows]
        images, problems = [], np.zeros(len(rows), "<U160")
        read = functools.partial(read_picture, image_size=self._side)
        for k, image in enumerate(read_pictures(files, read)):
            if not isinstance(image, PictureError):
                images.append(with_channels(image, self._channels))
            elif skips(self._on_error, part):
                problems[k] = image.reason
            else:
                raise image
        stacked = np.reshape(images, [len(images), self._side, self._side, self._channels])
        return stacked.astype(np.uint8), problems

    def dataset(
        self, contents: Mapping[str, np.ndarray], problems: Mapping[str, np.ndarray]
    ) -> tuple[RawDataset, dict[str, list[tuple[str, int]]]]:
        """Return the set with digests in the place of images, and where its examples stand.

        Args:
            contents: part -> [n, 32] uint8, the SHA-256 of each image: equal where images are.
            problems: part -> [n] str, as `read` returns them.

        Returns:
            A set whose inputs are int32 [n, 32], and part of it -> (part, row) of each example.

        Raises:
            ValueError: as `load_folder`.
        """
        names = {p: [self._name(file) for file, _ in pairs] for p, pairs in self._parts.items()}
        parts, skipped = {}, []
        for part, pairs in self._parts.items():
            rows = np.flatnonzero(problems[part] == "")
            bad = np.flatnonzero(problems[part] != "")
            if not len(rows):
                raise PictureError(names[part][0], str(problems[part][0]))
            skipped += [(names[part][k], str(problems[part][k])) for k in bad]
            labels = np.array([label for _, label in pairs], np.int32)[rows]
            kept = np.array(names[part], object)[rows]
            parts[part] = Examples(contents[part][rows].astype(np.int32), labels, names=kept)
        raw = own_dataset(
            self.root.resolve().name,
            parts,
            self._classes,
            source_of(self._path, self._side),
            tuple(skipped),
        )
        places = {name: (p, row) for p, ones in names.items() for row, name in enumerate(ones)}
        return raw, {
            part: [places[name] for name in examples.names] for part, examples in raw.parts.items()
        }

    def _name(self, file: Found) -> str:
        return name_of(self.root, file)


def _digest(file: Found) -> str:
    """Return the SHA-256 of a file's bytes, or why it has none that can be read."""
    path = Path(file.path)
    try:
        # To open a pipe would wait for its writer.
        if file.problem or not stat.S_ISREG(os.stat(path).st_mode):
            return file.problem or "no regular file"
        with open(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        return str(error.strerror)
