"""Arrays of tokens as files that know what they are of and whether they are whole."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np


def write_tokens(path: Path, name: str, tokens: np.ndarray, vocabulary_size: int) -> None:
    """Writes `tokens` [n, L] int32 so that the file is there whole or not at all.

    Args:
      path: of the .npz file; its folder is made if missing.
      name: the description that `read_tokens` will ask for.
      tokens: from 0 to below `vocabulary_size`.
      vocabulary_size: sizes below 65,537 need two bytes a token.

    Raises:
      OSError: if the folder cannot be written.
    """
    stored = tokens.astype(np.min_scalar_type(max(vocabulary_size - 1, 0)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")  # two runs may write at once
    try:
        np.savez(temporary, tokens=stored, name=name, digest=_digest(stored))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tokens(path: Path, name: str, shape: tuple[int, int]) -> tuple[np.ndarray | None, str]:
    """Returns (tokens int32 of `shape`, ""), (None, "") without a file, or (None, what is wrong).

    Args:
      path: of the file.
      name: what it was written under.
      shape: [n, L] that is expected.
    """
    if not path.exists():
        return None, ""
    try:
        with np.load(path, allow_pickle=False) as file:
            stored, found = file["tokens"], str(file["name"])
            digest = str(file["digest"])
    # TypeError: a bare array cannot be entered.
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        return None, f"{type(error).__name__}: {error}"
    if found != name or stored.shape != shape:
        return None, f"it holds other tokens, of shape {list(stored.shape)}"
    if digest != _digest(stored):
        return None, "its checksum does not fit"
    return stored.astype(np.int32), ""


def _digest(stored: np.ndarray) -> str:
    header = f"{stored.dtype.str} {stored.shape} ".encode()
    return hashlib.sha256(header + stored.tobytes()).hexdigest()
