"""Read a user's own images from a folder with one sub-folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, Examples, RawDataset, base_name
from ssl_weighting.data.progress import counted
from ssl_weighting.data.splits import hold_out

_SUFFIXES = (".png", ".jpg", ".jpeg")
_RESERVED = ("unlabeled", "validation", "test")
_TEST_SHARE = 5  # without test/, one example in five is held out
_GREY_MODES = ("1", "L")
_COLOR_MODES = ("RGB", "RGBA", "LA", "P", "CMYK", "YCbCr")


def load_folder(path: str | os.PathLike, image_size: int | None = None) -> RawDataset:
    """Return the set in a folder PATH with PATH/<class>/*.png or *.jpg.

    Optional: PATH/unlabeled/*, PATH/validation/<class>/*, PATH/test/<class>/*. Without test/, a
    fifth of the labeled images is held out for testing, always the same ones, in the proportions
    of the classes. The set is grey if every image is, else colour; transparent pixels are put on
    white, EXIF rotations are carried out. Names that start with a dot are ignored.

    Args:
        path: the folder. Links may not lead out of it.
        image_size: side to which images are resized (stretched, if they are not square); None takes
            them as they are, all of one size.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an image cannot be read, is missing, or differs in size.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            f"`dataset` must name a folder as folder:PATH. Received: folder:{path}, not a folder."
        )
    classes = tuple(name for name in _subfolders(root) if name not in _RESERVED)
    files = {"train": _labeled_files(root, root, classes)}
    for part in ("test", "validation"):
        if (root / part).is_dir():
            files[part] = _labeled_files(root, root / part, classes)
    if (root / "unlabeled").is_dir():
        files["unlabeled"] = [(file, UNKNOWN) for file in _images(root, root / "unlabeled")]
    parts = _read_parts(files, image_size)
    source = f"folder {base_name(path)}"
    if image_size is not None:
        source += f", images resized to {image_size}x{image_size}"
    if "test" not in parts:
        size = len(parts["train"]) // _TEST_SHARE
        parts["train"], parts["test"] = hold_out(parts["train"], classes, size)
        source += f", {size} images of it held out for testing"
    return RawDataset(root.resolve().name, class_names=classes, source=source, **parts)


def _labeled_files(root: Path, folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    names = [name for name in _subfolders(folder) if folder != root or name not in _RESERVED]
    unknown = sorted(set(names) - set(classes))
    if unknown or not classes:
        raise ValueError(
            f"{folder} must have one sub-folder per class of {root}: {list(classes)}. "
            f"Received: {names}. Put the images of each class into {root}/<class>/."
        )
    return [(file, classes.index(name)) for name in names for file in _images(root, folder / name)]


def _subfolders(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images(root: Path, folder: Path) -> list[Path]:
    """Return the images in `folder`, sorted by name."""
    inside = root.resolve()
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in (folder, *entries):
        if not entry.resolve().is_relative_to(inside):
            raise ValueError(
                f"{entry} must stay inside {root}. Received: a link to {entry.resolve()}. "
                "Copy the images into the folder."
            )
    other = [entry.name for entry in entries if entry.suffix.lower() not in _SUFFIXES]
    if other or not entries:
        raise ValueError(
            f"{folder} must have images ({', '.join(_SUFFIXES)}) and nothing else. "
            f"Received: {other[:3] if other else 'no images'}. Move or convert other files."
        )
    return entries


def _read_parts(files: dict[str, list[tuple[Path, int]]], image_size) -> dict[str, Examples]:
    everything = [file for part in files.values() for file, _ in part]
    # Pillow decodes outside Python's lock, so threads do help.
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda file: _read_image(file, image_size), everything)
        images = list(counted(read, len(everything), "reading images"))
    _check_sizes(everything, images)
    if any(image.ndim == 3 for image in images):
        images = [np.dstack([image] * 3) if image.ndim == 2 else image for image in images]
    parts, start = {}, 0
    for part, pairs in files.items():
        stacked = np.stack(images[start : start + len(pairs)])
        start += len(pairs)
        labels = np.array([label for _, label in pairs], np.int32)
        parts[part] = Examples(stacked.reshape(*stacked.shape[:3], -1), labels)
    return parts


def _check_sizes(files: list[Path], images: list[np.ndarray]) -> None:
    first = images[0].shape[:2]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != first:
            raise ValueError(
                "All images must be of one size unless `image_size` is given. Received: "
                f"{files[0]} of {first[1]}x{first[0]} and {file} of "
                f"{image.shape[1]}x{image.shape[0]} pixels. Pass `image_size`."
            )


def _read_image(file: Path, image_size: int | None) -> np.ndarray:
    """Return [H, W] (grey) or [H, W, 3] uint8."""
    from PIL import Image, ImageOps

    try:
        # Only these two decoders: others of Pillow's start programs (EPS).
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            if image.mode not in _GREY_MODES + _COLOR_MODES:
                raise ValueError(f"mode {image.mode}, not 8 bits a channel")
            image = _flattened(ImageOps.exif_transpose(image))
    # Pillow says SyntaxError for a broken PNG chunk.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{file} must be a readable PNG or JPEG image with 8 bits a channel. "
            f"Received: {error}. Repair, convert or remove it."
        ) from error
    if image_size is not None:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _flattened(image):
    """Return the image as L or RGB, transparent pixels on white."""
    from PIL import Image

    if image.mode in _GREY_MODES and "transparency" not in image.info:
        return image.convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def read_images(path: str | os.PathLike, side: int, channels: int) -> tuple[list[str], np.ndarray]:
    """Read every image below a folder, for labeling by a trained model.

    Args:
        path: folder, searched with its sub-folders.
        side: side to which images are resized.
        channels: 1 (grey) or 3 (colour) of the model's inputs.

    Returns:
        Names relative to `path`, sorted, and images [n, side, side, channels] uint8.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no image or an unreadable one.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"`path` must be a folder of images. Received: path={path}.")
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"{root} must have images ({', '.join(_SUFFIXES)}). Received: none.")
    named = counted(files, len(files), "reading images")
    images = [_with_channels(_read_image(file, side), channels) for file in named]
    return [str(file.relative_to(root)) for file in files], np.stack(images)


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    return np.asarray(Image.fromarray(image).convert(mode)).reshape(*image.shape[:2], channels)
