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
    return "".join(map(_line, rows))


def _line(row):
    stream = io.StringIO()
    # With its own ends of lines the writer also quotes a carriage return inside a cell.
    csv.writer(stream).writerow([guarded(c) if isinstance(c, str) else c for c in row])
    return stream.getvalue().removesuffix("\r\n") + "\n"


def guarded(text: str) -> str:
    """Return a cell: spreadsheets run what starts like a formula; an apostrophe makes it text."""
    runs = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return printable(f"'{text}" if runs else text)


def unguarded(cell: str) -> str:
    """Return the text that `guarded` made into a cell."""
    return cell[1:] if cell.startswith("'") and guarded(cell[1:]) == cell else cell
