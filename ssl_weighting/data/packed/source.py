"""What packs are made of, a piece at a time: blocks of examples, from `PackSource`s."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np


class Block(NamedTuple):
    """Some examples of a part, one after the other.

    Attributes:
        images: [k, H, W, C] uint8, those that could be read.
        contents: k files' bytes, where these are packed; else [].
        labels: [k] int32.
        names: k names.
        skipped: (name, reason) of each that could not be read.
        coloured: whether one of the pictures is no grey one.
    """

    images: np.ndarray
    contents: list[bytes]
    labels: np.ndarray
    names: list[str]
    skipped: list[tuple[str, str]]
    coloured: bool

    @property
    def size(self) -> int:
        """How many examples were looked at."""
        return len(self.names) + len(self.skipped)


class PackSource(abc.ABC):
    """A set that is to be packed.

    Attributes:
        name, class_names: of the set.
        source: where it comes from, for people.
        identity: digest of all that the pack depends on, in hexadecimal; none of it is read.
        image_size: side to which images are resized; None: they are as they are.
        jpeg_draft: as of `decode`.
        parts: part -> examples of it, readable or not, in the set's order.
        stores: the stores that it can be packed into, the usual one first.
    """

    name: str
    class_names: tuple[str, ...]
    source: str
    identity: str
    image_size: int | None
    jpeg_draft: bool
    parts: Mapping[str, int]
    stores: tuple[str, ...]

    @property
    def manner(self) -> str:
        """Digest of what every example depends on, all of `identity` where one file has them."""
        return self.identity

    def identity_of(self, part: str, start: int, stop: int) -> str:
        """Return a digest of what the examples start to stop of a part depend on beside `manner`.

        Nothing of it is read.
        """
        return f"{part} {start} {stop}"

    def skips(self, part: str) -> bool:
        """Return whether what cannot be read of a part is left out."""
        del part
        return False

    @abc.abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Return (H, W, C) of an example."""

    @abc.abstractmethod
    def as_grey(self) -> None:
        """Let all images be grey from now on."""

    @abc.abstractmethod
    def blocks(self, part: str, start: int, stop: int, store: str) -> Iterator[Block]:
        """Yield the examples start to stop of a part, as a store needs them."""
