"""Pictures as their files' bytes in ArrayRecord files, decoded when they are asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import replacing
from ssl_weighting.data.images.folders import with_channels
from ssl_weighting.data.images.picture import PictureError, decode
from ssl_weighting.data.packed.shards import ShardedTable

# One record a group: any is read alone. The content is compressed already.
_WRITTEN = "group_size:1,uncompressed"
_READ = "readahead_buffer_size:0,max_parallelism:0"  # it is asked for rows all over the file
_BUFFER = 2**15


class RecordTable(ShardedTable):
    """Images whose files lie in ArrayRecord files; see `ShardedTable`.

    The format keeps a hash of each record. Pictures are decoded by as many threads as there are
    cores, the same ones for all tables.

    Args:
        image_size, draft: as of `decode`.
    """

    def __init__(self, *known, image_size: int | None = None, draft: bool = False):
        super().__init__(*known)
        self._image_size, self._draft = image_size, draft

    def _open(self, k):
        shard = self._shards[k]
        reader = _reader(self._folder / shard.file)
        # A file that was cut opens too, and has no records.
        if reader.num_records() != shard.rows:
            raise ValueError(
                f"{self._folder / shard.file} must hold {shard.rows} records. Received: "
                f"{reader.num_records()}. Copy the pack again, or pack the images again"
            )
        return reader

    def _read(self, rows, found):
        records: list[tuple[int, bytes]] = [(0, b"")] * len(rows)
        for k, places, own in self._of_shards(rows):
            for place, record in zip(places, self._records(k, own, rows[places]), strict=True):
                records[place] = k, record

        def write(place):
            k, record = records[place]
            found[place] = self._decoded(k, record, int(rows[place]))

        if len(rows) > 1:
            list(_pool(os.getpid()).map(write, range(len(rows))))
        elif len(rows):
            write(0)

    def _records(self, k, own, rows) -> list[bytes]:
        reader = self._opened(k)
        try:
            return reader.read(own.tolist())
        except RuntimeError as error:
            for row, one in zip(rows, own, strict=True):  # which it was
                try:
                    reader.read([int(one)])
                except RuntimeError as its:
                    raise self._damaged(int(row), k, str(its)) from error
            raise ValueError(
                f"{self._shards[k].file} must be readable. Received: {error}"
            ) from error

    def _decoded(self, k, record, row) -> np.ndarray:
        try:
            name = f"example {row}"
            image = decode(io.BytesIO(record), name, self._image_size, self._draft)
        except PictureError as error:
            raise self._damaged(row, k, error.reason) from error
        height, width, channels = self.shape[1:]
        if image.shape[:2] != (height, width):
            raise self._damaged(row, k, f"a picture of {image.shape[1]}x{image.shape[0]} pixels")
        return with_channels(image, channels)


@contextlib.contextmanager
def record_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Give a function that adds a record to a new file, which then stands at `path`.

    Raises:
        OSError: it cannot be written; names it.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    with replacing(path) as temporary:
        written = 0
        writer = ArrayRecordWriter(str(temporary), _WRITTEN)

        def add(record: bytes) -> None:
            nonlocal written
            writer.write(record)
            written += 1

        try:
            try:
                yield add
            finally:
                writer.close()
            if _reader(temporary).num_records() != written:
                raise OSError("fewer records than were written")
        except RuntimeError as error:  # a full disk
            raise OSError(str(error)) from error


def _reader(path: Path):
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        return ArrayRecordReader(str(path), _READ, file_reader_buffer_size=_BUFFER)
    except DAMAGE as error:
        raise ValueError(
            f"{path} must be a readable ArrayRecord file. Received: {error}. Copy the pack again, "
            "or pack the images again"
        ) from error


@functools.lru_cache(1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; one that was forked has none of its parent's."""
    del process
    usable = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return ThreadPoolExecutor(len(usable(0)) if usable else os.cpu_count(), "decode")
