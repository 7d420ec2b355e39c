"""The sets of which features are made: their examples by row, and features put into their place.

Both kinds have `title`, `texts`, `sizes`, `digest()`, `inputs(part, rows)` and `finished(records)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.digests import contents
from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import RawDataset
from ssl_weighting.data.images.picture_folder import PictureFolder


class FeatureSet(NamedTuple):
    """A set of features.

    Attributes:
        arrays: x_train [n, d] float32 or [n, 1 + K, d] with views, y_train [n] int32, ... by part,
            names_train [n] str, ..., and class_names [C] str.
        source: where the inputs came from, for people.
        notes: what a reader must know of them, one sentence each.
        skipped: (name, reason) of what could not be read.
        name: of the set.
        copies_are_one: as in `RawDataset`.
    """

    arrays: dict[str, np.ndarray]
    source: str
    notes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    name: str
    copies_are_one: bool


class StoredSet:
    """A set in memory.

    Args:
        raw: the set, images or tokens.
        inputs: part -> [n, ...], in the place of a part's own.
    """

    def __init__(self, raw: RawDataset, inputs: Mapping[str, np.ndarray] | None = None):
        self._raw = raw
        self._parts = raw.parts
        self._inputs = {part: one.inputs for part, one in self._parts.items()} | (inputs or {})
        self.title = f"{raw.name}, {raw.source}"

    @property
    def texts(self) -> dict[str, str]:
        """Name of an example -> its text; {} where they are none."""
        known = [one for one in self._parts.values() if one.texts is not None]
        return {
            name: text for one in known for name, text in zip(one.names, one.texts, strict=True)
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each part."""
        return {part: len(one) for part, one in self._parts.items()}

    def digest(self) -> str:
        """Return the SHA-256 of inputs, labels and names, in hexadecimal."""
        digest = hashlib.sha256(json.dumps(self._raw.class_names).encode())
        for part, one in self._parts.items():
            arrays = (self._inputs[part], one.labels)
            head = [part, one.names.tolist(), *((x.dtype.str, x.shape) for x in arrays)]
            digest.update(json.dumps(head).encode())
            for array in arrays:
                for block in contents(array):
                    digest.update(block)
        return digest.hexdigest()

    def inputs(self, part: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs of `rows` [m], and [m] str of "": all can be read."""
        return self._inputs[part][rows], np.zeros(len(rows), "<U160")

    def finished(self, records: Mapping[str, np.ndarray]) -> FeatureSet:
        """Return the set of features.

        Args:
            records: part -> [n] of `extraction.record`, in the order of its rows.
        """
        arrays = {}
        for part, one in self._parts.items():
            arrays |= _arrays(part, records[part]["x"], one.labels, one.names)
        return _feature_set(arrays, self._raw)


class Pile:
    """Unlabeled examples in memory, beside a set.

    Args:
        title: of the pile, with all that its inputs do not tell of what made them.
        inputs: [n, ...] images, or tokens [n, 1 + K, L] or [n, L].
        names: [n] str objects.
    """

    def __init__(self, title: str, inputs: np.ndarray, names: np.ndarray):
        self.title, self._inputs, self._names = title, inputs, names
        self.sizes = {"unlabeled": len(inputs)}

    def digest(self) -> str:
        """Return the SHA-256 of inputs and names, in hexadecimal."""
        head = [self._names.tolist(), self._inputs.dtype.str, self._inputs.shape]
        digest = hashlib.sha256(json.dumps(head).encode())
        digest.update(np.ascontiguousarray(self._inputs))
        return digest.hexdigest()

    def inputs(self, part: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs of `rows` [m], and [m] str of "": all can be read."""
        return self._inputs[rows], np.zeros(len(rows), "<U160")

    def finished(self, records: Mapping[str, np.ndarray]) -> FeatureSet:
        """Return the features; `records` as in `StoredSet`."""
        arrays = _arrays("unlabeled", records["unlabeled"]["x"], None, self._names)
        return FeatureSet(arrays, self.title, (), (), self.title, False)


class FolderSet:
    """A set of image files, of which only those of a chunk are ever in memory.

    Args:
        pictures: the files.
    """

    def __init__(self, pictures: PictureFolder):
        self._pictures, self.texts = pictures, {}
        self.title = pictures.root.resolve().name
        self.sizes, self.digest, self.inputs = pictures.sizes, pictures.digest, pictures.read

    def finished(self, records: Mapping[str, np.ndarray]) -> FeatureSet:
        """Return the set of features, with the test set held out where there is none.

        Args:
            records: part -> [n] of `extraction.record`, in the order of its files.

        Raises:
            ValueError: an image has two labels, or no file of a part can be read.
        """
        contents = {part: one["content"] for part, one in records.items()}
        problems = {part: one["problem"] for part, one in records.items()}
        raw, places = self._pictures.dataset(contents, problems)
        arrays = {}
        for part, one in raw.parts.items():
            (home,) = {name for name, _ in places[part]}
            rows = [row for _, row in places[part]]
            arrays |= _arrays(part, records[home]["x"][rows], one.labels, one.names)
        return _feature_set(arrays, raw)


def _feature_set(arrays, raw):
    arrays = arrays | {"class_names": np.array(raw.class_names)}
    return FeatureSet(arrays, raw.source, raw.notes, raw.skipped, raw.name, raw.copies_are_one)


def _arrays(part, x, labels, names):
    names = loaded(names).astype(str)
    found = {f"x_{part}": np.ascontiguousarray(x), f"names_{part}": names}
    return found if part == "unlabeled" else found | {f"y_{part}": labels}
