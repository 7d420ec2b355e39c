"""Tables as .csv text that a spreadsheet shows and does not run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from ssl_weighting.data.names import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?")


def csv_of(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV; an empty field for None."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def guarded(text: str) -> str:
    """Return a cell: spreadsheets run what starts like a formula; an apostrophe makes it text."""
    runs = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return printable(f"'{text}" if runs else text)


def unguarded(cell: str) -> str:
    """Return the text that `guarded` made into a cell."""
    return cell[1:] if cell.startswith("'") and guarded(cell[1:]) == cell else cell
