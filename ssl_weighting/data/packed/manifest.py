"""The manifest of a pack: what it holds, in which files; written last, so that it makes it whole.

    DIR/manifest.json
    DIR/train-00000.npy           pixels: [rows, H, W, C] uint8
    DIR/train-00000.array_record  encoded: the files' bytes, one a record
    DIR/train-labels.npy          [n] int32, -1 where unknown
    DIR/train-digests.npy         [n, 32] uint8, SHA-256 of an example's pixels [H, W, C]
    DIR/train-names.bin           UTF-8, one after the other
    DIR/train-name-ends.npy       [n] int64, where each ends there
    DIR/skipped.csv               name, problem

and so for every part, of `Examples` and `RawDataset`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.examples import PARTS
from ssl_weighting.data.files import write_atomically

FILE = "manifest.json"
SKIPPED = "skipped.csv"
PIXELS, ENCODED = "pixels", "encoded"
STORES = {PIXELS: ".npy", ENCODED: ".array_record"}  # and what their shards are called
BESIDE = ("labels.npy", "digests.npy", "name-ends.npy", "names.bin")  # PART-... of a part
FORMAT = 1  # raise it when other files mean other examples


class Shard(NamedTuple):
    """A file with some of a part's examples.

    Attributes:
        file: its name in the pack's folder.
        rows: examples in it.
        size: bytes of the file.
    """

    file: str
    rows: int
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a pack holds.

    Attributes:
        store: one of `STORES`.
        name: of the set.
        class_names: C names.
        source: where the images came from, for people.
        identity: what the pack was made of and how, as a digest in hexadecimal.
        shape: (H, W, C) of an example.
        image_size: side to which images were resized; None: they are as they were.
        jpeg_draft: whether JPEGs are decoded to a part of their size before they are resized.
        parts: train, test, ... -> its shards, in order.
        skipped: files that could not be read and were left out.
        digest: SHA-256, in hexadecimal, of all this but the source and the sizes of files, and of
            labels, names, digests and what was skipped: two packs that share it hold one set.
        format: of the folder.
    """

    store: str
    name: str
    class_names: tuple[str, ...]
    source: str
    identity: str
    shape: tuple[int, int, int]
    image_size: int | None
    jpeg_draft: bool
    parts: Mapping[str, tuple[Shard, ...]]
    skipped: int
    digest: str = ""
    format: int = FORMAT

    @property
    def rows(self) -> dict[str, int]:
        """Part -> examples of it."""
        return {part: sum(shard.rows for shard in shards) for part, shards in self.parts.items()}


def write_manifest(folder: str | os.PathLike, manifest: Manifest) -> Manifest:
    """Write the manifest of a folder whose other files are all there, and return it, digest set.

    Raises:
        OSError: it cannot be written, or one of the files not be read.
    """
    manifest = dataclasses.replace(manifest, digest=_digest(Path(folder), manifest))
    text = json.dumps(dataclasses.asdict(manifest), indent=1) + "\n"
    write_atomically(Path(folder) / FILE, text)
    return manifest


def is_pack(folder: str | os.PathLike) -> bool:
    """Return whether a folder has the files of a finished pack, whatever is in them."""
    return all((Path(folder) / name).is_file() for name in (FILE, f"train-{BESIDE[0]}"))


def read_manifest(folder: str | os.PathLike) -> Manifest:
    """Return the manifest of a pack whose files are there and of the sizes that it says.

    Raises:
        ValueError: there is none, it is damaged or of another format, or a file is missing or of
            another size.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        inside = f"Its folder is {folder.parent}" if folder.name == FILE else "Name its folder"
        raise ValueError(f"{folder} must be the folder of a pack. Received: a file. {inside}")
    try:
        text = (folder / FILE).read_text("utf-8")
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder} must be a finished pack. Received: no {FILE} in it. Give the command that "
            "makes it again, `python -m experiments.pack`: it goes on where it was stopped"
        ) from error
    except DAMAGE as error:
        raise _refused(folder / FILE, error) from error
    try:
        manifest = _parsed(json.loads(text))
    except DAMAGE as error:
        raise _refused(folder / FILE, error) from error
    for shard in (shard for shards in manifest.parts.values() for shard in shards):
        _check_size(folder / shard.file, shard.size)
    return manifest


def check_digest(folder: str | os.PathLike, manifest: Manifest) -> None:
    """Read all but the shards, and compare it with what was written.

    Raises:
        ValueError: it is damaged, or another pack's.
    """
    try:
        found = _digest(Path(folder), manifest)
    except OSError as error:
        raise _refused(folder, error) from error
    if found != manifest.digest:
        kinds = ", ".join(f"*-{name}" for name in BESIDE)
        raise ValueError(
            f"{folder} must hold what was packed. Received: {FILE} and files of which one has "
            f"changed since, of {kinds} and {SKIPPED}. Pack the images again"
        )


def _parsed(known: Mapping[str, Any]) -> Manifest:
    if known["format"] != FORMAT:
        raise ValueError(f"format {known['format']!r} in the place of {FORMAT}")
    parts = {
        part: tuple(_shard(*shard) for shard in shards) for part, shards in known["parts"].items()
    }
    height, width, channels = map(int, known["shape"])
    names = tuple(map(str, known["class_names"]))
    found = Manifest(**{**known, "class_names": names, "shape": (height, width, channels),
                        "parts": parts})  # fmt: skip
    if found.store not in STORES or not set(parts) <= set(PARTS) or "train" not in parts:
        raise ValueError(f"store {found.store!r} with parts {', '.join(map(str, parts))}")
    if channels not in (1, 3) or min(height, width) < 1 or not isinstance(found.digest, str):
        raise ValueError(f"images of shape {list(found.shape)}")
    return found


def _shard(file, rows, size) -> Shard:
    if Path(file).name != file or type(rows) is not int or type(size) is not int or rows < 1:
        raise ValueError(f"a shard {file!r} of {rows!r} rows and {size!r} bytes")
    return Shard(file, rows, size)


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise _refused(path, error) from error
    if found != size:
        raise ValueError(
            f"{path} must be as it was packed, of {size:,} bytes. Received: {found:,} bytes. "
            "Copy the pack again, or pack the images again"
        )


def _refused(path, error) -> ValueError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ValueError(
        f"{path} must be of a pack that `python -m experiments.pack` has made. Received: {reason}. "
        "Copy the pack again, or pack the images again"
    )


def _digest(folder: Path, manifest: Manifest) -> str:
    left = ("source", "parts", "digest")
    known = {k: v for k, v in dataclasses.asdict(manifest).items() if k not in left}
    known["parts"] = {
        part: [(shard.file, shard.rows) for shard in shards]
        for part, shards in manifest.parts.items()
    }
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name in _files_beside(manifest):
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files_beside(manifest: Manifest) -> Iterator[str]:
    for part in manifest.parts:
        yield from (f"{part}-{name}" for name in BESIDE)
    yield SKIPPED
