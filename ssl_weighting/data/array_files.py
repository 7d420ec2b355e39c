"""Files of arrays: read with their sizes checked first, or made once and kept with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ssl_weighting.data.damage import DAMAGE, check_claim
from ssl_weighting.data.examples import base_name
from ssl_weighting.data.files import replacing

NPY = "an .npy file of a plain array", "np.save(path, x)"  # for `named_damage`
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Sizes are compared with the file's before memory is taken. With them, the checksums of the zip
    format cover every byte that is read: a flipped bit is refused or changes nothing.

    Raises:
        ValueError: if it is damaged, holds pickled objects or is something else; names the file.
    """
    with named_damage(path):
        return _read(path)


def size_of_npz(path: str | os.PathLike) -> int:
    """Return the bytes of all arrays of an .npz file, as its headers tell; none is read.

    Raises:
        ValueError: as `read_npz`, but for what only reading shows.
    """
    with named_damage(path), zipfile.ZipFile(path) as archive:
        return _checked_size(path, archive)


@contextlib.contextmanager
def named_damage(
    path: str | os.PathLike,
    form: str = "an .npz file of plain arrays",
    writer: str = "np.savez(path, ...)",
) -> Iterator[None]:
    """Name the file whose damage ends what is done inside.

    Args:
        path: of the file.
        form: what it must be.
        writer: the expression that writes such a file.

    Raises:
        ValueError: for any of `DAMAGE`.
    """
    try:
        yield
    except DAMAGE as error:
        raise ValueError(
            f"{path} must be {form}, without pickled objects. "
            f"Received: {error or type(error).__name__}. Write it again with `{writer}`."
        ) from error


def read_npy_folder(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of the .npy files in a folder by name, their sizes checked first.

    Unlike those of an .npz file, their bytes have no checksums.

    Raises:
        ValueError: one is damaged or holds pickled objects; names the file.
    """
    return {name: _read_npy(file) for name, file in npy_files(path).items()}


def npy_files(folder: str | os.PathLike) -> dict[str, Path]:
    """Return the .npy files in a folder by the names of their arrays, hidden ones left out."""
    found = sorted(Path(folder).glob("*.npy"))
    return {file.stem: file for file in found if not file.name.startswith(".")}


def _read_npy(path: Path) -> np.ndarray:
    with named_damage(path, *NPY):
        size = path.stat().st_size
        check_claim(size)
        with open(path, "rb") as file:
            check_header(file, size, path.name)
        return np.load(path, allow_pickle=False)


def _read(path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        _checked_size(path, archive)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _checked_size(path, archive) -> int:
    members = archive.infolist()
    check_members(members, os.path.getsize(path))
    size = sum(member.file_size for member in members)
    check_claim(size)
    for member in members:
        _check_member(archive, member)
    return size


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Check that arrays have different names and lie beside each other in a file of `size` bytes.

    Raises:
        ValueError: they do not.
    """
    names = [member.filename.removesuffix(".npy") for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two arrays called {twice[0]!r}")
    if sum(member.compress_size for member in members) > size:
        raise ValueError("arrays that overlap in the file")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # bzip2 packs 48 GB of zeros into 40 kB
            raise ValueError(f"{member.filename!r} packed by a method that numpy does not write")


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Compare what an array's header claims with what the file can hold."""
    stored = member.compress_type == zipfile.ZIP_STORED
    check_claim(member.file_size, member.file_size if stored else member.compress_size)
    with archive.open(member) as file:
        check_header(file, member.file_size, member.filename)


def check_header(file: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether Fortran's order, and dtype of an array, where the file can hold them.

    Args:
        file: at the beginning of the array; is then at its first number.
        size: bytes of the array with its header.
        name: of the array, for errors.

    Raises:
        ValueError: another format, or more or fewer bytes than the header claims.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name!r} of the unknown format {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    claimed = file.tell() + math.prod(shape) * dtype.itemsize
    if claimed != size and not dtype.hasobject:  # objects are refused when read
        raise ValueError(f"{name!r} of {size:,} bytes, whose header claims {claimed:,}")
    return shape, fortran, dtype


def kept(
    path: Path | None,
    name: str,
    shape: tuple[int, ...],
    make: Callable[[], np.ndarray],
    say: Callable[[str], object],
) -> np.ndarray:
    """Return the array in a file, or make it and write it there.

    Args:
        path: of the .npz file; None: nothing is kept.
        name: describes all that the array depends on.
        shape: its first dimensions.
        make: makes it.
        say: told of a damaged file and of one that cannot be written, one line.
    """
    if path is None:
        return make()
    found, problem = read_array(path, name, shape)
    if found is not None:
        return found
    if problem:
        say(f"{base_name(path)} in the cache is damaged ({problem}); made again")
    made = make()
    try:
        write_array(path, name, made)
    except OSError as error:  # a full disk must not end the run: the next one makes it again
        say(f"{base_name(path)} is not kept in the cache ({error}); the next run makes it again")
    return made


def write_array(path: Path, name: str, array: np.ndarray) -> None:
    """Write `array` so that the file appears whole or not at all; make its folder.

    Raises:
        OSError: if the folder cannot be written.
    """
    with replacing(path, tag=f"{os.getpid()}-") as temporary:  # two runs may write at once
        np.savez(temporary, array=array, name=name, digest=_digest(array))


def read_array(path: Path, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
    """Return (the array, ""), (None, "") without a file, or (None, what is wrong with it).

    Args:
        path: of the file.
        name: what it was written under.
        shape: first dimensions that are expected.
    """
    if not os.path.lexists(path):
        return None, ""
    try:
        arrays = _read(path)
        array, found, digest = arrays["array"], str(arrays["name"]), str(arrays["digest"])
    except DAMAGE as error:
        return None, f"{type(error).__name__}: {error}"
    if found != name or array.shape[: len(shape)] != shape:
        return None, f"it holds another array, of shape {list(array.shape)}"
    if digest != _digest(array):
        return None, "its checksum does not fit"
    return array, ""


def _digest(array: np.ndarray) -> str:
    header = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()
