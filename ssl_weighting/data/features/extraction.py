"""Make the features of a set's examples chunk by chunk: parts on disk, then one file.

A run that is killed goes on from the chunks that are there. Each has a checksum and the digest of
all that it depends on, as the whole file has: what was made of other inputs is made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.array_files import kept
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import replacing
from ssl_weighting.data.progress import counted

_CHUNK = 256  # backbone passes of a chunk
_PART = re.compile(r"features-[0-9a-f]{16}-\d{6}\.npz")


class Part(NamedTuple):
    """Some examples of a set, such as its test set.

    Attributes:
        name: of the part.
        order: [n] int64, all rows of the part in the order in which they are made.
        views: backbone passes of an example.
        shape: of its features, [d] or [views, d].
        make: rows [m] int64 -> records [m] of `record(shape)`.
    """

    name: str
    order: np.ndarray
    views: int
    shape: tuple[int, ...]
    make: Callable[[np.ndarray], np.ndarray]


def record(shape: tuple[int, ...]) -> np.dtype:
    """Return the dtype of an example: features, the SHA-256 of what they are of, what is wrong.

    An example with a `problem` could not be read; its features are none.
    """
    return np.dtype([("x", "<f4", shape), ("content", "u1", 32), ("problem", "<U160")])


def extract(
    parts: Sequence[Part], digest: str, folder: Path, say: Callable[[str], object] = print
) -> dict[str, np.ndarray]:
    """Return part -> records [n], in the order of its rows.

    Memory is that of one chunk's inputs beside the features.

    Args:
        parts: what is to be made; names differ.
        digest: of all that the features depend on, in hexadecimal.
        folder: where finished chunks lie; made if missing.
        say: told of chunks that are damaged or cannot be kept.

    Raises:
        ValueError: features are not finite.
    """
    found = {part.name: np.empty(len(part.order), record(part.shape)) for part in parts}
    total = sum(len(part.order) * part.views for part in parts)
    chunks = [(part, rows) for part in parts for rows in _chunks(part)]
    shown = counted(
        chunks, total, "extracting features", each=lambda one: len(one[1]) * one[0].views
    )
    for number, (part, rows) in enumerate(shown):
        path = folder / f"features-{digest[:16]}-{number:06d}.npz"

        def make(part=part, rows=rows):
            return _checked(part, rows, part.make(rows))

        found[part.name][rows] = kept(path, f"{digest} {number}", rows.shape, make, say)
    return found


def _chunks(part):
    size = max(1, _CHUNK // part.views)
    return [part.order[k : k + size] for k in range(0, len(part.order), size)]


def _checked(part, rows, records):
    read = records["problem"] == ""
    bad = ~np.isfinite(records["x"][read]).reshape(int(read.sum()), -1).all(axis=1)
    if bad.any():
        raise ValueError(
            f"The backbone must give finite features. Received: NaN or infinity for row "
            f"{rows[read][bad][0]} of {part.name}. Its weights may be damaged: get them again."
        )
    return records


def forget_chunks(folder: Path) -> None:
    """Remove finished chunks, of whatever digest, and their folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if _PART.fullmatch(file.name):
                file.unlink()
        folder.rmdir()


def is_made(path: Path, digest: str) -> bool:
    """Return whether the file holds the features of this digest; False where there is none.

    Raises:
        ValueError: it is no file of features, or damaged: nothing of a user's is written over.
    """
    if not os.path.lexists(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} in it is damaged")
        return made_by(path)["digest"] == digest
    except DAMAGE as error:
        raise ValueError(
            "`out` must be a new file, or one of features that is replaced. Received: "
            f"{path}, which is none or damaged ({type(error).__name__}: {error}). Choose another "
            "name, or remove it."
        ) from error


def made_by(path: Path) -> dict:
    """Return the digest and the recipe of a file of features: what made it."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.comment)


def write_features(path: Path, arrays: Mapping[str, np.ndarray], digest: str, recipe: str) -> None:
    """Write the arrays as an .npz file, whole; digest and recipe are its comment as an archive.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path, tag=f"{os.getpid()}-") as temporary:
        np.savez(temporary, **arrays)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = json.dumps({"digest": digest, "recipe": recipe}).encode()
