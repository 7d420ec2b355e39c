"""Read a user's .csv file row by row, for training and for prediction: right, or refused by name.

By csv's strict reader, which pandas' slow engine is too. pandas' fast one reads in silence what is
damaged: it fills short rows, and goes on after a quote in the middle of a text.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_weighting.data.examples import base_name
from ssl_weighting.data.images.folders import ON_ERROR
from ssl_weighting.data.names import is_blank, shape_of

AUTO, SKIP, STOP = ON_ERROR
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
SPLIT = "split"  # the column that names the part of a row
_LONGEST = 2**24  # characters of a field; csv's own limit is 2**17
_SHOWN = 20  # skipped rows that are named
_BLOCK = 2**20  # bytes whose encoding is checked at once
# What other kinds of files begin with -> what they are.
_UTF_32 = "UTF-32. Convert it with `iconv -f utf-32 -t utf-8`."
_UTF_16 = "UTF-16, as Excel's “Unicode text”. Convert it with `iconv -f utf-16 -t utf-8`."
_BEGINNINGS = {
    codecs.BOM_UTF32_LE: _UTF_32,
    codecs.BOM_UTF32_BE: _UTF_32,
    codecs.BOM_UTF16_LE: _UTF_16,
    codecs.BOM_UTF16_BE: _UTF_16,
    b"PK\3\4": "a zip archive or an .xlsx workbook. Export the sheet as CSV UTF-8.",
    b"\x1f\x8b": "a gzip archive. Unpack it.",
}


class Layout(NamedTuple):
    """How the user's file is laid out: names of its columns, and what stands between them."""

    text: str = "text"
    label: str = "label"
    id: str = ""  # "": rows have no names
    delimiter: str = AUTO  # or a key of DELIMITERS


USUAL = Layout()


class Row(NamedTuple):
    """A row of the file."""

    line: int  # of the file, where the row ends
    number: int  # below the column names, from 0
    fields: Mapping[str, str]  # "text", "label", "id", "split" -> value; {} where they do not fit
    fault: str  # what is wrong with it, "" if nothing is


class Rows(NamedTuple):
    """What a file holds."""

    rows: Iterator[Row]
    others: tuple[str, ...]  # columns that are not read


def read_rows(path, layout: Layout, needed: Sequence[str]) -> Rows:
    """Return the rows of a UTF-8 file; columns that are not asked for are not looked at.

    The file is read as its rows are asked for: they need not fit in memory.

    Args:
        path: of the file.
        layout: of it.
        needed: of "text", "label" and "id", those whose columns must be there. A column `split` is
            read where "label" is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its encoding, its column names or its quotes do not fit; says where.
    """
    _check_encoding(path)
    csv.field_size_limit(max(_LONGEST, csv.field_size_limit()))
    columns = {name: getattr(layout, name) for name in needed}
    delimiter = _delimiter(path, layout.delimiter, columns.values())
    records = _records(path, delimiter)
    _, names = next(records, (0, []))
    header = [name.strip() for name in names]
    if "label" in columns and SPLIT in header:
        columns[SPLIT] = SPLIT
    _check_header(path, header, columns)
    places = {name: header.index(column) for name, column in columns.items()}
    rows = (
        _row(path, header, places, number, *record, layout.text)
        for number, record in enumerate(records)
    )
    return Rows(rows, tuple(name for name in header if name not in columns.values()))


def kept(
    path, rows: Iterable[Row], on_error: str, is_labeled: Callable[[Row], bool]
) -> tuple[list[Row], list[Row]]:
    """Return (sound rows, those with a fault that are skipped).

    Args:
        path, rows: as of `read_rows`.
        on_error: "skip" or "stop"; "auto" stops for labeled rows and skips the others.
        is_labeled: tells them.

    Raises:
        ValueError: says what is wrong with the first row that is not skipped.
    """
    sound, skipped = [], []
    for row in unless_stopped(rows, on_error, is_labeled):
        (skipped if row.fault else sound).append(row)
    return sound, skipped


def unless_stopped(
    rows: Iterable[Row], on_error: str, is_labeled: Callable[[Row], bool] = lambda row: False
) -> Iterator[Row]:
    """Yield the rows, those with a fault too unless they stop the program.

    Args, raises: as of `kept`.
    """
    for row in rows:
        if row.fault and (on_error == STOP or (on_error == AUTO and is_labeled(row))):
            raise ValueError(f"{row.fault} Or skip such rows: --on_error=skip.")
        yield row


def said_of_skipped(path, skipped: Sequence[Row]) -> tuple[str, ...]:
    """Return a sentence on the rows that are skipped, () if none is."""
    if not skipped:
        return ()
    lines = ", ".join(str(row.line) for row in skipped[:_SHOWN])
    more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    return (
        f"{len(skipped)} rows of {base_name(path)} skipped, in lines {lines}{more}; the first: "
        f"{skipped[0].fault}",
    )


def _check_encoding(path) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"csv:PATH must name a file. Received: csv:{path}, which is not there."
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    place, line = 0, 1  # of the block's first byte
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            _check_kind(path, block, place)
            _check_block(path, decoder, block, line, final=False)
            place, line = place + len(block), line + block.count(b"\n")
    _check_block(path, decoder, b"", line, final=True)


def _check_kind(path, block, place) -> None:
    """Refuse what is no UTF-8 text by its first bytes or by a zero byte."""
    for beginning, kind in _BEGINNINGS.items():
        if not place and block.startswith(beginning):
            raise ValueError(f"{path} must be UTF-8 text. Received: {kind}")
    zero = block.find(b"\0")
    if zero >= 0:
        order = "le" if (place + zero) % 2 else "be"
        raise ValueError(
            f"{path} must be UTF-8 text. Received: a zero byte, as UTF-16 has. Convert it with "
            f"`iconv -f utf-16{order} -t utf-8`."
        )


def _check_block(path, decoder, block, line, final) -> None:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise ValueError(
            f"{path} must be UTF-8. Received: byte 0x{error.object[error.start]:02x} in line "
            f"{line}. Convert the file, for instance with `iconv -f latin1 -t utf-8`."
        ) from error


def _lines(path):
    return open(path, encoding="utf-8-sig", newline="")


def _delimiter(path, chosen, columns) -> str:
    """Return the delimiter, for "auto" the first that makes the columns out of the first line."""
    if chosen != AUTO:
        return DELIMITERS[chosen]
    for delimiter in DELIMITERS.values():
        with _lines(path) as lines:
            names = next(filter(None, csv.reader(lines, delimiter=delimiter)), [])
        if {*columns} <= {name.strip() for name in names}:
            return delimiter
    return ","


def _records(path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it ends, values) of every row, the first of which is the header."""
    with _lines(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for values in reader:
                if values:  # an empty line has none
                    yield reader.line_num, values
        except csv.Error as error:
            kind = next(kind for kind, character in DELIMITERS.items() if character == delimiter)
            raise ValueError(
                f"{path} must be {kind}-separated, texts with {kind}s or quotes in double quotes. "
                f"Received: line {reader.line_num}: {error}. Write it with a csv library."
            ) from error


def _check_header(path, header, columns) -> None:
    names = [name for column, name in columns.items() if column != SPLIT]
    missing = [name for name in names if name not in header]
    doubled = {name for name in columns.values() if header.count(name) > 1}
    shapes = {shape_of(name): name for name in (*names, SPLIT)}
    alike = [name for name in header if shapes.get(shape_of(name), name) != name]
    training = "label" in columns
    if missing or doubled or len(set(names)) < len(names) or (training and alike):
        unknown = [name for name in header if name not in columns.values()]
        expected = f"{', '.join(names)} and maybe split, each" if training else f"`{names[0]}`"
        raise ValueError(
            f"{path} must begin with a line of column names, {expected} once. "
            f"Received: {header}; missing {missing}, unknown {unknown}. Rename columns, or name "
            "them by --text_column, --label_column and --id_column."
        )


def _row(path, header, places, number, line, values, column) -> Row:
    if len(values) != len(header):
        fault = (
            f"{path} must have {len(header)} fields in every row. Received: {len(values)} in the "
            f"row that ends in line {line}. Put texts with delimiters in double quotes."
        )
        return Row(line, number, {}, fault)
    fields = {name: values[place].strip() for name, place in places.items()}
    fault = ""
    if is_blank(fields["text"]):
        fault = (
            f"`{column}` in {path} must not be empty. Received: an empty text in line {line}. "
            "Remove the row."
        )
    return Row(line, number, fields, fault)
