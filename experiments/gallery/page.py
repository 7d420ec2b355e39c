"""The gallery as one HTML file, which fetches nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.gallery.originals import kind_of_page
from experiments.gallery.rows import SOURCES, Rows
from experiments.gallery.thumbnails import Sheets
from experiments.pages.render_html import escape
from ssl_weighting.data.names import printable

MARK = "ssl_weighting gallery"  # by which an earlier page of ours is known
INSIDE = 30_000_000  # bytes of sheets; more of them lie beside the page
MOST_LETTERS = 2000  # of a text
SCRIPTS = ("data.js", "ranges.js", "cards.js", "gallery.js")
INFLUENCES = (
    "Eq. 6, mean of a visit ± its standard error: how the loss on the validation labels would "
    "change with the example's weight; positive harms",
    "Eq. 6, accumulated over the visits, as runs of earlier versions have it; positive harms",
)
_HERE = Path(__file__).parent
_LETTERS = {"float32": "f", "int32": "i", "uint16": "h", "uint8": "b"}


def gallery_page(
    rows: Rows, texts: list[str] | None, sheets: Sheets | None, beside: str
) -> dict[str, bytes | str]:
    """Return file name -> content of what belongs to the page: it, as "", and sheets beside it.

    Args:
        rows: the examples.
        texts: of all of them; None where they are none.
        sheets: pictures of all of them; None where there are none.
        beside: folder, as the page names it, of sheets that are too large to stand in it.
    """
    found = sheets.files if sheets else []
    inside = sum(map(len, found)) <= INSIDE
    names = [f"{beside}/{k:04d}.jpg" for k in range(len(found))]
    script = '(() => {\n"use strict";\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    style = _asset("gallery.css")
    shown = "".join(_embedded(k, file) for k, file in enumerate(found)) if inside else ""
    parts = {
        "policy": _policy(script, style, inside),
        "mark": MARK,
        "title": escape(_title(rows)),
        "subtitle": escape(_subtitle(rows)),
        "or_texts": " and texts" if texts is not None else "",
        "influence": escape(INFLUENCES[rows.accumulated]),
        "style": style,
        "script": script,
        "data": _json(_data(rows, texts, sheets, names)),
        "sheets": shown,
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("gallery.html"))
    return ({} if inside else dict(zip(names, found, strict=True))) | {"": page}


def _asset(name):
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(script, style, inside):
    """Return the page's policy: even a text that slipped through unescaped could do nothing."""
    pictures = "blob:" if inside else "blob: 'self' file:"
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        f"img-src {pictures}; base-uri 'none'; form-action 'none'"
    )


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(number, file):
    content = base64.b64encode(file).decode()
    return f'<script type="text/plain" id="sheet-{number}">{content}</script>\n'


def _json(value) -> str:
    """Return JSON that no HTML parser takes for anything but text."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def encoded(array: np.ndarray) -> str:
    """Return an array for the page's script: the letter of its type, then bytes in base64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _LETTERS[array.dtype.name] + base64.b64encode(little.tobytes()).decode()


def _title(rows):
    return f"{rows.record.summary.dataset}: {rows.record.summary.method}"


def _subtitle(rows):
    summary = rows.record.summary
    coverage = "" if summary.coverage is None else f", {summary.coverage:.0%} of U visited"
    return f"Run {rows.record.name}. Test error {rows.record.test_error:.1f} %{coverage}."


def _data(rows: Rows, texts, sheets, names) -> dict[str, Any]:
    config = rows.config
    return {
        "kind": "texts" if texts is not None else kind_of_page(config),
        "key": hashlib.sha256("\n".join(map(printable, rows.names)).encode()).hexdigest()[:16],
        "names": [printable(name) for name in rows.names],
        "texts": None if texts is None else [_shortened(printable(text)) for text in texts],
        "classes": list(rows.record.class_names),
        "sources": list(SOURCES),
        "columns": {name: encoded(values) for name, values in rows.columns.items()},
        "lambda_init": float(config.lambda_init),
        "history": None if rows.history is None else _history(rows.history._asdict()),
        "pictures": None if sheets is None else _pictures(sheets, names),
    }


def _shortened(text):
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS].rstrip() + " …"


def _history(moments: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return λ in 65,536 levels from its least to its greatest value."""
    lam = moments["lam"].T.astype(np.float64)
    low, high = float(lam.min()), float(lam.max())
    levels = np.rint((lam - low) / ((high - low) or 1.0) * 65535)
    return {
        "steps": moments["steps"].tolist(),
        "rows": encoded(moments["ids"].astype(np.int32)),
        "lam": encoded(levels.astype(np.uint16)),
        "low": low,
        "high": high,
    }


def _pictures(sheets: Sheets, names) -> dict[str, Any]:
    return {
        "cell": sheets.cell,
        "columns": sheets.columns,
        "perSheet": sheets.per_sheet,
        "files": names,
        "sharp": sheets.sharp,
        "sizes": encoded(sheets.sizes.reshape(-1)),
    }
