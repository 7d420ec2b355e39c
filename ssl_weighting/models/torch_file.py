"""Read the tensors of a .pth file of PyTorch's first format without PyTorch, and run none of it.

Such a file is five pickles (a magic number, the version, sizes of the machine, the dictionary of
tensors, the keys of its storages) and then each storage: the number of its elements, int64, and
their bytes. A pickle is a program that may call any function. The dictionary's needs four names;
the others need none. Anything else is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _View(NamedTuple):
    """A tensor that waits for the bytes of its storage."""

    storage: tuple[str, str, int]  # type, key, number of elements
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        # Made anew for each file: nothing that a pickle does to them outlives it.
        if module == "torch" and name in _TYPES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._view
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(
            f"it refers to {module}.{name}, which no tensor needs; it was not run"
        )

    def persistent_load(self, pid):
        kind, storage_type, key, _, size, view = pid
        if kind != "storage" or storage_type not in _TYPES or view is not None:
            raise pickle.UnpicklingError(f"it refers to a storage of another kind, {pid!r:.80}")
        return storage_type, str(key), int(size)

    def _view(self, storage, offset, shape, strides, *rest):
        del rest  # whether it learns, and hooks
        return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _NoNames(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"it refers to {module}.{name} where only numbers may stand")


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return key -> array of a state dictionary: float32 and int64 tensors, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another format, damaged, or asks for anything but tensors.
    """
    content = Path(path).read_bytes()
    try:
        return _tensors(content)
    except Exception as error:  # a damaged pickle may raise any exception, as it is a program
        raise ValueError(
            f"{path} must hold tensors in PyTorch's first format. Received: "
            f"{type(error).__name__}: {error}. Get the file again, from its authors."
        ) from error


def _tensors(content):
    if content.startswith(b"PK"):
        raise ValueError("PyTorch's newer format, a zip archive")
    stream = io.BytesIO(content)
    magic, version, machine = (_NoNames(stream).load() for _ in range(3))
    if magic != _MAGIC or version != _VERSION or machine["little_endian"] is not True:
        raise ValueError("the head of another format")
    views = _Unpickler(stream).load()
    if not isinstance(views, dict) or not all(isinstance(v, _View) for v in views.values()):
        raise ValueError("no dictionary of tensors")
    types = {view.storage[1]: _TYPES[view.storage[0]] for view in views.values()}
    storages = {}
    for key in _NoNames(stream).load():
        (size,) = struct.unpack("<q", stream.read(8))
        dtype = types[key]
        if not 0 <= size * dtype.itemsize <= len(content) - stream.tell():
            raise ValueError(f"a storage that claims {size:,} elements, more than there are")
        storages[key] = np.frombuffer(content, dtype, size, stream.tell())
        stream.seek(size * dtype.itemsize, os.SEEK_CUR)
    return {str(key): _array(view, storages[view.storage[1]]) for key, view in views.items()}


def _array(view, storage):
    """Return a tensor as an array of its own, once its claims fit the storage."""
    numbers = (view.offset, *view.shape, *view.strides)
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    if (
        view.storage[2] != len(storage)
        or storage.dtype != _TYPES[view.storage[0]]
        or min(numbers) < 0
        or math.prod(view.shape) > len(storage)
        or (math.prod(view.shape) and last >= len(storage))
    ):
        raise ValueError(f"a tensor {list(view.shape)} that does not fit its {len(storage)} values")
    strides = [step * storage.itemsize for step in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides).copy()
