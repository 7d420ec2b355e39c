"""Files of pages: written whole, under safe names, never in the place of somebody else's page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_weighting.data.files import write_atomically

GALLERY = "gallery.html"  # of a run, in its folder; the report links to it


def write_pages(
    folder: Path,
    files: Mapping[str, bytes | str],
    marks: Mapping[str, str],
    stale: Sequence[str] = (),
) -> None:
    """Write the files of a document below `folder`, in their order.

    Args:
        folder: made if it is missing.
        files: path below `folder` -> content, the page to open first last.
        marks: file -> text, such as its title, by which an earlier one of ours is known; any other
            file of that name is somebody's own.
        stale: patterns of files that an earlier document may have left; those that its first page
            or another of these files speaks of, and this document has not, are deleted.

    Raises:
        ValueError: somebody's own file would be replaced.
        OSError: a file cannot be written.
    """
    earlier = [folder / name for name, mark in marks.items() if _is_ours(folder / name, mark)]
    left = [path for pattern in stale for path in folder.glob(pattern)]
    said = b"".join(path.read_bytes() for path in (*earlier, *left) if path.suffix == ".md")
    for name, content in files.items():
        write_atomically(folder / name, content)
    for path in left:
        if path.relative_to(folder).as_posix() not in files and path.name.encode() in said:
            path.unlink()


def _is_ours(path: Path, mark: str) -> bool:
    if not path.exists():
        return False
    with open(path, "rb") as file:
        if mark.encode() in file.read(100_000):
            return True
    raise ValueError(
        f"{path} would be replaced and must hold {mark!r}, as earlier ones do. Received: another "
        "file. Move it away, or write to another folder."
    )


def slug(*parts: object) -> str:
    """Return a file name's stem of letters, digits and dashes, e.g. ("A b", 3) -> "a-b-3"."""
    joined = "-".join(str(part) for part in parts).lower().replace("λ", "lambda")
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:80] or "figure"
