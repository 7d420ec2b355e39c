"""Arrays that are made once and kept in files, each with its description and checksum."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import base_name
from ssl_weighting.data.files import replacing


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
    if not path.exists():
        return None, ""
    try:
        with np.load(path, allow_pickle=False) as file:
            array, found, digest = file["array"], str(file["name"]), str(file["digest"])
    # TypeError: a bare array cannot be entered.
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        return None, f"{type(error).__name__}: {error}"
    if found != name or array.shape[: len(shape)] != shape:
        return None, f"it holds another array, of shape {list(array.shape)}"
    if digest != _digest(array):
        return None, "its checksum does not fit"
    return array, ""


def _digest(array: np.ndarray) -> str:
    header = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()
