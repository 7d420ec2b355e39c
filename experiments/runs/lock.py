"""One process at a time trains in a run folder: two would mix their lines and checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class InUseError(ValueError):
    """Another process trains in a run folder."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if missing, to the end of the block; the end of a process frees it too.

    What was made is removed where the block fails before anything lies in it.

    Raises:
        InUseError: another run holds it.
        OSError: it cannot be made.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(
                f"--out must name a folder that no other run is using. Received: {folder}, which "
                "is in use. Wait for that run, stop it, or name another folder."
            ) from error
        except OSError:  # a file system without locks, as some networks have
            pass
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        raise
    finally:
        os.close(handle)
