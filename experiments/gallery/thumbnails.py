"""Small pictures, packed into sheets of many: a page of 20,000 images has some hundred pictures."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

_BLOCK = 8  # pixels of a JPEG block: cells that end with one do not stain their neighbours
_SHEET = 768  # pixels of a sheet's side at most: it is decoded as a whole
_QUALITY = 88
SHARP = 48  # smaller images are enlarged without smoothing


class Sheets(NamedTuple):
    """Pictures number k * per_sheet, k * per_sheet + 1, ... stand on sheet k, row by row."""

    files: list[bytes]  # JPEG
    cell: int  # pixels of a cell's side; a picture stands in its upper left corner
    columns: int  # cells in a row of a sheet
    sizes: np.ndarray  # [n, 2] uint8, width and height of each picture

    @property
    def per_sheet(self) -> int:
        """Pictures on a full sheet."""
        return self.columns**2

    @property
    def sharp(self) -> bool:
        """Whether the pictures are so small that their pixels are to be seen."""
        return int(self.sizes.max(initial=0)) <= SHARP


def pack(pictures: Iterable[np.ndarray], side: int) -> Sheets:
    """Return the sheets of pictures [h, w] or [h, w, 3] uint8, of at most `side` pixels.

    No more than one sheet of them is in memory at once.
    """
    cell = -(-side // _BLOCK) * _BLOCK
    columns = max(1, _SHEET // cell)
    files, sizes = [], []
    for chunk in _chunks(pictures, columns**2):
        files.append(_sheet(chunk, cell, columns))
        sizes += [(picture.shape[1], picture.shape[0]) for picture in chunk]
    return Sheets(files, cell, columns, np.array(sizes, np.uint8).reshape(-1, 2))


def _chunks(pictures: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    left = iter(pictures)
    while chunk := list(itertools.islice(left, size)):
        yield chunk


def _sheet(pictures, cell, columns) -> bytes:
    """Return one sheet as JPEG, grey where all of its pictures are."""
    from PIL import Image

    lines = -(-len(pictures) // columns)
    colour = any(picture.ndim == 3 for picture in pictures)
    shape = (lines * cell, columns * cell)
    sheet = np.zeros((*shape, 3) if colour else shape, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * cell, place % columns * cell
        height, width = picture.shape[:2]
        grey = colour and picture.ndim == 2
        sheet[top : top + height, left : left + width] = picture[..., None] if grey else picture
        # The rest of the last block repeats the edge: it would shine through in compression.
        sheet[top + height : top + cell, left : left + width] = sheet[
            top + height - 1, left : left + width
        ]
        sheet[top : top + cell, left + width : left + cell] = sheet[
            top : top + cell, left + width - 1 : left + width
        ]
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()
