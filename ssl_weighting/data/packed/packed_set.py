"""The set that a pack holds, as the library has data sets."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from ssl_weighting.data.array_files import NPY, named_damage
from ssl_weighting.data.csv_cells import unguarded
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.own import own_dataset
from ssl_weighting.data.packed.manifest import (
    PIXELS,
    SKIPPED,
    Manifest,
    check_digest,
    read_manifest,
)
from ssl_weighting.data.packed.mapped import MappedTable
from ssl_weighting.data.packed.names import Names, mapped_array
from ssl_weighting.data.packed.records import RecordTable
from ssl_weighting.data.packed.shards import ShardedTable


def load_packed(path: str | os.PathLike, image_size: int | None = None) -> RawDataset:
    """Return the set in a pack: that of `load_folder` or `load_npz`, read by row.

    Inputs and names are tables; labels and digests are in memory, 36 bytes an example, for as long
    as copies are looked for. No image is read.

    Args:
        path: folder of the pack.
        image_size: side that the images must have; None: whatever they have.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no whole pack, or of images of another side.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`dataset` must name a pack as packed:DIR. Received: packed:{path}, not a folder."
        )
    manifest = read_manifest(folder)
    check_digest(folder, manifest)
    if image_size is not None and manifest.shape[:2] != (image_size, image_size):
        height, width = manifest.shape[:2]
        raise ValueError(
            f"`image_size` must be that of the pack or left out. Received: image_size={image_size} "
            f"for images of {width}x{height} in {path}. Pack the images again with that size."
        )
    try:
        parts = {part: _examples(folder, manifest, part) for part in manifest.parts}
        skipped = _skipped(folder)
    except DAMAGE as error:
        raise ValueError(
            f"{folder} must be a pack. Received: files beside its images that do not fit: {error}. "
            "Pack the images again."
        ) from error
    names = manifest.class_names
    return own_dataset(manifest.name, parts, names, manifest.source, skipped)


def table_of_pack(folder: Path, manifest: Manifest, part: str) -> ShardedTable:
    """Return the images of a part of a pack."""
    digests = mapped_array(folder / f"{part}-digests.npy")
    known = (folder, manifest.parts[part], manifest.shape, digests, Names(folder, part))
    if manifest.store == PIXELS:
        return MappedTable(*known)
    return RecordTable(*known, image_size=manifest.image_size, draft=manifest.jpeg_draft)


def read_labels(folder: str | os.PathLike, part: str) -> np.ndarray:
    """Return the labels of a part of a pack, [n] int32.

    Raises:
        ValueError: they are damaged; names the file.
    """
    path = Path(folder) / f"{part}-labels.npy"
    with named_damage(path, *NPY):
        return np.load(path, allow_pickle=False)


def _examples(folder, manifest, part) -> Examples:
    table, labels = table_of_pack(folder, manifest, part), read_labels(folder, part)
    return Examples(table, labels, names=Names(folder, part))


def _skipped(folder) -> tuple[tuple[str, str], ...]:
    with open(folder / SKIPPED, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return tuple((unguarded(name), unguarded(reason)) for name, reason in rows)
