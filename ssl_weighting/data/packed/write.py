"""Make a pack of a set: shard by shard, so that a killed process goes on where it was.

The files are those of `manifest`, to the byte, however often the work was stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.example_table import DIGEST
from ssl_weighting.data.files import replacing, write_atomically
from ssl_weighting.data.images.picture import PictureError
from ssl_weighting.data.packed import manifest as manifests
from ssl_weighting.data.packed.half_made import PARTS, HalfMade
from ssl_weighting.data.packed.manifest import (
    BESIDE,
    FORMAT,
    PIXELS,
    STORES,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from ssl_weighting.data.packed.names import encoded_names
from ssl_weighting.data.packed.records import record_file
from ssl_weighting.data.packed.source import Block, PackSource
from ssl_weighting.data.progress import counted

_SHARD = re.compile(r"[a-z]+-[0-9]{5,}")  # what one is called, without the ending
_KINDS = ((np.int32,), (np.uint8, (DIGEST,)), (np.int64,), (np.uint8,))  # of the files of `BESIDE`


def pack(source: PackSource, out: str | os.PathLike, store: str) -> Manifest:
    """Make the pack of a set, or what is missing of it.

    Args:
        source: the set.
        out: the pack's folder, new or of the same pack. One process at a time works there, others
            wait for it.
        store: "pixels", or "encoded": the bytes of picture files.

    Raises:
        OSError: something cannot be read or written.
        ValueError: the set cannot be packed so, or in this folder; PictureError: a file of it
            cannot be read and must not be skipped.
    """
    if store not in source.stores:
        raise ValueError(
            f"`store` must be one of {', '.join(source.stores)} for {source.source}. Received: "
            f"store={store!r}."
        )
    out = Path(out)
    with _alone(out):
        identity = hashlib.sha256(f"{FORMAT} {store} {source.identity}".encode()).hexdigest()
        if (out / manifests.FILE).exists():
            found = _same(out, identity)
        else:
            found = _packed(HalfMade(source, out, store, identity))
        shutil.rmtree(out / PARTS, ignore_errors=True)
    return found


def _packed(work: HalfMade) -> Manifest:
    _begin(work)
    while True:
        total = sum(work.source.parts.values())
        for _ in counted(_write_shards(work), total, "packing images", each=int):
            pass
        if work.source.shape()[2] == 1 or any(one.coloured for _, one in work.all_kept()):
            return _assemble(work)
        # What said that it is in colour could not be read.
        work.source.as_grey()
        _note(work)


def _begin(work: HalfMade) -> None:
    """Note what is packed, or compare it with what an earlier process noted.

    Files that have changed since, or are new, are no other set: their shards are made again.
    """
    if work.note.exists():
        try:
            found = json.loads(work.note.read_text())
            manner = found["manner"]
        except DAMAGE:
            found = manner = None
        if found == work.about() | {"channels": 1}:
            work.source.as_grey()
        elif manner == work.about()["manner"] or _is_new(work.out):  # no shard is whole yet
            _note(work)
        else:
            raise ValueError(
                f"`out` must be a new folder, or that of the same pack. Received: {work.out}, in "
                "which another set was being packed, or this one in another way, or a file before "
                "it changed. Remove it, or name another folder."
            )
        return
    if others := [one.name for one in work.out.iterdir() if one.name != PARTS]:
        raise ValueError(
            f"`out` must be a new folder, or that of the same pack. Received: {work.out}, which "
            f"holds {sorted(others)[0]}. Name another folder."
        )
    _note(work)


def _is_new(out: Path) -> bool:
    """Return whether nothing of a pack is there yet, but for the note of what it is of."""
    return len(list(out.iterdir())) == len(list((out / PARTS).iterdir())) == 1


def _note(work: HalfMade) -> None:
    write_atomically(work.note, json.dumps(work.about()))


def _same(out: Path, identity: str) -> Manifest:
    found = read_manifest(out)
    if found.identity != identity:
        raise ValueError(
            f"`out` must be a new folder, or that of the same pack. Received: {out}, a pack of "
            f"{found.source}, which has changed since, or was packed in another way. Remove it, or "
            "name another folder."
        )
    return found


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder, made if missing, once no other process does."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that packs into {out}", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, as some networks have
            pass
        yield
    finally:
        os.close(handle)


def _write_shards(work: HalfMade) -> Iterator[int]:
    """Write the shards that are missing; yield how many examples have been dealt with, in turns."""
    for shard in work.shards():
        if work.kept(shard) is not None:
            yield shard.stop - shard.start
            continue
        file, found = work.file(shard), _Collected()
        write = _write_pixels if work.store == PIXELS else _write_records
        blocks = work.source.blocks(shard.part, shard.start, shard.stop, work.store)
        yield from write(file, found.through(blocks), work.source.shape())
        size = file.stat().st_size
        if not found.names:
            file.unlink()
        work.keep(shard, found.known(), size)


class _Collected:
    """What is known of the images of a shard that pass through."""

    def __init__(self):
        self.names: list[str] = []
        self._labels, self._digests, self._skipped, self._coloured = [], [], [], False

    def through(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self.names += block.names
            self._labels += block.labels.tolist()
            self._digests += [hashlib.sha256(image).digest() for image in block.images]
            self._skipped += block.skipped
            self._coloured |= block.coloured
            yield block

    def known(self) -> dict[str, np.ndarray]:
        """Return the fields of `Beside` that tell of these images."""
        text, ends = encoded_names(self.names)
        return {
            "labels": np.array(self._labels, np.int32),
            "digests": np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, DIGEST),
            "text": np.frombuffer(text, np.uint8),
            "ends": ends,
            "skipped": np.array(self._skipped, str).reshape(-1, 2),
            "coloured": np.array(self._coloured),
        }


def _write_pixels(file: Path, blocks: Iterable[Block], shape) -> Iterator[int]:
    with _rows(file, np.uint8, shape) as add:
        for block in blocks:
            add(block.images)
            yield block.size


def _write_records(file: Path, blocks: Iterable[Block], shape) -> Iterator[int]:
    del shape
    with record_file(file) as add:
        for block in blocks:
            for content in block.contents:
                add(content)
            yield block.size


@contextlib.contextmanager
def _rows(path: Path, dtype, shape: tuple[int, ...] = ()) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that adds rows to a new file, .npy or bare, which then stands at `path`."""
    count = 0
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))

    def header():
        if path.suffix != ".npy":
            return
        # Of the same length whatever the count: numpy leaves room for it.
        head = {"descr": descr, "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, head)

    def add(rows):
        nonlocal count
        file.write(np.ascontiguousarray(rows, dtype).data)
        count += len(rows)

    with replacing(path) as temporary, open(temporary, "wb") as file:
        header()
        yield add
        file.seek(0)
        header()


def _assemble(work: HalfMade) -> Manifest:
    """Put together what stands beside the shards; the manifest comes last."""
    parts, skipped = {}, []
    for part in work.source.parts:
        parts[part], lost = _write_beside(work, part)
        if not parts[part]:
            raise PictureError(*lost[0]) if lost else ValueError(f"{part} must have images.")
        skipped += lost
    _forget_others(work, {shard.file for shards in parts.values() for shard in shards})
    write_atomically(work.out / manifests.SKIPPED, csv_of([("name", "problem"), *skipped]))
    source = work.source
    return write_manifest(
        work.out,
        Manifest(
            work.store, source.name, source.class_names, source.source, work.identity,
            source.shape(), source.image_size, source.jpeg_draft, parts, len(skipped),
        ),
    )  # fmt: skip


def _forget_others(work: HalfMade, files: set[str]) -> None:
    """Remove shards that the set had before it shrank."""
    for path in work.out.iterdir():
        is_shard = _SHARD.fullmatch(path.stem) and path.suffix == STORES[work.store]
        if is_shard and path.name not in files:
            path.unlink()


def _write_beside(work: HalfMade, part: str) -> tuple[tuple[Shard, ...], list[tuple[str, str]]]:
    """Write labels, digests and names of a part; return its shards and what was skipped."""
    shards, lost, end = [], [], 0
    with contextlib.ExitStack() as stack:
        labels, digests, ends, text = (
            stack.enter_context(_rows(work.out / f"{part}-{name}", *kind))
            for name, kind in zip(BESIDE, _KINDS, strict=True)
        )
        for shard, beside in work.all_kept(part):
            labels(beside.labels)
            digests(beside.digests)
            ends(end + beside.ends)
            text(beside.text)
            end += len(beside.text)
            lost += [tuple(row) for row in beside.skipped.tolist()]
            if len(beside.labels):
                name, count = work.file(shard).name, len(beside.labels)
                shards.append(Shard(name, count, int(beside.size)))
    return tuple(shards), lost
