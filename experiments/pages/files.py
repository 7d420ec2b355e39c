"""Atomic writing, so that a kill never leaves half a file behind, and safe file names."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path and, once it has been written, put it in the place of `path`.

    A full disk or a kill leaves the file that was there as it was.

    Raises:
        OSError: the file could not be written; names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"partial-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"could not write {path}: {error}; free some space") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a whole file in one step; its folder is made if it is missing.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def slug(*parts: object) -> str:
    """Return a file name's stem of letters, digits and dashes, e.g. ("A b", 3) -> "a-b-3"."""
    joined = "-".join(str(part) for part in parts).lower().replace("λ", "lambda")
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:80] or "figure"
