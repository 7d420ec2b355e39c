"""Links from the report to the galleries that lie beside runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from experiments.pages.document import Block, Bullet, Bullets, Heading, Paragraph
from experiments.pages.files import GALLERY
from experiments.runs.record import RunRecord


def gallery_blocks(runs: Sequence[RunRecord], folder: Path, out: Path) -> list[Block]:
    """Return a link to each gallery below `out`; reports name no other folder of a machine.

    Args:
        runs: finished runs, whose names are their paths below `folder`.
        folder: where they were found, or the one run itself.
        out: folder of the report.
    """
    found = []
    alone = (folder / "summary.json").exists()
    for run in runs:
        page = (folder if alone else folder / run.name) / GALLERY
        if page.exists() and page.resolve().is_relative_to(out.resolve()):
            link = quote(page.resolve().relative_to(out.resolve()).as_posix())
            text = f"{run.summary.dataset}, {run.summary.method}."
            found.append(Bullet(run.name, text, link))
    if not found:
        return []
    text = "Pages with all examples of a run: its pictures or texts, their weights and influences."
    return [Heading("Galleries"), Paragraph(text), Bullets(tuple(found))]
