"""Whether a run folder holds a finished run; without TensorFlow, for programs that only look."""

from __future__ import annotations

import json
from pathlib import Path


def is_complete(folder: str | Path) -> bool:
    """Return whether a run folder holds a finished run."""
    return bool(summary_of(folder))


def summary_of(folder: str | Path) -> dict:
    """Return summary.json of a finished run; {} if the folder holds none."""
    try:
        found = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
        return found if found["status"] == "complete" else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
