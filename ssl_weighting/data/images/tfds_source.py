"""Read image sets that TensorFlow Datasets prepared, and has it prepare them if it can."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ssl_weighting.data.examples import Examples, UnavailableError, base_name
from ssl_weighting.data.progress import counted

T = TypeVar("T")

_PROBE_SECONDS = 3.0
_BATCH = 1000  # images read at once
_NUMBER = re.compile(rb"\d+$")
# Errors that another source would meet too: a full or protected disk.
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
# One small file each of what TFDS downloads.
_PROBES = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"
    ),
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "svhn_cropped": "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
    "imdb_reviews/plain_text": "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
}


class Prepared(NamedTuple):
    """What TFDS prepared of a set."""

    splits: dict[str, Examples]  # "train", "test" and others
    class_names: tuple[str, ...]
    source: str  # for people


def default_folder() -> Path:
    """Return the folder that TFDS uses unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find_prepared(name: str, data_dir: str | os.PathLike) -> Path | None:
    """Return `data_dir`/`name`/<newest version> if TFDS prepared it there, else None."""
    files = Path(data_dir, name).glob("*/dataset_info.json")
    versions = [file.parent for file in files if _version(file.parent)]
    return max(versions, key=_version, default=None)


def find_or_download(name: str, cache_dir: str | os.PathLike | None) -> Path:
    """Return the folder of a prepared set: in the cache, where TFDS keeps its own, or downloaded.

    Args:
        name: a key of `_PROBES`.
        cache_dir: folder for downloaded data; None for TFDS's own.

    Raises:
        ConnectionError, ImportError, OSError: see `download`.
    """
    default = default_folder()
    cache = default if cache_dir is None else Path(cache_dir, "tfds")
    prepared = find_prepared(name, cache) or find_prepared(name, default)
    return prepared or download(name, cache)


def obtain(
    name: str, data_dir: str | os.PathLike | None, cache_dir: str | os.PathLike | None, files: str
) -> Prepared:
    """Return a set that TFDS prepared below `data_dir`, or, without one, elsewhere or by download.

    Args:
        name: a key of `_PROBES`.
        data_dir: folder that the user named, without the original files.
        cache_dir: folder for downloaded data.
        files: the original files, for the error.

    Raises:
        FileNotFoundError: if `data_dir` holds no prepared set.
        UnavailableError: if there is no `data_dir`, no prepared set and no network.
    """
    if data_dir is not None:
        folder = find_prepared(name, data_dir)
        if folder is None:
            raise FileNotFoundError(
                f"`data_dir` must hold {files}, or a TFDS folder {name}/<version>. "
                f"Received: data_dir={os.fspath(data_dir)!r}, which has neither."
            )
        return read_whole(folder, read_prepared)
    try:
        return read_cached(name, cache_dir, read_prepared)
    except (ConnectionError, ImportError) as error:
        raise UnavailableError(
            f"`{name}` must be available in one of two ways. Received: no `data_dir`, and TFDS "
            f"failed ({error}). Either (1) name a folder with {files} as `data_dir`, or (2) "
            "connect to the network so that TFDS can download the set."
        ) from error


def read_whole(folder: Path, read: Callable[[Path], T]) -> T:
    """Return what `read` makes of a prepared set.

    Raises:
        ValueError: if it is damaged or another set; names the folder.
    """
    try:
        return read(folder)
    except Exception as error:  # TensorFlow and TFDS raise many types for damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{folder} must be a whole set that TFDS prepared. Received: {reason} "
            "Delete the folder, or prepare the set again."
        ) from error


def read_cached(name: str, cache_dir: str | os.PathLike | None, read: Callable[[Path], T]) -> T:
    """Return what `read` makes of a set from where `find_or_download` finds it.

    A damaged copy is made again; it stays until the new one is there.

    Raises:
        ConnectionError, ImportError, OSError: see `download`.
        ValueError: a copy is damaged and cannot be made again.
    """
    folder = find_or_download(name, cache_dir)
    try:
        return read_whole(folder, read)
    except ValueError as error:
        print(f"{base_name(folder)} of {name} in the cache is damaged; made again", flush=True)
        aside = folder.with_name(f"damaged-{folder.name}")
        try:
            folder.rename(aside)
            # Above <name>/<version>, a name of several parts has as many folders.
            found = read_whole(download(name, folder.parents[len(Path(name).parts)]), read)
        except (OSError, ImportError, ValueError) as problem:
            if aside.exists():
                shutil.rmtree(folder, ignore_errors=True)
                aside.rename(folder)
            raise ValueError(f"{error} It could not be made again: {problem}") from error
        shutil.rmtree(aside, ignore_errors=True)
        return found


def read_prepared(folder: Path) -> Prepared:
    """Return the splits of a prepared set with features `image` and `label`.

    Where examples carry an `id` that ends in a number (CIFAR-10 and SVHN: train_00001) they are
    sorted by it, which is the order of the original files: TFDS shuffles what it stores.

    Args:
        folder: as `find_prepared` returns it. Nothing is downloaded.

    Raises:
        ValueError: if the set has other splits or features.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    splits, features = set(builder.info.splits), set(builder.info.features)
    if not ({"train", "test"} <= splits and {"image", "label"} <= features):
        raise ValueError(
            f"{folder} must hold splits `train` and `test` with features `image` and `label`. "
            f"Received: splits {sorted(splits)}, features {sorted(features)}."
        )
    names = tuple(builder.info.features["label"].names)
    found = {split: _read(builder, split) for split in sorted(splits)}
    return Prepared(found, names, f"TFDS folder, version {folder.name}")


def download(name: str, data_dir: str | os.PathLike) -> Path:
    """Let TFDS download and prepare a set; return the folder for `read_prepared`.

    Without a network TFDS takes minutes to fail, so one small file is asked for first. Nothing is
    downloaded where SSL_WEIGHTING_DOWNLOAD=0: `run_all.sh` sets it once the data is there, so that
    no later download changes the data between two runs.

    Args:
        name: a key of `_PROBES`.
        data_dir: where TFDS prepares sets.

    Raises:
        ConnectionError: if downloads are switched off, the set's host does not answer within 3 s,
            or the download fails.
        OSError: if `data_dir` cannot be written.
    """
    if os.environ.get("SSL_WEIGHTING_DOWNLOAD") == "0":
        raise ConnectionError("downloads are switched off by SSL_WEIGHTING_DOWNLOAD=0")
    if not is_reachable(_PROBES[name]):
        raise ConnectionError(f"its host does not answer within {_PROBE_SECONDS:g} s")
    import tensorflow_datasets as tfds

    try:
        tfds.builder(name, data_dir=data_dir).download_and_prepare()
    except (OSError, tfds.download.DownloadError) as error:
        if getattr(error, "errno", None) in _LOCAL:
            raise
        raise ConnectionError(f"its download failed: {error}") from error
    return find_prepared(name, data_dir)


def is_reachable(url: str, seconds: float = _PROBE_SECONDS) -> bool:
    """Return whether `url` answers a HEAD request (through proxies, if set) within `seconds`."""
    answers = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                answers.append(response.status)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the caller wants to know only whether it answers

    # A thread, because the lookup of the host's name ignores the timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)


def _read(builder, split: str) -> Examples:
    images, labels, places = [], [], []
    batches = builder.as_dataset(split=split, batch_size=_BATCH).as_numpy_iterator()
    known = builder.info.splits
    total = known[split].num_examples if split in known else 0
    for batch in counted(batches, total, f"reading the images of {split}", each=_BATCH):
        images.append(batch["image"])
        labels.append(batch["label"])
        places += [_NUMBER.search(name) for name in batch.get("id", ())]
    everything = Examples(np.concatenate(images), np.concatenate(labels).astype(np.int32))
    if not places or None in places:
        return everything
    return everything.take(np.argsort([int(found[0]) for found in places], kind="stable"))


def _version(folder: Path) -> tuple[int, ...] | None:
    parts = folder.name.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None
