"""The sets D, U and V of Eq. 2 and the test set, checked where they enter the program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from ssl_weighting.data.digests import digest_of
from ssl_weighting.data.example_checks import check_inputs, check_texts, check_views, described
from ssl_weighting.data.example_table import ExampleTable, joined, loaded, taken
from ssl_weighting.data.names import printable

UNKNOWN = -1  # the label of an example of unknown class
PARTS = ("train", "unlabeled", "validation", "test")  # of `RawDataset`
SPLITS = ("labeled", "unlabeled", "validation", "test")  # the parts of `DataSplits`


class UnavailableError(FileNotFoundError):
    """No source has the data set; anything else that goes wrong is another error."""


def base_name(path: str | os.PathLike) -> str:
    """Return the last part of `path`: reports should not name a machine's folders."""
    return printable(Path(os.path.abspath(path)).name)


def row_names(part: str, count: int) -> np.ndarray:
    """Return [count] str objects part[0], part[1], ..."""
    return np.array([f"{part}[{row}]" for row in range(count)], object)


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs with their classes, one example a row.

    Args:
        inputs: [n, H, W, C] uint8 images, [n, d] float32 points (any rank from 2), finite, or
            [n, L] int32 tokens from 0, 0 = padding; an array, or a table whose word is taken for
            its values.
        labels: [n] int32, classes 0.. or -1 where unknown.
        texts: [n] str objects that the tokens are of, for reports; None for other inputs.
        names: [n] str objects, what people know the examples by, an array or a table; None: a set
            names them by part and row, such as train[17].
        views: [n, K, d] float32, K strong views of each example beside its inputs, which are the
            weak one and an array; None: none are given.

    Raises:
        ValueError: if a dtype, a shape or a value does not fit.
    """

    inputs: np.ndarray | ExampleTable  # [n, H, W, C] uint8, [n, ...] float32 or [n, L] int32
    labels: np.ndarray  # [n] int32, -1 = unknown
    texts: np.ndarray | None = None  # [n] str objects
    names: np.ndarray | ExampleTable | None = None  # [n] str objects
    views: np.ndarray | None = None  # [n, K, ...] float32, of inputs [n, ...]

    def __post_init__(self):
        check_inputs(self.inputs)
        _check_labels(self.labels, len(self.inputs))
        check_texts(self.texts, self.inputs)
        if self.names is not None and self.names.shape != (len(self.inputs),):
            raise ValueError(
                f"`names` must be an array of str objects [{len(self.inputs)}], one for each "
                f"input. Received: names={described(self.names)}."
            )
        check_views(self.views, self.inputs)

    def __len__(self) -> int:
        return len(self.labels)

    def named(self, part: str) -> Examples:
        """Return the examples with names; those without are called part[0], part[1], ..."""
        if self.names is not None:
            return self
        return replace(self, names=row_names(part, len(self)))

    def take(self, rows: np.ndarray) -> Examples:
        """Return the examples at `rows` [k] int64, or where a mask [n] bool is set.

        They are copies, but for tables and images of `example_table.LARGE` bytes, which stay where
        they are.
        """

        def of(name):
            found = getattr(self, name)
            return None if found is None else taken(found, rows)

        return Examples(**{each.name: of(each.name) for each in fields(Examples)})

    def loaded(self) -> Examples:
        """Return the examples with inputs and names in memory."""
        if not any(isinstance(x, ExampleTable) for x in (self.inputs, self.names)):
            return self
        names = None if self.names is None else loaded(self.names)
        return replace(self, inputs=loaded(self.inputs), names=names)

    def joined(self, *others: Examples) -> Examples:
        """Return these examples followed by `others`, which must have the same shape and dtype.

        They have views where all parts have.
        """
        parts = (self, *others)
        _check_agreement({str(k): part for k, part in enumerate(parts)})

        def all_of(name):
            found = [getattr(part, name) for part in parts]
            return None if any(x is None for x in found) else joined(found)

        return Examples(**{each.name: all_of(each.name) for each in fields(Examples)})


@dataclass(frozen=True, eq=False)
class RawDataset:
    """A data set as its source delivers it, before it is cut into D, U and V.

    Args:
        name: the data set's name.
        train: labeled training examples; every class must be among them.
        test: labeled test examples.
        class_names: C names.
        source: where the data came from, for people.
        unlabeled: further examples without labels, if the source has any.
        validation: the source's own validation set, if it has one.
        notes: what a reader of results must know of the data, one sentence each.
        skipped: (name, reason) of each file that could not be read and was left out.
        copies_are_one: exact copies count as one example, as in people's own data.

    Raises:
        ValueError: if the parts do not fit together.
    """

    name: str
    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    source: str
    unlabeled: Examples | None = None
    validation: Examples | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    copies_are_one: bool = False

    def __post_init__(self):
        object.__setattr__(self, "name", printable(self.name))
        _name_all(self, PARTS)
        _check_agreement(self.parts)
        _check_class_names(self.class_names)
        for part, examples in self.parts.items():
            if part != "unlabeled":
                _check_known(part, examples, len(self.class_names))
        missing = set(range(len(self.class_names))) - set(np.unique(self.train.labels).tolist())
        if missing:
            raise ValueError(
                "`train` must have examples of every class. Received: none of "
                f"{[self.class_names[c] for c in sorted(missing)]}. Add some or drop the class."
            )

    @property
    def parts(self) -> dict[str, Examples]:
        """Name -> examples of the parts that there are."""
        return {part: one for part in PARTS if (one := getattr(self, part)) is not None}


@dataclass(frozen=True, eq=False)
class DataSplits:
    """D (labeled), U (unlabeled), V (validation) of Eq. 2, and the test set.

    The id of an unlabeled example is its row in `unlabeled`, 0..|U|-1. Its labels there are for
    reports only: they are the truth where it is known and no part of training may read them.

    Args:
        name: the data set's name.
        labeled, unlabeled, validation, test: the sets; V may be empty.
        class_names: C names.
        source: where the data came from, for people.
        groups: what is known of each unlabeled example, for reports ("foreign"); None: nothing.
        notes, skipped: as in `RawDataset`.

    Raises:
        ValueError: if the parts do not fit together.
    """

    name: str
    labeled: Examples
    unlabeled: Examples
    validation: Examples
    test: Examples
    class_names: tuple[str, ...]
    source: str
    groups: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    split_hash: str = field(init=False)  # follows from the rest, also after dataclasses.replace

    def __post_init__(self):
        _name_all(self, SPLITS)
        parts = {p: getattr(self, p) for p in SPLITS}
        _check_agreement(parts)
        _check_class_names(self.class_names)
        for part in ("labeled", "test", "validation"):
            if part != "validation" or len(self.validation):
                _check_known(part, parts[part], self.num_classes)
        if not len(self.unlabeled):
            raise ValueError("`unlabeled` must have at least one example. Received: 0 examples.")
        if self.groups is not None and len(self.groups) != len(self.unlabeled):
            raise ValueError(
                f"`groups` must have one entry for each of the {len(self.unlabeled)} unlabeled "
                f"examples. Received: {len(self.groups)}."
            )
        object.__setattr__(self, "split_hash", digest_of(self.name, self.class_names, parts))

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def hash_without_u(self) -> str:
        """What runs that differ in U alone share: the digest of D, V and the test set."""
        parts = {p: getattr(self, p) for p in SPLITS if p != "unlabeled"}
        return digest_of(self.name, self.class_names, parts)


def _name_all(dataset: RawDataset | DataSplits, parts: Iterable[str]) -> None:
    """Give the examples of each part names where they have none."""
    for part in parts:
        if (examples := getattr(dataset, part)) is not None:
            object.__setattr__(dataset, part, examples.named(part))


def _check_labels(labels: np.ndarray, num_inputs: int) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int32 or labels.ndim != 1:
        raise ValueError(
            "`labels` must be an int32 array [n]. "
            f"Received: labels={described(labels)}. Convert with `astype(np.int32)`."
        )
    if len(labels) != num_inputs:
        raise ValueError(
            "`labels` must have one entry for each input. Received: "
            f"{len(labels)} labels for {num_inputs} inputs. Check that both come from one file."
        )
    if len(labels) and labels.min() < UNKNOWN:
        raise ValueError(
            "`labels` must be classes from 0, or -1 where unknown. "
            f"Received: a label {labels.min()}. Renumber the classes 0, 1, ..."
        )


def _check_agreement(parts: Mapping[str, Examples]) -> None:
    kinds = {part: (e.inputs.dtype.name, e.inputs.shape[1:]) for part, e in parts.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "All parts must have inputs of one shape and dtype. Received: "
            + ", ".join(f"{part}={dtype}{list(shape)}" for part, (dtype, shape) in kinds.items())
            + ". Resize or convert them (`image_size` does it for images)."
        )
    for beside in ("texts", "names"):
        without = [part for part, e in parts.items() if getattr(e, beside) is None]
        if 0 < len(without) < len(parts):
            raise ValueError(
                f"All parts must have `{beside}`, or none. Received: none in {without}."
            )


def _check_class_names(class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2 or len(set(class_names)) != len(class_names):
        raise ValueError(
            "`class_names` must be at least two different names. "
            f"Received: class_names={class_names}. One class leaves nothing to learn."
        )
    for name in class_names:
        if name.encode("utf-8", "replace").decode() != name:  # a lone half of a surrogate pair
            raise ValueError(
                f"`class_names` must be names that UTF-8 can write. Received: {name!r}. Rename it."
            )


def _check_known(part: str, examples: Examples, num_classes: int) -> None:
    if not len(examples):
        raise ValueError(f"`{part}` must have at least one example. Received: 0 examples.")
    low, high = int(examples.labels.min()), int(examples.labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"`{part}` must have labels from 0 to {num_classes - 1}. Received: labels from {low} "
            f"to {high}. Renumber them, or put examples of unknown class into `unlabeled`."
        )
