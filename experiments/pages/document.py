"""The content of a report as plain data, so that its text is written once for every format.

No block holds markup: names and texts are stored as they are, and each renderer escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `tone` is "good", "bad", "open" or "" and only adds colour."""

    text: str
    tone: str = ""
    link: str = ""  # a file beside the page, or an address
    strong: bool = False


@dataclass(frozen=True)
class Heading:
    """A section title; level 2 is listed in the table of contents, 3 and 4 are not."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Lead:
    """The summary at the top, in a few short paragraphs."""

    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullet:
    """One point: a short bold opening and its text."""

    opening: str
    text: str
    link: str = ""  # of the opening: a file beside the page, or an address


@dataclass(frozen=True)
class Bullets:
    """A list of points."""

    items: tuple[Bullet, ...]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; columns that hold numbers are aligned right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    text_columns: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()
    prose: bool = False  # the first column holds sentences, not names


@dataclass(frozen=True)
class Picture:
    """A figure; `name` is the stem of its file below figures/."""

    name: str
    png: bytes
    title: str
    caption: str = ""
    wide: bool = False  # wide ones keep their size on a phone and are scrolled sideways

    @property
    def opening(self) -> str:
        """The title as the first sentence of the caption."""
        return self.title if self.title.endswith(("?", "!", ".")) else f"{self.title}."


@dataclass(frozen=True)
class Pictures:
    """Figures shown side by side where there is room."""

    items: tuple[Picture, ...]


@dataclass(frozen=True)
class Tile:
    """One image of a gallery with the lines under it."""

    png: bytes
    lines: tuple[str, ...]
    tone: str  # "good": right pseudo-label, "bad": wrong, "open": truth unknown


@dataclass(frozen=True)
class Gallery:
    """Images in a grid; `sheet` is the same content as one picture, for Markdown and figures/."""

    title: str
    tiles: tuple[Tile, ...]
    sheet: Picture


@dataclass(frozen=True)
class Code:
    """Text shown letter by letter, such as a command."""

    text: str


@dataclass(frozen=True)
class Details:
    """Blocks that a page folds away under a line of text."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Lead | Paragraph | Bullets | Table | Picture | Pictures | Gallery | Code | Details


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]


def pictures_in(blocks: tuple[Block, ...]) -> Iterator[Picture]:
    """Yield every picture to be saved under figures/, in order of appearance."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Pictures):
            yield from block.items
        elif isinstance(block, Gallery):
            yield block.sheet
        elif isinstance(block, Details):
            yield from pictures_in(block.blocks)


def cell_text(cell: str | Cell) -> str:
    """Return the text of a cell, whatever its tone."""
    return cell.text if isinstance(cell, Cell) else cell
