"""Reads people's own texts out of one .csv file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_weighting.data.examples import Examples, base_name
from ssl_weighting.data.splits import hold_out
from ssl_weighting.data.texts.raw import RawTexts, Texts

COLUMNS = ("text", "label")
PARTS = ("train", "validation", "test", "unlabeled")
_TEST_SHARE = 5  # without a test part, one labeled text in five is held out
_MISSING = ("nan", "NaN", "None", "NULL", "<NA>")  # what programs write where a value is missing
_LONGEST = 2**24  # characters of a field; csv's own limit is 2**17


class _Row(NamedTuple):
    line: int  # of the file, where the row ends
    text: str
    label: str  # "" = unlabeled
    part: str


def load_csv(path: str | os.PathLike) -> RawTexts:
    """Return the texts of a UTF-8 file with the columns `text`, `label` and maybe `split`.

    An empty label marks an unlabeled text. `split` is train, validation, test or unlabeled; without
    it, or without a test part, a fifth of the labeled texts is held out for testing, always the
    same ones. Classes are the sorted labels of the training part.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoding, a column, a text, a label or a part does not fit; says where.
    """
    rows = list(_rows(path, _decoded(path)))
    _check_different(path, rows)
    names = _class_names(path, rows)
    parts = {part: _part(path, rows, part, names) for part in PARTS}
    source = f"file {base_name(path)}"
    if parts["test"] is None:
        _check_two_each(path, parts["train"], names)
        parts["train"], parts["test"] = _held_out(parts["train"], names)
        source += f", {len(parts['test'])} texts of it held out for testing"
    return RawTexts(Path(path).stem, class_names=names, source=source, **parts)


def read_texts(path: str | os.PathLike) -> list[str]:
    """Return the column `text` of a UTF-8 file, in its order; other columns are not looked at.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoding, the header, a row or a text does not fit, or there is no row.
    """
    records = _records(path, _decoded(path))
    header = _header(records)
    if header.count("text") != 1:
        raise ValueError(
            f"{path} must begin with a line of column names, `text` once. Received: {header}."
        )
    texts = []
    for line, values in records:
        _check_width(path, header, values, line)
        texts.append(values[header.index("text")].strip())
        _check_text(path, texts[-1], line)
    if not texts:
        raise ValueError(f"{path} must have a row below its column names. Received: none.")
    return texts


def _decoded(path) -> str:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"csv:PATH must name a file. Received: csv:{path}, which is not there."
        )
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} must be UTF-8. Received: byte 0x{content[error.start]:02x} in line {line}. "
            "Convert the file, for instance with `iconv -f latin1 -t utf-8`."
        ) from error
    if "\0" in text:
        raise ValueError(f"{path} must be text. Received: a zero byte. Save it as UTF-8, not -16.")
    return text


def _records(path, content: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it ends, values) of every row, the first of which is the header."""
    csv.field_size_limit(max(_LONGEST, csv.field_size_limit()))
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        for values in reader:
            if values:  # an empty line has none
                yield reader.line_num, values
    except csv.Error as error:
        raise ValueError(
            f"{path} must be comma-separated, texts with commas or quotes in double quotes. "
            f"Received: line {reader.line_num}: {error}. Write it with a csv library."
        ) from error


def _header(records) -> list[str]:
    """Return the names of the columns; take them off `records`."""
    _, names = next(records, (0, []))
    return [name.strip() for name in names]


def _rows(path, content: str) -> Iterator[_Row]:
    records = _records(path, content)
    header = _header(records)
    _check_header(path, header)
    for line, values in records:
        yield _row(path, header, values, line)


def _check_header(path, header) -> None:
    if sorted(header) not in (sorted(COLUMNS), sorted((*COLUMNS, "split"))):
        missing = [name for name in COLUMNS if name not in header]
        unknown = sorted(set(header) - {*COLUMNS, "split"})
        raise ValueError(
            f"{path} must begin with a line of column names: text, label and maybe split, each "
            f"once. Received: {header}; missing {missing}, unknown {unknown}. Rename or drop "
            "columns."
        )


def _row(path, header, values, line) -> _Row:
    _check_width(path, header, values, line)
    found = dict(zip(header, (value.strip() for value in values), strict=True))
    _check_text(path, found["text"], line)
    part = found.get("split", "train" if found["label"] else "unlabeled")
    if part == "train" and not found["label"]:
        part = "unlabeled"
    if found["label"] in _MISSING:
        raise ValueError(
            f"`label` in {path} must be a class, or empty where there is none. Received: "
            f"{found['label']!r} in line {line}, which some programs write for a missing value."
        )
    if part not in PARTS or (part in ("validation", "test") and not found["label"]):
        raise ValueError(
            f"`split` in {path} must be one of {', '.join(PARTS)}, and test and validation rows "
            f"must have a label. Received: split={part!r}, label={found['label']!r} in line {line}."
        )
    return _Row(line, found["text"], "" if part == "unlabeled" else found["label"], part)


def _check_width(path, header, values, line) -> None:
    if len(values) != len(header):
        raise ValueError(
            f"{path} must have {len(header)} fields in every row. Received: {len(values)} in the "
            f"row that ends in line {line}. Put texts with commas in double quotes."
        )


def _check_text(path, text, line) -> None:
    if not text:
        raise ValueError(
            f"`text` in {path} must not be empty. Received: an empty text in line {line}. "
            "Remove the row."
        )


def _check_different(path, rows) -> None:
    """A text twice is a text on both sides of a split, a label that says two things, or both."""
    first: dict[str, _Row] = {}
    again = [(first[r.text], r) for r in rows if first.setdefault(r.text, r) is not r]
    if again:
        one, two = again[0]
        labels = sum(a.label != b.label for a, b in again)
        raise ValueError(
            f"`text` in {path} must be different in every row. Received: {len(again)} repeated "
            f"texts, {labels} of them with another label, the first in lines {one.line} and "
            f"{two.line}. Keep one row of each."
        )


def _class_names(path, rows) -> tuple[str, ...]:
    names = tuple(sorted({row.label for row in rows if row.part == "train"}))
    if len(names) < 2:
        raise ValueError(
            f"`label` in {path} must name at least two classes in the training rows. "
            f"Received: {list(names) if names else 'no labels'} in {len(rows)} rows."
        )
    unseen = next((row for row in rows if row.label and row.label not in names), None)
    if unseen:
        raise ValueError(
            f"`label` in {path} must be one of the training rows' classes {list(names)}. "
            f"Received: {unseen.label!r} in line {unseen.line}."
        )
    return names


def _part(path, rows, part, names) -> Texts | None:
    chosen = [row for row in rows if row.part == part]
    if not chosen:
        return None
    texts = tuple(row.text for row in chosen)
    if part == "unlabeled":
        return Texts.unlabeled(texts)
    return Texts(texts, np.array([names.index(row.label) for row in chosen], np.int32))


def _check_two_each(path, train, names) -> None:
    counts = np.bincount(train.labels, minlength=len(names))
    if counts.min() < 2:
        few = [f"{name!r} ({n})" for name, n in zip(names, counts, strict=True) if n < 2]
        raise ValueError(
            f"{path} must have at least two labeled texts of every class, one of which is held out "
            f"for testing. Received: fewer of {', '.join(few)}. Add texts, or name the test texts "
            "in a column `split`."
        )


def _held_out(train: Texts, names) -> tuple[Texts, Texts]:
    rows = np.arange(len(train), dtype=np.int32)[:, np.newaxis]  # stand in for the texts
    size = max(len(train) // _TEST_SHARE, len(names))
    rest, held = hold_out(Examples(rows, train.labels), names, size)
    return train.take(rest.inputs[:, 0]), train.take(held.inputs[:, 0])
