"""Reads MNIST-like sets that TensorFlow Datasets prepared, and has it prepare them if it can."""

from __future__ import annotations

import errno
import http.client
import os
import threading
import urllib.request
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import Examples

_PROBE_SECONDS = 3.0
# What no other source would mend: a full or protected disk.
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
# One small file each of what TFDS downloads.
_PROBES = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"
    ),
}


def default_folder() -> Path:
    """Returns the folder that TFDS uses unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find_prepared(name: str, data_dir: str | os.PathLike) -> Path | None:
    """Returns `data_dir`/`name`/<newest version> if TFDS prepared it there, else None."""
    files = Path(data_dir, name).glob("*/dataset_info.json")
    versions = [file.parent for file in files if _version(file.parent)]
    return max(versions, key=_version, default=None)


def read_prepared(folder: Path) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Returns (train, test, class names) of a prepared set with features `image` and `label`.

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
    return _read(builder, "train"), _read(builder, "test"), names


def download(name: str, data_dir: str | os.PathLike) -> Path:
    """Has TFDS download and prepare a set; returns the folder for `read_prepared`.

    Without a network TFDS takes minutes to fail, so one small file is asked for first. Where the
    environment says SSL_WEIGHTING_DOWNLOAD=0 nothing is asked for: `run_all.sh` says so once the
    data is there, lest a download start, and the data change, between two runs.

    Args:
      name: "mnist" or "fashion_mnist".
      data_dir: where TFDS prepares sets.

    Raises:
      ConnectionError: if downloads are switched off, the set's host does not answer within 3 s, or
        the download fails.
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
    """Returns whether `url` answers a HEAD request (through proxies, if set) within `seconds`."""
    answers = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                answers.append(response.status)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # no answer is the answer

    # A thread, because looking up the host's name heeds no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)


def _read(builder, split: str) -> Examples:
    images, labels = [], []
    for batch in builder.as_dataset(split=split, batch_size=1000).as_numpy_iterator():
        images.append(batch["image"])
        labels.append(batch["label"])
    return Examples(np.concatenate(images), np.concatenate(labels).astype(np.int32))


def _version(folder: Path) -> tuple[int, ...] | None:
    parts = folder.name.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None
