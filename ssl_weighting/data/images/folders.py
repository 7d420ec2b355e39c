"""Read a user's own images from a folder, for training and for prediction."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset, base_name
from ssl_weighting.data.images.folder_layout import (
    Found,
    files_below,
    find_parts,
    subfolders,
)
from ssl_weighting.data.images.picture import SUFFIXES, PictureError, read_picture
from ssl_weighting.data.memory import STREAM, need_of_images, require
from ssl_weighting.data.names import printable
from ssl_weighting.data.own import own_dataset
from ssl_weighting.data.packed.manifest import is_pack
from ssl_weighting.data.progress import counted

ON_ERROR = ("auto", "skip", "stop")
_AT_ONCE = 256  # pictures decoded ahead of who asks for them
_Read = TypeVar("_Read")


class FolderFiles(NamedTuple):
    """What stands in a folder of pictures, before any is opened."""

    root: Path
    parts: dict[str, list[tuple[Found, int]]]  # part -> files with their labels
    classes: tuple[str, ...]


def load_folder(
    path: str | os.PathLike,
    image_size: int | None = None,
    on_error: str = "auto",
    jpeg_draft: bool = False,
) -> RawDataset:
    """Return the set in a folder PATH with PATH/<class>/*.png, *.jpg, *.webp or *.bmp.

    Images are called by their paths below PATH.

    Optional: PATH/unlabeled/**, PATH/validation/<class>/*, PATH/test/<class>/*; or torchvision's
    PATH/train/<class>/*, PATH/val/<class>/* and PATH/test/<class>/*. Without a test part, a fifth
    of the labeled images is held out, always the same ones (see `own_dataset`). The set is grey if
    every image is, else colour; transparent pixels are put on white, EXIF rotations are carried
    out. Hidden files and what systems leave in folders (Thumbs.db, __MACOSX) are ignored.

    Args:
        path: the folder. Links may not lead out of it.
        image_size: side to which images are resized (stretched, if they are not square); None takes
            them as they are, all of one size.
        on_error: one of `ON_ERROR`: "stop" at a file that cannot be read, "skip" it, or "auto",
            which skips unlabeled ones and stops at others. Ids count what was read, in the order
            of names; `skipped` of the set names the rest.
        jpeg_draft: whether JPEGs are decoded to a part of their size before they are resized, see
            `decode`; needs `image_size`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an image cannot be read, is missing, differs in size or has two labels, or
            a folder's name is not UTF-8 or looks like that of a part.
    """
    check_draft(jpeg_draft, image_size)
    root, files, classes = find_files(path, on_error)
    read, skipped = _read_parts(root, files, image_size, on_error, jpeg_draft)
    name = root.resolve().name
    return own_dataset(name, read, classes, source_of(path, image_size, jpeg_draft), skipped)


def name_of(root: Path, file: Found) -> str:
    """Return what people know a file by: its path below the folder."""
    return printable(str(file.path.relative_to(root)))


def find_files(path: str | os.PathLike, on_error: str = "auto") -> FolderFiles:
    """Return the files of the set that `load_folder` reads.

    Raises:
        FileNotFoundError, ValueError: as `load_folder`, but for what stands in the files.
    """
    root = _folder(path, f"`dataset` must name a folder as folder:PATH. Received: folder:{path}")
    _check_on_error(on_error)
    if is_pack(root):
        raise ValueError(
            "`dataset` must name a folder of images as folder:PATH. Received: "
            f"folder:{path}, which is a pack: packed:{path}."
        )
    folders, classes = find_parts(root)
    files = {
        part: _unlabeled_files(root, folder)
        if part == "unlabeled"
        else _labeled_files(root, folder, folders, classes)
        for part, folder in folders.items()
    }
    return FolderFiles(root, files, classes)


def source_of(path: str | os.PathLike, image_size: int | None, jpeg_draft: bool = False) -> str:
    """Return what results say of a folder."""
    resized = "" if image_size is None else f", images resized to {image_size}x{image_size}"
    drafts = ", from drafts of JPEGs" if jpeg_draft else ""
    return f"folder {base_name(path)}{resized}{drafts}"


def check_draft(jpeg_draft: bool, image_size: int | None) -> None:
    """Raise ValueError if drafts are asked for and there is no size that they are for."""
    if jpeg_draft and image_size is None:
        raise ValueError(
            "`jpeg_draft` must be False without an `image_size`: a draft is of a size. Received: "
            "jpeg_draft=True, image_size=None."
        )


def skips(on_error: str, part: str) -> bool:
    """Return whether files of a part that cannot be read are left out."""
    return on_error == "skip" or (on_error == "auto" and part == "unlabeled")


def _folder(path, message: str) -> Path:
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"{message}, not a folder.")
    return root


def _check_on_error(on_error: str) -> None:
    if on_error not in ON_ERROR:
        known = ", ".join(ON_ERROR)
        raise ValueError(f"`on_error` must be one of {known}. Received: on_error={on_error!r}.")


def _labeled_files(root, folder, folders, classes: Sequence[str]) -> list[tuple[Found, int]]:
    names = subfolders(root, folder)
    names = [name for name in names if folder != root or root / name not in folders.values()]
    if not names or set(names) - set(classes):
        raise ValueError(
            f"{folder} must have one sub-folder per class of {folders['train']}: {list(classes)}. "
            f"Received: {names}. Put the images of each class into {folder}/<class>/, or "
            "remove the folder."
        )
    found = [(name, _some_files(root, folder / name)) for name in names]
    return [(file, classes.index(name)) for name, files in found for file in files]


def _unlabeled_files(root: Path, folder: Path) -> list[tuple[Found, int]]:
    return [(file, UNKNOWN) for file in _some_files(root, folder, nested=True)]


def _some_files(root: Path, folder: Path, nested: bool = False) -> list[Found]:
    found = files_below(root, folder, nested)
    if not found:
        raise ValueError(
            f"{folder} must have images ({', '.join(SUFFIXES)}). Received: no images. Add some or "
            "remove the folder."
        )
    return found


def _read_parts(
    root, files: dict[str, list[tuple[Found, int]]], image_size, on_error: str, draft: bool
):
    """Return part -> examples that can be read, and (name, reason) of the rest."""
    flat = [(part, file, label) for part, pairs in files.items() for file, label in pairs]
    found = [file for _, file, _ in flat]

    def may_skip(k):
        return skips(on_error, flat[k][0])

    read = read_pictures(found, functools.partial(read_picture, image_size=image_size, draft=draft))
    images, errors = _read_all(root, found, read, may_skip)
    if any(image is not None and image.ndim == 3 for image in images):
        images = [with_channels(image, 3) if image is not None else None for image in images]
    parts, start = {}, 0
    for part, pairs in files.items():
        rows = range(start, start + len(pairs))
        start += len(pairs)
        _check_some([found[k] for k in rows], {k - rows[0]: errors.get(k) for k in rows})
        rows = [k for k in rows if k not in errors]
        stacked = np.stack([images[k] for k in rows])
        labels = np.array([flat[k][2] for k in rows], np.int32)
        names = np.array([name_of(root, found[k]) for k in rows], object)
        parts[part] = Examples(stacked.reshape(*stacked.shape[:3], -1), labels, names=names)
    return parts, tuple((name_of(root, found[k]), e.reason) for k, e in errors.items())


def _read_all(
    root: Path,
    files: list[Found],
    read: Iterator[np.ndarray | PictureError],
    may_skip: Callable[[int], bool],
) -> tuple[list[np.ndarray | None], dict[int, PictureError]]:
    """Return the images, [H, W] or [H, W, 3], and number -> error of those that are skipped."""
    images: list[np.ndarray | None] = []
    errors: dict[int, PictureError] = {}
    first = None
    for k, image in enumerate(counted(read, len(files), "reading images")):
        if isinstance(image, PictureError):
            if not may_skip(k):
                raise image
            errors[k], image = image, None
        elif first is None:
            first = k
            _check_memory(root, len(files), image)
        elif image.shape[:2] != images[first].shape[:2]:
            raise unlike(files[first], images[first], files[k], image)
        images.append(image)
    return images, errors


def read_pictures(
    files: Sequence[Found], read: Callable[[Path], _Read] = read_picture
) -> Iterator[_Read | PictureError]:
    """Yield what `read` finds in each file, such as its picture, or why there is none."""
    for start in range(0, len(files), _AT_ONCE):
        yield from _pictures(files[start : start + _AT_ONCE], read)


def _pictures(files, read):
    """Return the pictures of some files.

    No thread outlives the call: a generator that waited for its threads when it is collected might
    do so within the start of another thread, which would never end.
    """
    # Pillow decodes outside Python's lock, so threads do help. It warns of tags and sizes that are
    # no matter here, or are refused by name.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(lambda file: _attempt(file, read), files))


def _attempt(file: Found, read):
    if file.problem:
        return PictureError(printable(str(file.path)), file.problem)
    try:
        return read(file.path)
    except PictureError as error:
        return error


def _check_memory(root: Path, count: int, image: np.ndarray) -> None:
    size = count * image.size
    need = need_of_images(size) + size  # one by one and, for a moment, as an array too
    require(need, f"The {count} images of {root}", f"{STREAM}, or a smaller --image_size")


def _check_some(files: list[Found], errors: dict[int, PictureError | None]) -> None:
    """Raise the first error if none of `files` could be read."""
    known = [error for error in errors.values() if error is not None]
    if len(known) == len(files):
        raise known[0]


def unlike(one: Found, first: np.ndarray, other: Found, image: np.ndarray) -> ValueError:
    """Return the refusal of two pictures, and their files, that differ in size."""
    (height, width), (other_height, other_width) = first.shape[:2], image.shape[:2]
    return ValueError(
        f"All images must be of one size unless `image_size` is given. Received: {one.path} of "
        f"{width}x{height} and {other.path} of {other_width}x{other_height} pixels. "
        "Pass `image_size`."
    )


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Return a picture [H, W] or [H, W, 3] as [H, W, channels], grey or colour."""
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    return np.asarray(Image.fromarray(image).convert(mode)).reshape(*image.shape[:2], channels)
