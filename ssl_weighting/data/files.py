"""Writing whole files: a kill or a full disk leaves the file that was there as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, *, tag: str = "") -> Iterator[Path]:
    """Give a temporary path and, once it has been written, put it in the place of `path`.

    Args:
        path: of the file; its folder is made if it is missing.
        tag: tells temporary files apart where several processes may write the same file at once.
            Without it, what a killed process left is written over by the next one.

    Raises:
        OSError: the file could not be written; names it.
    """
    temporary = path.with_name(f"partial-{tag}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"could not write {path}: {error}; free some space") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a whole file in one step; its folder is made if it is missing.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder and, once it has been filled, put it in the place of `path`.

    An old folder steps aside, as old-NAME, until the new one stands there; where that fails, it
    comes back.

    Raises:
        OSError: it could not be written; names it.
    """
    temporary, old = (path.with_name(f"{word}-{path.name}") for word in ("partial", "old"))
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise OSError(error.errno, f"could not write {path}: {error}; free some space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
