"""Reads the pickles in which CIFAR-10 is distributed without running what a pickle could run.

A pickle is a program: it may name any function and call it. These files need five names only, all
of which make arrays; anything else is refused before it is looked up.
"""

from __future__ import annotations

import codecs
import io
import pickle

import numpy as np

# Python 2 and numpy 1 wrote other module names than Python 3 and numpy 2 do.
_ALLOWED = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0]
        for core in ("core", "_core")
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # how protocol 2 spells bytes
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no array needs and which is not run"
            )
        return _ALLOWED[module, name]


def load_arrays(content: bytes, name: str) -> dict[str, object]:
    """Return the dictionary in a pickle; its keys are made str.

    Args:
        content: the pickle: dicts, lists, bytes, str, int, numpy arrays and nothing else.
        name: of the file, for errors.

    Raises:
        ValueError: if it is damaged, asks for anything but arrays, or holds no dictionary.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises anything: it is a program
        raise ValueError(
            f"{name} must be a pickle of arrays. Received: {type(error).__name__}: {error}. "
            "Get the file again, from its authors."
        ) from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{name} must hold a dictionary. Received: {type(found).__name__}. Get the file again."
        )
    return {
        k.decode("ascii", "replace") if isinstance(k, bytes) else str(k): v
        for k, v in found.items()
    }
