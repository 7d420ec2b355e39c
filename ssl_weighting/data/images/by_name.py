"""The image sets by name: the real data behind Sec. 4.2's experiments, and a user's own."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from ssl_weighting.data.examples import RawDataset
from ssl_weighting.data.images.archives import check_folder
from ssl_weighting.data.images.cifar10 import load_cifar10
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.mnist_like import load_digits, load_fashion_mnist, load_mnist
from ssl_weighting.data.images.npz import load_npz
from ssl_weighting.data.images.resize import check_side, resize_dataset
from ssl_weighting.data.images.svhn import load_svhn
from ssl_weighting.data.memory import TooLargeError
from ssl_weighting.data.packed.folder_source import FolderSource
from ssl_weighting.data.packed.npz_source import NpzSource
from ssl_weighting.data.packed.packed_set import load_packed
from ssl_weighting.data.packed.write import pack

_LOADERS = {
    "cifar10": load_cifar10,
    "svhn_cropped": functools.partial(load_svhn, extra=False),
    "svhn_cropped_extra": functools.partial(load_svhn, extra=True),
    "fashion_mnist": load_fashion_mnist,
    "mnist": load_mnist,
}
NAMES = (*_LOADERS, "digits")
_KINDS = {"npz": "file", "folder": "folder", "packed": "pack"}  # of PREFIX:PATH
AUTO, MEMORY, STREAM = "auto", "memory", "stream"
SOURCES = (AUTO, MEMORY, STREAM)


def load_images(
    dataset: str,
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    on_error: str = "auto",
    source: str = AUTO,
    jpeg_draft: bool = False,
) -> RawDataset:
    """Return an image set, its source named.

    Args:
        dataset: one of `NAMES`, npz:PATH (see `load_npz`), folder:PATH (see `load_folder`) or
            packed:DIR (see `load_packed`).
        data_dir: folder with the files of the set; then no other source is tried.
        image_size: side to which all images are resized; None keeps their size.
        cache_dir: where downloads lie; None for none and TFDS's own folder.
        on_error, jpeg_draft: of a folder:PATH, see `load_folder`.
        source: where images of one's own are while they are read: "memory", "stream": in a pack
            below `cache_dir`, made once, or "auto": in memory where there is room for them.

    Returns:
        The set: uint8 images [n, H, W, C], C = 1 for grey ones and 3 for colour.

    Raises:
        FileNotFoundError: if no source has the data, or there is no folder `data_dir`.
        ValueError: if the name is unknown, an argument does not fit, or a file is damaged.
        TooLargeError: there is not the memory for it.
    """
    check_images(dataset, data_dir)
    if source not in SOURCES:
        known = ", ".join(SOURCES)
        raise ValueError(f"`source` must be one of {known}. Received: source={source!r}.")
    if image_size is not None:
        check_side(image_size)
    kind, _, path = dataset.partition(":")
    if kind == "packed":
        return load_packed(path, image_size)
    if kind in _KINDS:
        raw = _own(kind, path, image_size, cache_dir, on_error, source, jpeg_draft)
    elif kind == "digits":
        raw = load_digits()
    else:
        raw = _LOADERS[kind](data_dir, cache_dir)
    return raw if image_size is None else resize_dataset(raw, image_size)


def check_images(dataset: str, data_dir: str | os.PathLike | None = None) -> None:
    """Check what `load_images` is to load, before anything is read.

    Raises:
        FileNotFoundError: there is no folder `data_dir`, or nothing at a PATH.
        ValueError: the name is unknown, or it needs no `data_dir`.
    """
    kind, _, path = dataset.partition(":")
    if dataset not in NAMES and not (kind in _KINDS and path):
        raise ValueError(
            f"`dataset` must be one of {', '.join(NAMES)}, npz:PATH, folder:PATH or packed:DIR. "
            f"Received: dataset={dataset!r}."
        )
    if data_dir is not None and dataset not in _LOADERS:
        raise ValueError(
            f"`data_dir` must be left out for every dataset but {', '.join(_LOADERS)}. "
            f"Received: data_dir={os.fspath(data_dir)!r} for dataset={dataset!r}."
        )
    check_folder(data_dir)
    if path and not os.path.exists(path):
        raise FileNotFoundError(
            f"`dataset` must name a {_KINDS[kind]}. Received: {dataset}, which is not there."
        )


def _own(kind, path, image_size, cache_dir, on_error, source, jpeg_draft) -> RawDataset:
    """Return images of one's own, in memory or in a pack of them."""
    try:
        if source != STREAM:
            if kind == "npz":
                return load_npz(path, image_size)
            return load_folder(path, image_size, on_error, jpeg_draft)
    except TooLargeError:
        if source == MEMORY or cache_dir is None:
            raise
    if cache_dir is None:
        raise ValueError(
            "`cache_dir` must be a folder where `source` is 'stream': the pack is made there. "
            "Received: cache_dir=None."
        )
    if kind == "npz":
        found = NpzSource(path, image_size)
    else:
        found = FolderSource(path, image_size, on_error, jpeg_draft)
    out = Path(cache_dir) / "packed" / found.identity[:32]
    why = "as --source=stream asks" if source == STREAM else "there is no room for all in memory"
    print(f"images are read from a pack in {out}: {why}", flush=True)
    pack(found, out, found.stores[0])
    return load_packed(out)
