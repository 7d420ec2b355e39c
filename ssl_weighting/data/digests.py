"""The digest of the sets that a run is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, loaded, table_of

_ROWS = 2**20  # digests of rows that are read at a time


def digest_of(name: str, class_names: tuple[str, ...], parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of names, shapes, dtypes, contents, labels and texts, in hexadecimal.

    The source is left out on purpose: the same bytes from elsewhere are the same split. So is the
    padding that all texts of a part have: how much there is depends on the algorithm. A table that
    knows the digests of its rows counts by these: its bytes may be anywhere.

    Args:
        name, class_names: of the data set.
        parts: name of a part -> its `Examples`.
    """
    digest = hashlib.sha256()
    inputs = {p: _unpadded(e.inputs) for p, e in parts.items()}
    shapes = [(p, x.dtype.name, x.shape) for p, x in inputs.items()]
    digest.update(json.dumps([name, list(class_names), shapes]).encode())
    for part, examples in parts.items():
        for block in contents(inputs[part]):
            digest.update(block)
        digest.update(np.ascontiguousarray(examples.labels))
        if examples.texts is not None:  # two texts may share their tokens
            digest.update(json.dumps(examples.texts.tolist()).encode())
        if examples.views is not None:
            digest.update(repr(examples.views.shape).encode())
            digest.update(np.ascontiguousarray(examples.views))
    return digest.hexdigest()


def contents(inputs: np.ndarray | ExampleTable) -> Iterator[np.ndarray]:
    """Yield what a digest of inputs is made of, block by block, contiguous.

    These are the rows, or their digests where a table knows them.
    """
    table = table_of(inputs)
    if not table.stores_digests:
        yield from map(np.ascontiguousarray, table.blocks())
        return
    for start in range(0, len(table), _ROWS):
        yield table.row_digests(np.arange(start, min(start + _ROWS, len(table))))


def _unpadded(inputs: np.ndarray | ExampleTable) -> np.ndarray | ExampleTable:
    if inputs.dtype != np.int32:
        return inputs
    tokens = loaded(inputs)
    used = np.flatnonzero(tokens.any(axis=0))
    return tokens[:, : used.max(initial=-1) + 1]
