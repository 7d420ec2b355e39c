"""From a run folder to the page and the sheets beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.gallery.originals import pictures_of, texts_of
from experiments.gallery.page import MARK, gallery_page
from experiments.gallery.rows import Rows, collect
from experiments.gallery.thumbnails import pack
from experiments.pages.files import GALLERY, write_pages


class Gallery(NamedTuple):
    """What was written."""

    path: Path
    examples: int
    sheets: int  # files of pictures beside the page


def write_gallery(
    run: Path, out: Path | None = None, cache_dir: str | None = None, with_test: bool = False
) -> Gallery:
    """Write the gallery of a finished run.

    Args:
        run: its folder.
        out: the page; None: gallery.html in that folder.
        cache_dir: where prepared data lies.
        with_test: whether test examples are shown too.

    Raises:
        OSError: the run or its data is not there, or `out` cannot be written.
        ValueError: a file of the run cannot be used, or `out` is somebody's own file.
    """
    out = run / GALLERY if out is None else out
    return write_rows(collect(run, cache_dir, with_test), out, cache_dir)


def write_rows(rows: Rows, out: Path, cache_dir: str | None = None) -> Gallery:
    """Write the page of examples that are at hand."""
    texts, sheets = texts_of(rows, cache_dir), None
    if texts is None:
        side, pictures = pictures_of(rows, cache_dir)
        sheets = pack(pictures, side)
    folder = f"{out.stem}-pictures"
    files = gallery_page(rows, texts, sheets, folder)
    page = files.pop("")
    write_pages(out.parent, files | {out.name: page}, {out.name: MARK})
    for path in out.parent.glob(f"{folder}/[0-9][0-9][0-9][0-9].jpg"):
        if f"{folder}/{path.name}" not in files:  # of an earlier page, which had more
            path.unlink()
    return Gallery(out, len(rows.names), len(files))
