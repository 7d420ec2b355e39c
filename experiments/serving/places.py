"""The files of an export, and the check of the folder that they are written to."""

from __future__ import annotations

from pathlib import Path

MODEL, SAVED_MODEL, CLASSES, TOKENIZER = (
    "model.keras",
    "saved_model",
    "classes.json",
    "tokenizer.json",
)


def check_folder(out: str) -> None:
    """Check before any work that an export can be written, and over nothing but another one.

    Raises:
        OSError, ValueError: it cannot.
    """
    path = Path(out)
    if not out or not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"--out must name a folder in a folder that is there. Received: --out={out}"
        )
    if path.exists() and not _is_export(path):
        raise ValueError(
            "--out must be a new folder, or one of an earlier export that is replaced. "
            f"Received: --out={out}, which holds something else"
        )


def _is_export(path):
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return not names or {MODEL, CLASSES} <= names <= {MODEL, SAVED_MODEL, CLASSES, TOKENIZER}
