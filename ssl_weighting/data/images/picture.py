"""Decode one picture file: the same for training and prediction, right or refused by name."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.images.resize import height_and_width
from ssl_weighting.data.names import printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MOST_PIXELS = 2**28 // 3  # as many as Pillow takes without a warning
# Only these decoders: others of Pillow's start programs (EPS).
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_GREY_MODES = ("1", "L")
_COLOR_MODES = ("RGB", "RGBA", "LA", "P", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # the tag of EXIF
_PNG_DEPTH = 24  # where a PNG file says how many bits a channel has
_UNKNOWN = "content of none of these formats"
# What begins a JPEG file, its EXIF and its pixels.
_JPEG, _EXIF, _SCAN = b"\xff\xd8", b"Exif\0\0", b"\xda"


class PictureError(ValueError):
    """A file that cannot be read as a picture; the message names it and says why."""

    def __init__(self, name: str, reason: str):
        super().__init__(
            f"{name} must be a readable PNG, JPEG, WebP or BMP image with 8 bits a channel. "
            f"Received: {reason}. Repair, convert or remove it, or skip such files: "
            "--on_error=skip."
        )
        self.name, self.reason = name, reason


def read_picture(
    path: Path, image_size: int | tuple[int, int] | None = None, draft: bool = False
) -> np.ndarray:
    """Return the picture in a file, as `decode` does.

    Raises:
        PictureError: if it is no regular file with one of `SUFFIXES`, or cannot be decoded.
    """
    with _file(path) as (file, name):
        return decode(file, name, image_size, draft)


def read_record(
    path: Path, image_size: int | tuple[int, int] | None = None, draft: bool = False
) -> tuple[bytes, np.ndarray]:
    """Return the bytes of a file and the picture in them, as `decode` does.

    Raises:
        PictureError: as `read_picture`.
    """
    with _file(path) as (file, name):
        content = file.read()
        return content, decode(io.BytesIO(content), name, image_size, draft)


def is_grey(path: Path) -> bool:
    """Return whether the picture in a file is grey, as its first bytes tell.

    Raises:
        PictureError: as `read_picture`, but for what only the pixels show.
    """
    with _file(path) as (file, _), _opened(file) as image:
        _check_header(file, image)
        return _is_grey(image)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Give the open file of a picture and its name for errors; what goes wrong names it too."""
    from PIL import Image, UnidentifiedImageError

    name = printable(str(path))
    try:
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"a name that does not end in {', '.join(SUFFIXES)}")
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for its writer
            raise ValueError("no regular file")
        with open(path, "rb") as file:
            yield file, name
    except PictureError:
        raise
    except UnidentifiedImageError as error:  # whose words name the file by its path
        raise PictureError(name, _UNKNOWN) from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise PictureError(name, _reason(error)) from error


def decode(
    file: BinaryIO,
    name: str,
    image_size: int | tuple[int, int] | None = None,
    draft: bool = False,
) -> np.ndarray:
    """Return the picture in an open file, the right way up, transparent pixels on white.

    Args:
        file: its bytes, from the start; `io.BytesIO` for bytes in memory.
        name: for errors.
        image_size: side, or (height, width), to which it is resized (stretched, if it has another
            shape); None keeps it.
        draft: whether a JPEG is unpacked to a half, quarter or eighth of its size where that is no
            smaller than `image_size`: faster, and its pixels are a little others.

    Returns:
        [H, W] (grey) or [H, W, 3] uint8.

    Raises:
        PictureError: if it is damaged, of another format, animated, of more than `MOST_PIXELS`
            pixels or not of 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with _opened(file) as image:
            _check_header(file, image)
            if draft and image_size is not None and image.format == "JPEG":
                # The longer side twice: the picture may be lying on its side.
                image.draft(None, (max(height_and_width(image_size)),) * 2)
            image.load()
            image = _flattened(_upright(image))
    except UnidentifiedImageError as error:  # whose words name the file by its path
        raise PictureError(name, _UNKNOWN) from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise PictureError(name, _reason(error)) from error
    if image_size is not None:
        height, width = height_and_width(image_size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _opened(file):
    """Return the image in a file; a JPEG whose EXIF Pillow stumbles over, as if it were none."""
    from PIL import Image, UnidentifiedImageError

    start = file.tell()
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(start)
        content, exif = _without_exif(file.read()) if file.read(2) == _JPEG else (b"", b"")
        if not exif:
            raise
        image = Image.open(io.BytesIO(_JPEG + content), formats=_FORMATS)
        image.info["exif"] = exif  # for the orientation
        return image


def _without_exif(content: bytes) -> tuple[bytes, bytes]:
    """Return the segments of a JPEG file without its EXIF, and that EXIF, b"" if it has none."""
    place = 0  # of a segment: 0xff, its kind, its size, content
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != _SCAN:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 4 : place + 10] == _EXIF:
            return content[:place] + content[end:], content[place + 4 : end]
        place = end
    return content, b""


def _reason(error: BaseException) -> str:
    # An OSError's words name the file once more.
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _check_header(file, image) -> None:
    """Check what can be known before the pixels are unpacked."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width}x{height} pixels, more than {MOST_PIXELS:,}")
    if image.mode not in _GREY_MODES + _COLOR_MODES:
        raise ValueError(f"mode {image.mode}, not 8 bits a channel")
    if image.format == "PNG":
        # Pillow drops the lower byte of 16-bit colours; of 12-bit ones, which PNG stores in 16,
        # nearly nothing would be left.
        place = file.tell()
        file.seek(_PNG_DEPTH)
        depth = file.read(1)[0]
        file.seek(place)
        if depth > 8:
            raise ValueError(f"{depth} bits a channel; scale them to 8 by the greatest value")
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        raise ValueError(f"an animation of {image.n_frames} pictures")


def _upright(image):
    """Return the image as its EXIF orientation says; no other tag is looked at."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except DAMAGE:  # of the tags alone: the pixels were read
        return image
    return image.transpose(turns[orientation]) if orientation in turns else image


def _flattened(image):
    """Return the image as L or RGB, transparent pixels on white."""
    from PIL import Image

    if _is_grey(image):
        return image.convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _is_grey(image) -> bool:
    return image.mode in _GREY_MODES and "transparency" not in image.info
