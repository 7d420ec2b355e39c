"""Names that people give: missing ones, ones that look the same, ones that no file can hold."""

import io
import os

import pandas as pd
import pytest

from ssl_weighting.data.examples import base_name
from ssl_weighting.data.names import MISSING, is_missing, look_alikes, printable

SEEN_BY_PANDAS = (
    *("NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "null", "NULL", "None", "<NA>", ""),
    *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)


def test_missing_words_are_those_of_pandas():
    frame = pd.read_csv(io.StringIO("\n".join(["word", *SEEN_BY_PANDAS])), skip_blank_lines=False)
    assert frame["word"].isna().all()
    assert {word.lower() for word in SEEN_BY_PANDAS} == MISSING
    for word in SEEN_BY_PANDAS:
        assert (
            is_missing(word) and is_missing(word.upper()) and is_missing(f" {word.lower()}\u200b")
        )
    assert not any(map(is_missing, ("no", "0", "nano", "n", "-", "?", "nothing")))


ALIKE = {
    "case": ("Yes", "yes"),
    "composed and decomposed": ("caf\u00e9", "cafe\u0301"),
    "numbers": ("0", "0.0"),
    "numbers with a sign": ("1", "+1.00"),
    "leading zeros": ("7", "07"),
    "zero width": ("a b", "a\u200b b"),
    "joiner": ("ab", "a\u2060b"),
    "direction": ("ab", "\u202aab\u202c"),
    "byte order mark": ("ab", "\ufeffab"),
    "soft hyphen": ("ab", "a\u00adb"),
    "blanks": ("a b", "a\u00a0 b"),
    "control": ("ab", "a\x01b"),
    "variant": ("\u2764", "\u2764\ufe0f"),
    "grapheme joiner": ("ab", "a\u034fb"),
    "filler": ("ab", "ab\u3164"),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_names_that_look_the_same_are_found(kind):
    one, other = ALIKE[kind]
    assert look_alikes(["other", one, "third", other, one]) == (one, other)


def test_different_names_are_left_alone():
    names = [
        "0",
        "1",
        "-1",
        "10",
        "1.5",
        "a",
        "b",
        "ab",
        "a b",
        "e",
        "é",
        "ß",
        "ss",
        "日本",
        "12345678",
    ]
    names += ["123456789012345678901", "123456789012345678902", "9" * 400, "9" * 401]
    assert look_alikes(names) == ()


def test_bytes_that_are_no_text_become_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    assert printable(name) == "caf\\udce9.csv"
    assert printable("café, 日本 😀") == "café, 日本 😀"
    assert base_name(tmp_path / name) == "caf\\udce9.csv"
