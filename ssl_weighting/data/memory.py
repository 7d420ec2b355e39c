"""How much memory there is, and a refusal in words where it is too little, before it is taken."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssl_weighting.data import example_table

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# Where a control group of each version keeps what we ask of it.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")
STREAM = "Use --source=stream, which keeps them on disk"
# How often images are in memory at once: as they were read, joined, as U, and as U's tensor; where
# they are `LARGE`, as they were read, with a test set that is held out of them. Both were measured,
# with what else a run holds of an example.
_COPIES, _COPIES_OF_LARGE = 4.2, 1.4


class TooLargeError(ValueError):
    """What is to be taken into memory does not fit; the message says what to do."""


def machine_memory() -> int:
    """Return the bytes of the machine, or of the control group where it may use fewer."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([memory, *(group.limit for group in _groups())])


def available() -> int:
    """Return how many bytes this process can still take.

    They are what the machine has free or can free, or fewer where a control group allows fewer,
    that of the process or one above it, or `ulimit -v`. What the system keeps of files counts as
    free. Where the system does not tell, it is all of the machine's.
    """
    groups = [group.limit - group.used for group in _groups()]
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        groups.append(most - _mapped())
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
    except OSError:
        lines = []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return max(min([machine_memory(), *free, *groups]), 0)


def _mapped() -> int:
    """Return the bytes of addresses that this process has, 0 where the system does not tell."""
    try:
        pages = int((PROC / "self" / "statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def require(size: float, what: str, way_out: str) -> None:
    """Compare what is needed with what there is, before it is taken.

    Args:
        size: bytes.
        what: is to be taken, as the beginning of a sentence: "The 7 images of set.npz".
        way_out: a sentence without its full stop.

    Raises:
        TooLargeError: there is less than that.
    """
    free = available()
    if size > free:
        raise TooLargeError(
            f"{what} need about {size / 1e9:.1f} GB of memory. "
            f"Received: {free / 1e9:.1f} GB free. {way_out}."
        )


def need_of_images(size: int) -> float:
    """Return how many bytes a run takes for images of `size` bytes that it keeps in memory."""
    return size * (_COPIES if size < example_table.LARGE else _COPIES_OF_LARGE)


class _Group(NamedTuple):
    """A control group that has a limit."""

    limit: int  # bytes
    used: int  # bytes that cannot be freed


def _groups() -> Iterator[_Group]:
    """Yield the control groups of this process that have a limit, those above it included."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _limited(CGROUPS, path, _V2)
        elif "memory" in controllers.split(","):
            yield from _limited(CGROUPS / "memory", path, _V1)


def _limited(root, path, files) -> Iterator[_Group]:
    limit, used, cached = files
    below = Path(path.lstrip("/"))
    # In a container the path may be the machine's, of which only the root is to be seen.
    for folder in (root / below, *(root / parent for parent in below.parents)):
        try:
            most = (folder / limit).read_text().strip()
            if most == "max":
                continue
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            in_use = int((folder / used).read_text()) - int(stat.get(cached, 0))
            yield _Group(int(most), in_use)
        except OSError:
            continue
