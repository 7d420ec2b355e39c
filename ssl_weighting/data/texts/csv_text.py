"""Read a user's own texts from one .csv file."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.examples import Examples, base_name
from ssl_weighting.data.held_out import hold_out_test
from ssl_weighting.data.names import first_repeated, is_missing, look_alikes
from ssl_weighting.data.texts import csv_rows
from ssl_weighting.data.texts.csv_rows import AUTO, STOP, USUAL, Layout, Row
from ssl_weighting.data.texts.raw import RawTexts, Texts

PARTS = ("train", "validation", "test", "unlabeled")


class TextBlock(NamedTuple):
    """Texts to label, a few in memory."""

    names: list[str]  # their ids, or the numbers of their rows from 0
    texts: list[str]
    skipped: list[tuple[str, str]]  # (name, what is wrong with it)
    read: list[bool]  # of the rows in their order: whether it is among `texts`


class NewTexts(NamedTuple):
    """A file of texts to label."""

    count: int  # rows, those that are skipped too
    blocks: Callable[[int], Iterator[TextBlock]]  # rows of a block -> the blocks, in order


class _Labeled(NamedTuple):
    line: int  # of the file, where the row ends
    text: str
    label: str  # "" = unlabeled
    part: str
    name: str


def load_csv(path: str | os.PathLike, layout: Layout = USUAL, on_error: str = AUTO) -> RawTexts:
    """Return the texts of a UTF-8 file with columns of texts, of labels and maybe `split`.

    An empty label, or a word that programs write for a missing value, marks an unlabeled text.
    `split` is train, validation, test or unlabeled; without it, or without a test part, a fifth of
    the labeled texts is held out for testing, always the same ones. Classes are the sorted labels
    of the training part. Without a column of ids texts are called "row 0", "row 1", ...

    Args:
        path: of the file.
        layout: names of its columns, and the delimiter.
        on_error: what becomes of rows without a text or with another number of fields: "stop"
            refuses the file, "skip" leaves them out; "auto" stops for labeled rows alone.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoding, a column, a text, a label or a part does not fit; says where.
    """
    needed = ("text", "label", "id") if layout.id else ("text", "label")
    found = csv_rows.read_rows(path, layout, needed)
    # A row that does not fit its columns may be a labeled one.
    sound, skipped = csv_rows.kept(
        path, found.rows, on_error, lambda row: not row.fields or bool(_label(row))
    )
    rows = [_labeled(path, row, layout) for row in sound]
    _check_different(path, rows, layout)
    names = _class_names(path, rows, layout)
    parts = {part: _part(rows, part, names, layout) for part in PARTS}
    source = f"file {base_name(path)}"
    if parts["test"] is None:
        parts["train"], parts["test"] = _held_out(path, parts["train"], names)
        source += f", {len(parts['test'])} texts of it held out for testing"
    notes = csv_rows.said_of_skipped(path, skipped)
    notes += _said_of_missing(row.fields["label"] for row in sound)
    if found.others:
        notes += (f"columns of {base_name(path)} that are not read: {', '.join(found.others)}",)
    return RawTexts(
        Path(path).stem,
        class_names=names,
        source=source,
        notes=notes,
        skipped=_reasons(skipped),
        **parts,
    )


def new_texts(path: str | os.PathLike, layout: Layout = USUAL, on_error: str = STOP) -> NewTexts:
    """Return the texts of a UTF-8 file, in its order; only columns of texts and ids are looked at.

    All rows are checked here, and read again where they are asked for.

    Args:
        path, layout, on_error: as of `load_csv`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoding, the header, a row or a text does not fit, or there is no row.
    """

    def rows() -> Iterator[Row]:
        found = csv_rows.read_rows(path, layout, ("text", "id") if layout.id else ("text",))
        return csv_rows.unless_stopped(found.rows, on_error)

    def blocks(size):
        left = rows()
        while some := list(itertools.islice(left, size)):
            sound, skipped = [r for r in some if not r.fault], [r for r in some if r.fault]
            texts = [row.fields["text"] for row in sound]
            read = [not row.fault for row in some]
            yield TextBlock([_name(row) for row in sound], texts, list(_reasons(skipped)), read)

    count, faults, fault = 0, 0, ""
    for row in rows():
        count += 1
        faults, fault = faults + bool(row.fault), fault or row.fault
    if count == faults:
        raise ValueError(
            f"{path} must have a row below its column names. Received: none"
            + (f" without a fault, {faults} with one. {fault}" if faults else ".")
        )
    if layout.id:
        _check_ids(
            path,
            lambda: ((row.line, row.fields["id"]) for row in rows() if not row.fault),
            layout,
        )
    return NewTexts(count, blocks)


def _check_ids(path, rows: Callable[[], Iterable[tuple[int, str]]], layout) -> None:
    """Refuse a file whose rows, (line, id), are not named by their ids; passes over them twice."""

    def names():
        for line, name in rows():
            if not name:
                raise _unnamed(path, layout, name, line)
            yield name

    if again := first_repeated(names):
        one, two = (next(itertools.islice(rows(), place, None)) for place in again)
        raise _unnamed(path, layout, one[1], f"{one[0]} and {two[0]}")


def _unnamed(path, layout, name, where) -> ValueError:
    return ValueError(
        f"`{layout.id}` in {path} must name every row, each by another name. "
        f"Received: {name!r} in line {where}. Name the rows, or leave out --id_column."
    )


def _reasons(skipped):
    return tuple((_name(row), row.fault) for row in skipped)


def _name(row: Row) -> str:
    return row.fields.get("id", str(row.number))


def _label(row: Row) -> str:
    """Return the label of a row, "" for what programs write where a value is missing."""
    label = row.fields["label"]
    return "" if is_missing(label) else label


def _labeled(path, row: Row, layout) -> _Labeled:
    label = _label(row)
    part = row.fields.get("split", "train" if label else "unlabeled")
    if part == "train" and not label:
        part = "unlabeled"
    if part not in PARTS or (part in ("validation", "test") and not label):
        raise ValueError(
            f"`split` in {path} must be one of {', '.join(PARTS)}, and test and validation rows "
            f"must have a label. Received: split={part!r}, label={row.fields['label']!r} in line "
            f"{row.line}."
        )
    label = "" if part == "unlabeled" else label
    name = row.fields.get("id", f"row {row.number}")
    return _Labeled(row.line, row.fields["text"], label, part, name)


def _said_of_missing(labels: Iterable[str]) -> tuple[str, ...]:
    """Return a note on the words that were read as no label: a class may be called so."""
    words = Counter(label for label in labels if label and is_missing(label))
    if not words:
        return ()
    counts = ", ".join(f"{word!a} {count}" for word, count in sorted(words.items()))
    return (f"labels that stand for a missing one: {counts}; a class must be called otherwise",)


def _check_different(path, rows: Sequence[_Labeled], layout) -> None:
    """Refuse repeated texts: they could stand on both sides of a split, or have two labels."""
    first: dict[str, _Labeled] = {}
    again = [(first[r.text], r) for r in rows if first.setdefault(r.text, r) is not r]
    if again:
        one, two = again[0]
        labels = sum(a.label != b.label for a, b in again)
        raise ValueError(
            f"`{layout.text}` in {path} must be different in every row. Received: {len(again)} "
            f"repeated texts, {labels} of them with another label, the first in lines {one.line} "
            f"and {two.line}. Keep one row of each."
        )
    if layout.id:
        _check_ids(path, lambda: ((row.line, row.name) for row in rows), layout)


def _class_names(path, rows, layout) -> tuple[str, ...]:
    lines = {row.label: row.line for row in reversed(rows) if row.label}
    if alike := look_alikes(lines):
        spelled = ", ".join(f"{label!a} (line {lines[label]})" for label in sorted(alike))
        raise ValueError(
            f"`{layout.label}` in {path} must spell a class in one way. Received: {spelled}, which "
            "look the same. Spell them alike."
        )
    names = tuple(sorted({row.label for row in rows if row.part == "train"}))
    if len(names) < 2:
        raise ValueError(
            f"`{layout.label}` in {path} must name at least two classes in the training rows. "
            f"Received: {list(names) if names else 'no labels'} in {len(rows)} rows."
        )
    unseen = next((row for row in rows if row.label and row.label not in names), None)
    if unseen:
        raise ValueError(
            f"`{layout.label}` in {path} must be one of the training rows' classes {list(names)}. "
            f"Received: {unseen.label!r} in line {unseen.line}."
        )
    return names


def _part(rows, part, names, layout) -> Texts | None:
    chosen = [row for row in rows if row.part == part]
    if not chosen:
        return None
    texts = tuple(row.text for row in chosen)
    called = tuple(row.name for row in chosen)
    if part == "unlabeled":
        return Texts.unlabeled(texts, called)
    labels = np.array([names.index(row.label) for row in chosen], np.int32)
    return Texts(texts, labels, called)


def _held_out(path, train: Texts, names) -> tuple[Texts, Texts]:
    rows = np.arange(len(train), dtype=np.int32)[:, np.newaxis]  # row numbers in place of the texts
    held = hold_out_test(Examples(rows, train.labels), names, str(path))
    return train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
