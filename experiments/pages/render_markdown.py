"""Render a report as Markdown, with figures linked from the folder beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from experiments.pages.document import (
    Block,
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
    cell_text,
)


def render_markdown(document: Document, figures: str = "figures") -> str:
    """Return the whole report as Markdown; names and texts cannot become markup.

    Args:
        document: what to say.
        figures: folder of the pictures, as the page's reader gets there.
    """
    parts = [f"# {escape(document.title)}", escape(document.subtitle)]
    return "\n\n".join([*parts, *_blocks(document.blocks, figures)]) + "\n"


def escape(text: str) -> str:
    """Return one line of plain text: HTML and Markdown markup made harmless."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", text)


def _blocks(blocks: Iterable[Block], figures: str) -> list[str]:
    return [text for block in blocks for text in _block(block, figures)]


def _linked(text: str, link: str) -> str:
    return f"[{text}]({link})" if link else text


def _cell(cell: str | Cell) -> str:
    text = escape(cell_text(cell))
    if isinstance(cell, str):
        return text
    return _linked(f"**{text}**" if cell.strong else text, cell.link)


def _block(block: Block, figures: str) -> list[str]:
    match block:
        case Heading(text, level):
            return [f"{'#' * level} {escape(text)}"]
        case Lead(texts):
            return [escape(text) for text in texts]
        case Paragraph(text):
            return [escape(text)]
        case Bullets(items):
            points = [(_linked(f"**{escape(i.opening)}**", i.link), escape(i.text)) for i in items]
            return ["\n".join(f"- {' '.join(point)}".rstrip() for point in points)]
        case Table():
            return _table(block)
        case Picture():
            return _picture(block, figures)
        case Pictures(items):
            return _blocks(items, figures)
        case Gallery(_, _, sheet):
            return _picture(sheet, figures)
        case Code(text):
            return [_fenced(text)]
        case Details(summary, inner):
            return [f"**{escape(summary)}**", *_blocks(inner, figures)]


def _picture(block: Picture, figures: str) -> list[str]:
    title = escape(block.title)
    caption = f"**{escape(block.opening)}** {escape(block.caption)}".rstrip()
    return [f"![{title}]({figures}/{block.name}.png)", caption]


def _table(block: Table) -> list[str]:
    rules = [
        ":---" if place in block.text_columns else "---:" for place in range(len(block.columns))
    ]
    texts = [f"| {' | '.join(map(_cell, line))} |" for line in (block.columns, *block.rows)]
    texts.insert(1, f"| {' | '.join(rules)} |")
    return ["\n".join(texts), *[escape(note) for note in block.notes]]


def _fenced(text: str) -> str:
    # A fence longer than any run of backticks inside cannot be closed by the text itself.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
