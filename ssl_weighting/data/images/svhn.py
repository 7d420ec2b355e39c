"""SVHN's cropped digits from a folder with the original .mat files, or from TensorFlow Datasets."""

from __future__ import annotations

import io
import os

import numpy as np

from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.images import archives, tfds_source
from ssl_weighting.data.images.archives import Layout

# The FixMatch release's coding: the file's 1..10 less one, so that the digit 0 comes last. The
# order of classes decides which examples a seed labels.
CLASS_NAMES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "0")
_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
_SIZES = {"train_32x32.mat": 73_257, "extra_32x32.mat": 531_131, "test_32x32.mat": 26_032}


def load_svhn(
    data_dir: str | os.PathLike | None, cache_dir: str | os.PathLike | None, extra: bool
) -> RawDataset:
    """Return SVHN, 73,257 images [32, 32, 3] (with `extra` 604,388) and 26,032 for testing.

    Sources: `data_dir` alone if given (train_32x32.mat, test_32x32.mat, extra_32x32.mat, or a TFDS
    folder); else TFDS. The extra set, where asked for, follows the training set.

    Raises:
        FileNotFoundError: if no source has the set; says what was looked for.
        ValueError: if a file is damaged.
    """
    names = ("train_32x32.mat", *(["extra_32x32.mat"] if extra else []), "test_32x32.mat")
    layout = Layout("svhn", "", "", {name: _MD5[name] for name in names})
    if data_dir is not None and (found := archives.find(data_dir, layout)):
        parts = [read_mat(content, name) for name, content in found.contents.items()]
        sizes = {name: _SIZES[name] for name in names}
        return _dataset(parts[:-1], parts[-1], archives.counted(found.source, sizes, *parts))
    prepared = tfds_source.obtain("svhn_cropped", data_dir, cache_dir, ", ".join(names))
    parts = [prepared.splits[k] for k in ("train", *(["extra"] if extra else []), "test")]
    parts = [Examples(e.inputs, (e.labels - 1) % 10) for e in parts]  # TFDS has the digits
    return _dataset(parts[:-1], parts[-1], prepared.source)


def read_mat(content: bytes, name: str) -> Examples:
    """Return the images of one .mat file: X [32, 32, 3, n] uint8, y [n, 1] in 1..10 (10 is 0).

    Raises:
        ValueError: if it is damaged or of another structure.
    """
    from scipy import io as scipy_io

    try:
        found = scipy_io.loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except Exception as error:  # scipy raises whatever the damage leads it to
        raise ValueError(
            f"{name} must be a MATLAB 5 file. Received: {type(error).__name__}: {error}. "
            "Get it again."
        ) from error
    x, y = found.get("X"), found.get("y")
    fits = x is not None and y is not None and x.dtype == np.uint8 and x.ndim == 4
    if not (fits and x.shape[:3] == (32, 32, 3) and y.size == x.shape[3]):
        shapes = {k: v.shape for k, v in found.items() if isinstance(v, np.ndarray)}
        raise ValueError(
            f"{name} must hold X, uint8 [32, 32, 3, n], and y [n, 1]. Received: {shapes}. "
            "Get it again."
        )
    if not np.isin(y, np.arange(1, 11)).all():
        raise ValueError(
            f"{name} must hold labels from 1 to 10. Received: from {y.min()} to {y.max()}. "
            "Get it again."
        )
    labels = y.reshape(-1).astype(np.int32) - 1
    return Examples(np.ascontiguousarray(x.transpose(3, 0, 1, 2)), labels)


def _dataset(train: list[Examples], test: Examples, source: str) -> RawDataset:
    name = "svhn_cropped" if len(train) == 1 else "svhn_cropped_extra"
    return RawDataset(name, train[0].joined(*train[1:]), test, CLASS_NAMES, f"{name}: {source}")
