"""Render a report as one HTML file: images inside, style inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import html
import re
import struct
from collections.abc import Iterable

from experiments.pages.document import (
    Block,
    Bullet,
    Bullets,
    Cell,
    Code,
    Details,
    Document,
    Gallery,
    Heading,
    Lead,
    Paragraph,
    Picture,
    Pictures,
    Table,
    Tile,
    cell_text,
)
from experiments.pages.page_style import CSS

IMAGE_BUDGET = 4_200_000  # bytes of PNG; base64 makes 5.6 MB of them, so the page stays below 6
# Even if a text slipped through unescaped, a browser would neither run nor fetch anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"


def render_html(document: Document) -> str:
    """Return the whole page as text; every name and text of the document is escaped."""
    page = _Page()
    body = page.blocks(document.blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{CSS}\n</style>\n</head>\n"
        f"<body>\n<main>\n<header>\n<h1>{escape(document.title)}</h1>\n"
        f'<p class="subtitle">{escape(document.subtitle)}</p>\n</header>\n'
        f"{_contents(document.blocks)}{body}</main>\n</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Return the text as HTML: markup characters escaped, control characters dropped."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text), quote=True)


def _contents(blocks: Iterable[Block]) -> str:
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    links = "".join(
        f'<li><a href="#section-{number}">{escape(title)}</a></li>'
        for number, title in enumerate(titles, start=1)
    )
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n' if links else ""


class _Page:
    """Renders blocks in order; remembers the number of sections and the bytes of images so far."""

    def __init__(self) -> None:
        self.sections = 0
        self.image_bytes = 0

    def blocks(self, blocks: Iterable[Block]) -> str:
        return "".join(self.block(block) for block in blocks)

    def block(self, block: Block) -> str:
        match block:
            case Heading():
                return self.heading(block)
            case Lead(texts):
                inner = "".join(f"<p>{escape(text)}</p>\n" for text in texts)
                return f'<section class="lead">\n{inner}</section>\n'
            case Paragraph(text):
                return f"<p>{escape(text)}</p>\n"
            case Bullets(items):
                return f"<ul>\n{''.join(_point(item) for item in items)}</ul>\n"
            case Table():
                return _table(block)
            case Picture():
                return self.picture(block)
            case Pictures(items):
                return f'<div class="pair">\n{self.blocks(items)}</div>\n'
            case Gallery():
                return self.gallery(block)
            case Code(text):
                return f"<pre>{escape(text)}</pre>\n"
            case Details(summary, inner):
                head = f"<summary>{escape(summary)}</summary>"
                return f"<details>{head}<div>\n{self.blocks(inner)}</div></details>\n"

    def heading(self, block: Heading) -> str:
        anchor = ""
        if block.level == 2:
            self.sections += 1
            anchor = f' id="section-{self.sections}"'
        return f"<h{block.level}{anchor}>{escape(block.text)}</h{block.level}>\n"

    def picture(self, block: Picture) -> str:
        more = f" {escape(block.caption)}" if block.caption else ""
        caption = f"<figcaption><b>{escape(block.opening)}</b>{more}</figcaption>"
        source = self.embed(block.png)
        if source is None:
            return f"<figure>{_left_out(block)}{caption}</figure>\n"
        width, height = _png_size(block.png)
        # Figures are drawn at twice the size they are shown in, for sharp screens.
        image = (
            f'<img src="{source}" width="{width}" height="{height}" '
            f'alt="{escape(block.title)}" style="--w:{width * 0.62:.0f}px">'
        )
        kind = "sheet wide" if block.wide else "sheet"
        return f'<figure><div class="{kind}" tabindex="0">{image}</div>{caption}</figure>\n'

    def gallery(self, block: Gallery) -> str:
        tiles = "".join(self.tile(tile) for tile in block.tiles)
        return f'<h4>{escape(block.title)}</h4>\n<div class="tiles">\n{tiles}</div>\n'

    def tile(self, tile: Tile) -> str:
        first, *rest = tile.lines
        lines = f"<b>{escape(first)}</b>" + "".join(f"<span>{escape(line)}</span>" for line in rest)
        source = self.embed(tile.png)
        image = f'<img src="{source}" alt="">' if source else ""
        return f'<div class="tile {escape(tile.tone)}">{image}{lines}</div>\n'

    def embed(self, png: bytes) -> str | None:
        """Return a data address, or None once the page would grow too large to send around."""
        if self.image_bytes + len(png) > IMAGE_BUDGET:
            return None
        self.image_bytes += len(png)
        return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _point(item: Bullet) -> str:
    opening = _linked(f"<b>{escape(item.opening)}</b>", item.link)
    return f"<li>{opening} {escape(item.text)}</li>\n"


def _linked(html: str, link: str) -> str:
    return f'<a href="{escape(link)}">{html}</a>' if link else html


def _left_out(block: Picture) -> str:
    return (
        f'<p class="note">Not embedded, to keep this page small: see figures/{escape(block.name)}'
        ".png.</p>"
    )


def _png_size(png: bytes) -> tuple[int, int]:
    """Return the width and height from the header of a PNG file."""
    return struct.unpack(">II", png[16:24])


def _table(block: Table) -> str:
    head = "".join(
        f"<th{_text_class(block, place)}>{escape(name)}</th>"
        for place, name in enumerate(block.columns)
    )
    rows = "".join(_row(block, row) for row in block.rows)
    notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in block.notes)
    # A table of sentences must be free to wrap everywhere; one of numbers is not.
    prose = block.prose or len(block.text_columns) == len(block.columns)
    kind = ' class="prose"' if prose else ""
    return (
        f'<div class="scroll" tabindex="0"><table{kind}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>\n{notes}"
    )


def _text_class(block: Table, place: int) -> str:
    return ' class="text"' if place in block.text_columns else ""


def _cell(cell: str | Cell) -> str:
    text = escape(cell_text(cell))
    if isinstance(cell, str):
        return text
    return _linked(f"<b>{text}</b>" if cell.strong else text, cell.link)


def _row(block: Table, row: tuple[str | Cell, ...]) -> str:
    cells = [f'<th scope="row">{_cell(row[0])}</th>']
    for place, cell in enumerate(row[1:], start=1):
        tone = cell.tone if isinstance(cell, Cell) else ""
        text = _cell(cell)
        if tone:
            cells.append(f'<td class="text {escape(tone)}"><span class="tone">{text}</span></td>')
        else:
            cells.append(f"<td{_text_class(block, place)}>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>\n"
