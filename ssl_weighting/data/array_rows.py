"""Arrays of files block by block: what is larger than memory can be read too."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.array_files import (
    NPY,
    check_header,
    check_members,
    named_damage,
    npy_files,
    read_npz,
)
from ssl_weighting.data.damage import check_claim


class ArrayRows(NamedTuple):
    """An array in a file, of which a few rows at a time are in memory; a number is one row."""

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Callable[[int], Iterator[np.ndarray]]  # rows of a block -> the blocks, in order


def npz_rows(path: str | os.PathLike) -> dict[str, ArrayRows]:
    """Return the arrays of an .npz file by name, compressed or not.

    Blocks are read through the zip format, whose checksum of an array is compared at its end. An
    array in Fortran's order is read whole, as its rows lie scattered.

    Raises:
        ValueError: it is damaged, holds pickled objects or is something else; names the file. So do
            the blocks.
    """
    with named_damage(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_members(members, os.path.getsize(path))
        return {
            member.filename.removesuffix(".npy"): _member(path, archive, member)
            for member in members
        }


def npy_rows(path: str | os.PathLike) -> dict[str, ArrayRows]:
    """Return the arrays of the .npy files in a folder by name, mapped into memory.

    Raises:
        ValueError: one is damaged or holds pickled objects; names the file.
    """
    return {name: _mapped(file) for name, file in npy_files(path).items()}


def _member(path, archive, member) -> ArrayRows:
    with archive.open(member) as file:
        shape, fortran, dtype = check_header(file, member.file_size, member.filename)
    name = member.filename.removesuffix(".npy")

    def whole(size):
        yield from _slices(read_npz(path)[name], size)

    def streamed(size):
        with named_damage(path), zipfile.ZipFile(path) as again, again.open(member) as file:
            check_header(file, member.file_size, member.filename)
            yield from _streamed(file, shape, dtype, size)

    # Objects are refused when they are read as a whole.
    scattered = (fortran and len(shape) > 1) or dtype.hasobject or not shape
    return ArrayRows(shape or (1,), dtype, whole if scattered else streamed)


def _streamed(file, shape, dtype, size) -> Iterator[np.ndarray]:
    width = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    check_claim(min(size, shape[0]) * width)
    for start in range(0, shape[0], size):
        count = min(size, shape[0] - start)
        content = file.read(count * width)
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
    if file.read(1):  # and with it the checksum
        raise ValueError("more bytes than its header claims")


def _mapped(path) -> ArrayRows:
    def mapped():
        with named_damage(path, *NPY):
            with open(path, "rb") as file:
                shape, _, _ = check_header(file, path.stat().st_size, path.name)
            # An empty array cannot be mapped.
            return np.load(path, mmap_mode=None if 0 in shape else "r", allow_pickle=False)

    found = mapped()
    return ArrayRows(found.shape or (1,), found.dtype, lambda size: _slices(mapped(), size))


def _slices(array, size) -> Iterator[np.ndarray]:
    array = np.atleast_1d(array)
    for start in range(0, len(array), size):
        yield np.ascontiguousarray(array[start : start + size])
