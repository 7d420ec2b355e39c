"""Files of tensors in PyTorch's first format, written without PyTorch."""

import io
import pickle
import struct
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"int": 4}}


class View:
    """A tensor: a storage (its key), an offset, a shape and strides, both in elements."""

    def __init__(self, key, shape, strides=None, offset=0):
        rest = np.cumprod([1, *shape[:0:-1]])[::-1] if shape else []
        self.key, self.shape, self.offset = key, tuple(shape), offset
        self.strides = tuple(int(s) for s in rest) if strides is None else strides


def _rebuild_tensor_v2(*parts):
    """What pickles of tensors name; nothing here calls it."""


_rebuild_tensor_v2.__module__ = "torch._utils"


def torch_file(storages, tensors, magic=MAGIC, machine=MACHINE, claims=None):
    """Return the bytes of a file.

    Args:
        storages: key -> array [n] float32 or int64.
        tensors: name -> `View`, or anything that pickles.
        magic, machine: of the head.
        claims: key -> elements that the dictionary claims for a storage.
    """
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    counts = {key: len(array) for key, array in storages.items()} | (claims or {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if not (isinstance(thing, tuple) and thing[:1] == ("a storage",)):
                return None
            kind = "FloatStorage" if storages[thing[1]].dtype == np.float32 else "LongStorage"
            return "storage", getattr(torch, kind), thing[1], "cpu", counts[thing[1]], None

        def reducer_override(self, thing):
            if not isinstance(thing, View):
                return NotImplemented
            place = (("a storage", thing.key), thing.offset, thing.shape, thing.strides)
            return utils._rebuild_tensor_v2, (*place, False, OrderedDict())

    stream = io.BytesIO()
    for head in (magic, VERSION, machine):
        pickle.dump(head, stream, protocol=2)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "torch", torch)
        patched.setitem(sys.modules, "torch._utils", utils)
        Pickler(stream, protocol=2).dump(tensors)
    pickle.dump(list(storages), stream, protocol=2)
    for array in storages.values():
        stream.write(struct.pack("<q", len(array)) + array.tobytes())
    return stream.getvalue()
