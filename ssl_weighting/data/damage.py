"""What damaged or hostile files do: the errors they end in, and sizes that they cannot have."""

from __future__ import annotations

import lzma
import struct
import tarfile
import tokenize
import zipfile
import zlib

from ssl_weighting.data.memory import machine_memory

# What numpy, zipfile, gzip, tarfile and Pillow raise for damaged bytes, found by flipping every bit
# of a file: a flipped version, flag, method or size field ends in the less obvious ones.
DAMAGE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, RuntimeError,
    MemoryError, OverflowError, SyntaxError, struct.error, tokenize.TokenError, tarfile.TarError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
_DEFLATE_RATIO = 1032  # bytes that one byte of deflated data can stand for, at most


def check_claim(claimed: int, packed: int | None = None) -> None:
    """Check a size that a header claims, before memory is taken for it.

    Args:
        claimed: bytes that would be read.
        packed: bytes of deflated data that they are to come out of; None: not compressed.

    Raises:
        ValueError: no such data can hold them, or the machine cannot.
    """
    if packed is not None and claimed > _DEFLATE_RATIO * (packed + 1):
        raise ValueError(f"{packed:,} packed bytes that claim to be {claimed:,}")
    if claimed > machine_memory():
        raise ValueError(
            f"{claimed / 1e9:.1f} GB, more than the {machine_memory() / 1e9:.1f} GB of memory here"
        )
