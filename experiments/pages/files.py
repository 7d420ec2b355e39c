"""Atomic writing, so that a killed report never leaves half a page behind, and safe file names."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it into place.

    Args:
        path: target file; its folder is made if it is missing.
        content: the whole file.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes private files; a report is for others to read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def slug(*parts: object) -> str:
    """Return a file name's stem of letters, digits and dashes, e.g. ("A b", 3) -> "a-b-3"."""
    joined = "-".join(str(part) for part in parts).lower().replace("λ", "lambda")
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:80] or "figure"
