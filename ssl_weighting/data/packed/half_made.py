"""A pack that is being made: the shards that it is to have, and what is known of those it has.

DIR/parts/pack.json       what is packed
DIR/parts/train-00000.npz what stands beside a shard that is whole, until the manifest does
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import replacing
from ssl_weighting.data.packed.manifest import ENCODED, FORMAT, PIXELS, STORES
from ssl_weighting.data.packed.source import PackSource

PARTS = "parts"
ROWS = {PIXELS: 2**16, ENCODED: 2**12}  # of a shard at most, readable or not
_PIXELS = 2**28  # bytes of a shard of pixels at most


class Beside(NamedTuple):
    """What is known of a shard beside its images; arrays, as a sidecar keeps them."""

    labels: np.ndarray  # [k] int32
    digests: np.ndarray  # [k, 32] uint8
    text: np.ndarray  # [b] uint8, the names as UTF-8
    ends: np.ndarray  # [k] int64, where each ends
    skipped: np.ndarray  # [s, 2] str, names and reasons
    coloured: np.ndarray  # bool, whether a picture is no grey one
    shape: np.ndarray  # [3] int64, (H, W, C) of its images
    size: np.ndarray  # int64, bytes of the shard
    identity: np.ndarray  # str, of what it was made of


class Planned(NamedTuple):
    """A shard that is to be."""

    part: str
    stem: str  # name of its file without the ending
    start: int
    stop: int  # behind its last example, readable or not


class HalfMade(NamedTuple):
    """A pack that is being made.

    Attributes:
        source: of its examples.
        out: its folder.
        store: one of `STORES`.
        identity: of the whole pack.
    """

    source: PackSource
    out: Path
    store: str
    identity: str

    @property
    def note(self) -> Path:
        """The file that says what is packed."""
        return self.out / PARTS / "pack.json"

    def about(self) -> dict[str, Any]:
        """Return what that file is to say."""
        manner = f"{FORMAT} {self.store} {self.source.manner}"
        return {"manner": manner, "identity": self.identity, "channels": self.source.shape()[2]}

    def shards(self) -> Iterator[Planned]:
        """Yield the shards that the pack is to have, in order."""
        rows = ROWS[self.store]
        if self.store == PIXELS:
            rows = max(min(rows, _PIXELS // int(np.prod(self.source.shape()))), 1)
        for part, count in self.source.parts.items():
            for k, start in enumerate(range(0, count, rows)):
                yield Planned(part, f"{part}-{k:05d}", start, min(start + rows, count))

    def file(self, shard: Planned) -> Path:
        """Return the path of a shard; it has none if none of its examples can be read."""
        return self.out / f"{shard.stem}{STORES[self.store]}"

    def keep(self, shard: Planned, known: dict[str, np.ndarray], size: int) -> None:
        """Write what stands beside a shard: from now on it is whole.

        Args:
            known: name -> value of the fields of `Beside`, but for the last three.
            size: bytes of its file.

        Raises:
            OSError: it cannot be written.
        """
        made_of = np.array(self._identity_of(shard))
        beside = Beside(
            **known, shape=np.array(self.source.shape()), size=np.array(size), identity=made_of
        )
        with replacing(self._sidecar(shard)) as temporary:
            np.savez(temporary, **beside._asdict())

    def kept(self, shard: Planned) -> Beside | None:
        """Return what stands beside a shard that is whole, None where it must be made.

        It must if what it was made of has changed.
        """
        try:
            with np.load(self._sidecar(shard), allow_pickle=False) as found:
                beside = Beside(**{name: found[name] for name in Beside._fields})
            if tuple(beside.shape) != self.source.shape():
                return None
            if beside.identity != self._identity_of(shard):
                return None
            if len(beside.skipped) and not self.source.skips(shard.part):
                return None
            if len(beside.labels) and self.file(shard).stat().st_size != beside.size:
                return None
        except DAMAGE:
            return None
        return beside

    def all_kept(self, part: str = "") -> Iterator[tuple[Planned, Beside]]:
        """Yield the shards of a part, or of all, and what stands beside each.

        Raises:
            OSError: one is not whole any more.
        """
        for shard in self.shards():
            if part in ("", shard.part):
                beside = self.kept(shard)
                if beside is None:
                    path = self._sidecar(shard)
                    raise OSError(f"{path} was changed while the images were packed")
                yield shard, beside

    def _sidecar(self, shard: Planned) -> Path:
        return self.out / PARTS / f"{shard.stem}.npz"

    def _identity_of(self, shard: Planned) -> str:
        return self.source.identity_of(shard.part, shard.start, shard.stop)
