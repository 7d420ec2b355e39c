"""Tables that a spreadsheet shows and does not run: one function writes them all."""

import csv
import io
import os

import pytest
from places import ROOT

from ssl_weighting.data.csv_cells import csv_of, guarded, unguarded

RUN = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "+49 170 1")
SHOWN = ("a=b", "", "'quoted'", "1", "-1", "+1.5", "-1e-07", "caf\u00e9", "a\nb", 'a "b", c')


@pytest.mark.parametrize("text", RUN)
def test_what_looks_like_a_formula_is_text(text):
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", SHOWN)
def test_other_cells_stay_as_they_are(text):
    assert guarded(text) == unguarded(text) == text


def test_rows_are_read_back():
    rows = [("name", "number"), *((text, -1.5) for text in (*RUN, *SHOWN)), (None, True)]
    found = list(csv.reader(io.StringIO(csv_of(rows), newline="")))
    assert [unguarded(row[0]) for row in found[1:-1]] == [*RUN, *SHOWN]
    assert {row[1] for row in found[1:-1]} == {"-1.5"} and found[-1] == ["", "True"]


def test_a_name_that_is_no_text_can_be_written():
    assert csv_of([(os.fsdecode(b"=\xe9"),)]).encode() == b"'=\\udce9\n"


def test_no_other_function_writes_csv():
    writers = [
        path.relative_to(ROOT).as_posix()
        for room in ("experiments", "ssl_weighting")
        for path in (ROOT / room).rglob("*.py")
        if any(word in path.read_text() for word in ("csv.writer", "csv.DictWriter", ".to_csv"))
    ]
    assert writers == ["ssl_weighting/data/csv_cells.py"]
