"""The digest of the sets that a run is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest_of(name: str, class_names: tuple[str, ...], parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of names, shapes, dtypes, contents, labels and texts, in hexadecimal.

    The source is left out on purpose: the same bytes from elsewhere are the same split. So is the
    padding that all texts of a part have: how much there is depends on the algorithm.

    Args:
        name, class_names: of the data set.
        parts: name of a part -> its `Examples`.
    """
    digest = hashlib.sha256()
    inputs = {p: _unpadded(e.inputs) for p, e in parts.items()}
    shapes = [(p, x.dtype.name, x.shape) for p, x in inputs.items()]
    digest.update(json.dumps([name, list(class_names), shapes]).encode())
    for part, examples in parts.items():
        digest.update(np.ascontiguousarray(inputs[part]).tobytes())
        digest.update(np.ascontiguousarray(examples.labels).tobytes())
        if examples.texts is not None:  # two texts may share their tokens
            digest.update(json.dumps(examples.texts.tolist()).encode())
        if examples.views is not None:
            digest.update(repr(examples.views.shape).encode())
            digest.update(np.ascontiguousarray(examples.views).tobytes())
    return digest.hexdigest()


def _unpadded(inputs: np.ndarray) -> np.ndarray:
    if inputs.dtype != np.int32:
        return inputs
    used = np.flatnonzero(inputs.any(axis=0))
    return inputs[:, : used.max(initial=-1) + 1]
