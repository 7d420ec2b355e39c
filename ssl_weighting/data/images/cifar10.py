"""CIFAR-10 from a folder with the original files, or from TensorFlow Datasets."""

from __future__ import annotations

import os

import numpy as np

from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.images import archives, safe_pickle, tfds_source
from ssl_weighting.data.images.archives import Layout

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
PYTHON = Layout(
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)
BINARY = Layout(
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    dict.fromkeys((*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"), ""),
)
_SIZES = {"train": 50_000, "test": 10_000}
_PIXELS = 3 * 32 * 32
_FILES = ", ".join(f"{x.directory}/ or {x.archive}" for x in (PYTHON, BINARY))


def load_cifar10(
    data_dir: str | os.PathLike | None, cache_dir: str | os.PathLike | None
) -> RawDataset:
    """Return CIFAR-10, 50,000 + 10,000 images [32, 32, 3] in the order of the original files.

    Sources: `data_dir` alone if given (python or binary batches, unpacked or as the archive, or a
    TFDS folder); else TFDS, from a prepared folder or by download.

    Raises:
        FileNotFoundError: if no source has the set; says what was looked for.
        ValueError: if a file is damaged.
    """
    if data_dir is not None:
        for layout, read in ((PYTHON, read_python), (BINARY, read_binary)):
            if found := archives.find(data_dir, layout):
                parts = [read(content, name) for name, content in found.contents.items()]
                train, test = parts[0].joined(*parts[1:-1]), parts[-1]
                return _dataset(train, test, archives.counted(found.source, _SIZES, train, test))
    prepared = tfds_source.obtain("cifar10", data_dir, cache_dir, _FILES)
    return _dataset(prepared.splits["train"], prepared.splits["test"], prepared.source)


def read_python(content: bytes, name: str) -> Examples:
    """Return the images of one python batch: data [n, 3072] uint8 by colour planes, labels.

    Raises:
        ValueError: if it is damaged or of another structure.
    """
    batch = safe_pickle.load_arrays(content, name)
    data, labels = batch.get("data"), batch.get("labels")
    fits = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2
    if not (fits and data.shape[1] == _PIXELS and isinstance(labels, list)):
        raise ValueError(
            f"{name} must hold `data`, uint8 [n, {_PIXELS}], and a list `labels`. Received: "
            f"{ {k: getattr(v, 'shape', type(v).__name__) for k, v in batch.items()} }. "
            "Get the file again."
        )
    return _examples(data, labels, name)


def read_binary(content: bytes, name: str) -> Examples:
    """Return the images of one binary batch: records of a label and 3,072 colour planes.

    Raises:
        ValueError: if it is no whole number of records or a label is out of range.
    """
    if not content or len(content) % (1 + _PIXELS):
        raise ValueError(
            f"{name} must hold records of {1 + _PIXELS} bytes. Received: {len(content)} bytes. "
            "Get the file again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return _examples(records[:, 1:], records[:, 0], name)


def _examples(planes, labels, name) -> Examples:
    try:
        labels = np.asarray(labels).astype(np.int32, casting="same_kind")
    except (TypeError, ValueError):
        labels = np.array([-1])
    if labels.shape != planes.shape[:1] or not ((labels >= 0) & (labels < 10)).all():
        raise ValueError(
            f"{name} must hold one label from 0 to 9 for each of its {len(planes)} images. "
            f"Received: {len(labels)} labels, from {labels.min()} to {labels.max()}. "
            "Get the file again."
        )
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Examples(np.ascontiguousarray(images), labels)


def _dataset(train: Examples, test: Examples, source: str) -> RawDataset:
    return RawDataset("cifar10", train, test, CLASS_NAMES, f"cifar10: {source}")
