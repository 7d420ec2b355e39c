"""Render a report as Markdown, with figures linked from the folder beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from experiments.pages.document import (
    Block,
    Bullets,
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


def render_markdown(document: Document) -> str:
    """Return the whole report as Markdown; names and texts cannot become markup."""
    parts = [f"# {escape(document.title)}", escape(document.subtitle), *_blocks(document.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return one line of plain text: HTML and Markdown markup made harmless."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", text)


def _blocks(blocks: Iterable[Block]) -> list[str]:
    return [text for block in blocks for text in _block(block)]


def _block(block: Block) -> list[str]:
    match block:
        case Heading(text, level):
            return [f"{'#' * level} {escape(text)}"]
        case Lead(texts):
            return [escape(text) for text in texts]
        case Paragraph(text):
            return [escape(text)]
        case Bullets(items):
            return [
                "\n".join(f"- **{escape(item.opening)}** {escape(item.text)}" for item in items)
            ]
        case Table():
            return _table(block)
        case Picture():
            return _picture(block)
        case Pictures(items):
            return _blocks(items)
        case Gallery(_, _, sheet):
            return _picture(sheet)
        case Code(text):
            return [_fenced(text)]
        case Details(summary, inner):
            return [f"**{escape(summary)}**", *_blocks(inner)]


def _picture(block: Picture) -> list[str]:
    title = escape(block.title)
    caption = f"**{title}.** {escape(block.caption)}".rstrip()
    return [f"![{title}](figures/{block.name}.png)", caption]


def _table(block: Table) -> list[str]:
    rules = [
        ":---" if place in block.text_columns else "---:" for place in range(len(block.columns))
    ]
    lines = [block.columns, *[tuple(cell_text(cell) for cell in row) for row in block.rows]]
    texts = [f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines]
    texts.insert(1, f"| {' | '.join(rules)} |")
    return ["\n".join(texts), *[escape(note) for note in block.notes]]


def _fenced(text: str) -> str:
    # A fence longer than any run of backticks inside cannot be closed by the text itself.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
