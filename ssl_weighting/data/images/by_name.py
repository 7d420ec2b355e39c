"""The image sets by name: the real data behind Sec. 4.2's experiments, and a user's own."""

from __future__ import annotations

import functools
import os

from ssl_weighting.data.examples import RawDataset
from ssl_weighting.data.images.archives import check_folder
from ssl_weighting.data.images.cifar10 import load_cifar10
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.mnist_like import load_digits, load_fashion_mnist, load_mnist
from ssl_weighting.data.images.npz import load_npz
from ssl_weighting.data.images.resize import check_side, resize_dataset
from ssl_weighting.data.images.svhn import load_svhn

_LOADERS = {
    "cifar10": load_cifar10,
    "svhn_cropped": functools.partial(load_svhn, extra=False),
    "svhn_cropped_extra": functools.partial(load_svhn, extra=True),
    "fashion_mnist": load_fashion_mnist,
    "mnist": load_mnist,
}
NAMES = (*_LOADERS, "digits")
_KINDS = {"npz": "file", "folder": "folder"}  # of PREFIX:PATH


def load_images(
    dataset: str,
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    on_error: str = "auto",
) -> RawDataset:
    """Return an image set, its source named.

    Args:
        dataset: one of `NAMES`, npz:PATH (see `load_npz`) or folder:PATH (see `load_folder`).
        data_dir: folder with the files of the set; then no other source is tried.
        image_size: side to which all images are resized; None keeps their size.
        cache_dir: where downloads lie; None for none and TFDS's own folder.
        on_error: of a folder:PATH, see `load_folder`.

    Returns:
        The set: uint8 images [n, H, W, C], C = 1 for grey ones and 3 for colour.

    Raises:
        FileNotFoundError: if no source has the data, or there is no folder `data_dir`.
        ValueError: if the name is unknown, an argument does not fit, or a file is damaged.
    """
    check_images(dataset, data_dir)
    if image_size is not None:
        check_side(image_size)
    kind, _, path = dataset.partition(":")
    raw = _load(kind, path, data_dir, image_size, cache_dir, on_error)
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
            f"`dataset` must be one of {', '.join(NAMES)}, npz:PATH or folder:PATH. "
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


def _load(kind, path, data_dir, image_size, cache_dir, on_error) -> RawDataset:
    if kind == "npz":
        return load_npz(path)
    if kind == "folder":
        return load_folder(path, image_size, on_error)
    if kind == "digits":
        return load_digits()
    return _LOADERS[kind](data_dir, cache_dir)
