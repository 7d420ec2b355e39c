"""What tells inputs apart, mostly without reading them: answers to one are none to another."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ssl_weighting.data.images.folder_layout import Found

_TAIL = 8  # of a .parquet file: the length of its footer, and PAR1
_WHOLE = 2**16  # bytes of a picture up to which all of it is read
_PIECE = 2**12  # of a larger one, at its beginning, in its middle and at its end


def joined_identity(sources: Iterable) -> str:
    """Return a digest of several inputs (`source.Source`) in their order."""
    digest = hashlib.sha256(b"inputs")
    for source in sources:
        _add(digest, source.kind.rows, source.count, source.identity())
    return digest.hexdigest()


def identity_of_pictures(files: Iterable[tuple[str, Found]]) -> str:
    """Return a digest of image files, in their order: of names, sizes and some of what they hold.

    Times would tell more, and would tell copies of a folder on two machines apart.
    """
    digest = hashlib.sha256(b"pictures")
    for name, file in files:
        _add(digest, name, *_pieces(file.path))
    return digest.hexdigest()


def identity_of_file(path: str | os.PathLike, how: str = "") -> str:
    """Return a digest of what a file, or a folder of .npy files, tells of its content.

    Of .npz files these are the checksums in their directory, of .parquet files the footer with its
    statistics; others, such as .npy and .csv, are read as a whole.

    Args:
        path: of the file; how: how it is read, where that may differ.
    """
    digest, path = hashlib.sha256(how.encode()), Path(path)
    if path.is_dir():
        for file in sorted(path.glob("*.npy")):
            _add(digest, file.name, _digest(file))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _add(digest, member.filename, member.file_size, member.CRC)
    elif path.suffix.lower() == ".parquet":
        _add(digest, path.stat().st_size, _footer(path))
    else:
        _add(digest, _digest(path))
    return digest.hexdigest()


def _add(digest, *parts):
    digest.update(repr(parts).encode("utf-8", "surrogatepass"))


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pieces(path) -> tuple[int, bytes]:
    """Return the size of a file, -1 if there is none, and a digest of pieces of it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
    except OSError:
        return -1, b""  # a link to nowhere: it will be told as one that cannot be read
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            return -1, b""
        size, digest = about.st_size, hashlib.sha256()
        whole = size <= _WHOLE
        for place in (0,) if whole else (0, size // 2, size - _PIECE):
            digest.update(os.pread(handle, _WHOLE if whole else _PIECE, place))
        return size, digest.digest()
    except OSError:
        return -1, b""
    finally:
        os.close(handle)


def _footer(path):
    with open(path, "rb") as file:
        file.seek(-_TAIL, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-min(_TAIL + length, path.stat().st_size), os.SEEK_END)
        return file.read(length)
