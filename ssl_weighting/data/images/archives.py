"""Find the files of a published data set in a folder: unpacked, or still in their archive.

An archive is never unpacked, its members are read into memory by their full names; so no member can
write anywhere.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Sized
from pathlib import Path
from typing import NamedTuple

from ssl_weighting.data.damage import DAMAGE

UNOFFICIAL = "unofficial copy, results are not comparable with published numbers"
_LARGEST = 2**28  # bytes of a member: ten times those of CIFAR-10


class Layout(NamedTuple):
    """How a data set is published."""

    directory: str  # its folder, also inside the archive
    archive: str  # file name of the archive
    archive_md5: str
    files: dict[str, str]  # file -> MD5; "" where only the archive's is published


class Found(NamedTuple):
    """The files of one layout."""

    contents: dict[str, bytes]  # file -> content
    source: str  # for people: where they lie, and whether they are the published ones


def find(folder: str | os.PathLike, layout: Layout) -> Found | None:
    """Return the files of `layout` below `folder`, or None if there is no trace of them.

    Tried in this order: `folder`/directory, `folder` itself, the archive in `folder`.

    Raises:
        FileNotFoundError: if some files are there and others are missing; names them.
        ValueError: if the archive is damaged or lacks files.
    """
    for place in (Path(folder, layout.directory), Path(folder)):
        present = [name for name in layout.files if (place / name).is_file()]
        if present:
            _check_whole(layout.files, present, place)
            contents = {name: (place / name).read_bytes() for name in layout.files}
            return Found(
                contents, f"files in {place.name or 'a folder'}, {_verdict(layout, contents)}"
            )
    archive = Path(folder, layout.archive)
    if not archive.is_file():
        return None
    contents = read_members(archive, layout.directory, list(layout.files))
    official = _md5(archive.read_bytes()) == layout.archive_md5
    return Found(contents, f"{archive.name}, {'checksum as published' if official else UNOFFICIAL}")


def read_members(archive: Path, directory: str, files: list[str]) -> dict[str, bytes]:
    """Return file -> content of the members `directory`/file of a tar archive, as `files` go.

    Not as the members go: the published CIFAR-10 has its test batch between training batches.

    Raises:
        ValueError: if the archive is damaged or a member is missing; names it.
    """
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.removeprefix(f"{directory}/")
                if member.isreg() and name in files and member.name == f"{directory}/{name}":
                    if member.size > _LARGEST:
                        raise ValueError(f"{member.name} of {member.size:,} bytes")
                    contents[name] = tar.extractfile(member).read()
            while tar.fileobj.read(2**20):  # to its end, where the checksum stands
                pass
    except DAMAGE as error:
        raise ValueError(
            f"{archive} must be a whole tar archive. Received: {error}. Get it again."
        ) from error
    missing = [name for name in files if name not in contents]
    if missing:
        raise ValueError(
            f"{archive} must hold {', '.join(f'{directory}/{name}' for name in files)}. Received: "
            f"none called {', '.join(missing)}. Get it again."
        )
    return {name: contents[name] for name in files}


def counted(source: str, published: dict[str, int], *parts: Sized) -> str:
    """Return `source`, and after it where a part has not as many images as the published one.

    Args:
        source: of the set.
        published: part -> number of images, in the order of `parts`.
        parts: what was read.
    """
    counts = zip(published.items(), map(len, parts), strict=True)
    unlike = [f"{n:,} of {want:,} images in {part}" for (part, want), n in counts if n != want]
    return f"{source}; an incomplete copy: {', '.join(unlike)}" if unlike else source


def check_folder(data_dir: str | os.PathLike | None) -> None:
    """Raise FileNotFoundError if there is no such folder."""
    if data_dir is not None and not Path(data_dir).is_dir():
        raise FileNotFoundError(
            "`data_dir` must name a folder that exists. Received: "
            f"data_dir={os.fspath(data_dir)!r}. Name the folder with the data set's files."
        )


def _check_whole(files, present, place) -> None:
    missing = [name for name in files if name not in present]
    if missing:
        raise FileNotFoundError(
            f"{place} must hold {', '.join(files)}. Received: {', '.join(present)} without "
            f"{', '.join(missing)}. Put the missing files there."
        )


def _verdict(layout, contents) -> str:
    if not any(layout.files.values()):
        return f"{UNOFFICIAL} (no checksums of its files are published: put {layout.archive} there)"
    official = all(md5 and md5 == _md5(contents[name]) for name, md5 in layout.files.items())
    return "checksums as published" if official else UNOFFICIAL


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
