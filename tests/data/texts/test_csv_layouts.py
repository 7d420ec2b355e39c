"""Files of one's own texts as the world writes them: read right, or refused by name."""

import codecs
import os
import random
import zlib
from collections import Counter

import numpy as np
import pytest
from text_files import read_new, write_csv

from ssl_weighting.data.names import is_missing
from ssl_weighting.data.texts.by_name import load_texts, make_text_splits
from ssl_weighting.data.texts.csv_rows import DELIMITERS, Layout
from ssl_weighting.data.texts.csv_text import load_csv

ROWS = [(f"text {k}, long", ("no", "yes")[k % 2], f"id{k}") for k in range(20)]
HEADER = ("text", "label", "id")
# Files whose 20 labeled rows stand around one that is looked at.
BEFORE = "".join(f"text {k},{('no', 'yes')[k % 2]}\n" for k in range(20))


def written(tmp_path, content):
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", DELIMITERS)
@pytest.mark.parametrize("asked", ["auto", "by name"])
def test_every_delimiter_gives_the_same_texts(tmp_path, kind, asked):
    comma, mark = load_csv(write_csv(tmp_path / "mine.csv", ROWS, HEADER)), DELIMITERS[kind]
    lines = [mark.join(f'"{value}"' for value in row) for row in (HEADER, *ROWS)]
    path = written(tmp_path, "\r\n".join(lines))
    layout = Layout(id="id", delimiter="auto" if asked == "auto" else kind)
    found = load_csv(path, layout)
    for part in ("train", "test"):
        one, other = getattr(found, part), getattr(comma, part)
        assert one.texts == other.texts and one.labels.tolist() == other.labels.tolist()
    assert read_new(path, layout).texts == [row[0] for row in ROWS]


def test_columns_have_the_names_that_are_given(tmp_path):
    rows = [(1, *row) for row in ROWS] + [(1, "free", "", "last")]
    path = write_csv(tmp_path / "mine.csv", rows, ("date", "Review", "stars", "key"))
    found = load_csv(path, Layout("Review", "stars", "key"))
    assert found.notes == ("columns of mine.csv that are not read: date",)
    assert found.unlabeled.names == ("last",)
    names = dict(zip(found.train.texts, found.train.names, strict=True))
    names |= dict(zip(found.test.texts, found.test.names, strict=True))
    assert names == {text: name for text, _, name in ROWS}
    with pytest.raises(ValueError, match=r"missing \['text', 'label'\].*--text_column"):
        load_csv(path)
    assert read_new(path, Layout("Review", id="key")).names[-2:] == ["id19", "last"]
    assert read_new(path, Layout("Review")).names[-2:] == ["19", "20"]


def test_names_go_with_their_texts_into_the_splits(tmp_path):
    raw = load_csv(
        write_csv(tmp_path / "mine.csv", [*ROWS, ("free", "", "x")], HEADER), Layout(id="id")
    )
    tokens = raw.tokenised(
        lambda texts: np.array([[1 + zlib.crc32(t.encode()) % 10**6, 1] for t in texts], np.int32)
    )
    splits = make_text_splits(raw, tokens, num_labeled=4, val_size=4)
    known = {text: name for text, _, name in ROWS} | {"free": "x"}
    for part in (splits.labeled, splits.validation, splits.unlabeled, splits.test):
        assert [known[text] for text in part.texts] == part.names.tolist()


MISSPELT = ("Split", "SPLIT ", "Text", "label\u200b")


@pytest.mark.parametrize("name", MISSPELT)
def test_a_column_that_looks_like_one_that_is_read_is_refused(tmp_path, name):
    path = write_csv(tmp_path / "mine.csv", [(*row, "x") for row in ROWS], (*HEADER, name))
    with pytest.raises(ValueError, match=r"must begin with a line of column names.*unknown \["):
        load_csv(path, Layout(id="id"))


IDS = {
    "twice": (["a", "b", "a"], r"Received: 'a' in line 2 and 4"),
    "missing": (["a", "", "c"], r"Received: '' in line 3"),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_name_every_row(tmp_path, kind):
    ids, message = IDS[kind]
    rows = [(f"t {k}", "no", name) for k, name in enumerate(ids)]
    path = write_csv(tmp_path / "mine.csv", rows, HEADER)
    for read in (load_csv, read_new):
        with pytest.raises(ValueError, match=r"`id` in .* must name every row.*" + message):
            read(path, Layout(id="id"))


@pytest.mark.parametrize("word", ["NA", "N/A", "n/a", "null", "none", "NaN", "<na>", "\u200b"])
@pytest.mark.parametrize("on_error", ["auto", "skip"])
def test_a_label_that_stands_for_a_missing_one_is_none(tmp_path, word, on_error):
    assert is_missing(word)
    path = written(tmp_path, f"text,label\n{BEFORE}odd,{word}\n")
    found = load_csv(path, on_error=on_error)
    assert found.unlabeled.texts == ("odd",)
    assert f"labels that stand for a missing one: {word!a} 1; a class" in " ".join(found.notes)
    before = BEFORE.replace("\n", ",train\n")
    path = written(tmp_path, f"text,label,split\n{before}odd,{word},test\n")
    with pytest.raises(ValueError, match=r"must have a label\. Received: .* in line 22"):
        load_csv(path, on_error=on_error)


@pytest.mark.parametrize(
    "pair", [("Yes", "yes"), ("caf\u00e9", "cafe\u0301"), ("0", "0.0"), ("a", "a\u200b")]
)
def test_labels_that_look_the_same_are_named_and_refused(tmp_path, pair):
    lines = [f"text {k},{label}" for k, label in enumerate((*pair, "other") * 2)]
    path = written(tmp_path, "\n".join(("text,label", *lines)))
    with pytest.raises(ValueError, match=r"must spell a class in one way.*look the same") as caught:
        load_csv(path)
    for line, label in enumerate(pair, 2):
        assert f"{label!a} (line {line})" in str(caught.value)


ENCODED = {
    "UTF-16 with its mark": (codecs.BOM_UTF16_LE + "text,label\n".encode("utf-16-le"), "utf-16 -t"),
    "big-endian": (codecs.BOM_UTF16_BE + "text,label\n".encode("utf-16-be"), "utf-16 -t"),
    "UTF-32": (codecs.BOM_UTF32_LE + "text,label\n".encode("utf-32-le"), "utf-32 -t"),
    "UTF-16 without a mark": ("text,label\n".encode("utf-16-le"), "zero byte.*utf-16le -t"),
    "big-endian without": ("text,label\n".encode("utf-16-be"), "zero byte.*utf-16be -t"),
    "a workbook": (b"PK\x03\x04rest", "an .xlsx workbook"),
    "gzip": (b"\x1f\x8brest", "gzip"),
    "latin1": (b"text,label\ncaf\xe9,x\n", "byte 0xe9 in line 2.*latin1"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_other_encodings_are_called_by_name(tmp_path, kind):
    content, message = ENCODED[kind]
    for read in (load_csv, read_new):
        with pytest.raises(ValueError, match=rf"mine.csv must be UTF-8.*{message}"):
            read(written(tmp_path, content))


BAD_ROWS = {
    "an empty text without a label": (" ,\n", False, "an empty text in line 22"),
    "an invisible one": ("\u200b\u2060,\n", False, "an empty text in line 22"),
    "an empty text with a label": (",yes\n", True, "an empty text in line 22"),
    "a row too short": ("text\n", True, "Received: 1 in the row that ends in line 22"),
    "a row too long": ("a,b,c\n", True, "Received: 3 in the row that ends in line 22"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_rows_that_cannot_be_read_stop_or_are_skipped_and_counted(tmp_path, kind):
    row, labeled, message = BAD_ROWS[kind]
    path = written(tmp_path, f"text,label\n{BEFORE}{row}last,\n")
    for on_error in ("stop", *(["auto"] if labeled else [])):
        with pytest.raises(ValueError, match=message):
            load_csv(path, on_error=on_error)
    for on_error in ("skip", *([] if labeled else ["auto"])):
        found = load_csv(path, on_error=on_error)
        assert len(found.train) + len(found.test) == 20 and found.unlabeled.texts == ("last",)
        assert found.notes[0].startswith("1 rows of mine.csv skipped, in lines 22; the first: ")
        assert message in found.notes[0]
    new = read_new(path, on_error="skip")
    assert len(new.texts) == 21 and new.names[-1] == "21", "answers keep the numbers of their rows"
    assert [name for name, _ in new.skipped] == ["20"] and message in new.skipped[0][1]


def test_nothing_but_rows_that_cannot_be_read(tmp_path):
    path = written(tmp_path, "text,label\n ,\n,\n")
    with pytest.raises(ValueError, match=r"a row below its column names.*2 with one.*line 2"):
        read_new(path, on_error="skip")


def test_every_class_is_in_the_test_set_that_is_held_out(tmp_path):
    rng = np.random.default_rng(0)
    for trial in range(30):
        counts = rng.integers(2, 9, rng.integers(2, 8))
        counts[0] *= 20 if trial % 2 else 1
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        rows = [(f"text {k}", f"class {label}") for k, label in enumerate(labels)]
        raw = load_csv(write_csv(tmp_path / "mine.csv", rows))
        held, kept = (np.bincount(p.labels, minlength=len(counts)) for p in (raw.test, raw.train))
        assert held.min() >= 1 and kept.min() >= 1 and (held + kept).tolist() == counts.tolist()
        assert held.sum() == max(counts.sum() // 5, len(counts))


def test_a_damaged_file_is_read_or_refused_by_its_name(tmp_path):
    """Every third bit of a small file flipped, and the file cut at every byte."""
    lines = ["text,label,id,split", "a b,x,1,train", '"c, d",y,2,train', "e,x,3,test"]
    lines += ['"f ""g""",y,4,test', "h,,5,unlabeled", "é,,6,", "i,x,7,validation"]
    whole, ends = "\r\n".join(lines).encode(), Counter()
    for bit in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        for content in (flipped, whole[: bit // 8]):
            path = written(tmp_path, bytes(content))
            for read in (lambda p: load_csv(p, Layout(id="id")), read_new):
                try:
                    read(path)
                    ends["read"] += 1
                except ValueError as error:
                    assert type(error) is ValueError and "mine.csv" in str(error), content
                    ends["refused"] += 1
    assert min(ends.values()) > 100


def test_random_bytes_are_refused(tmp_path):
    rng = random.Random(0)
    for _ in range(200):
        path = written(tmp_path, rng.randbytes(rng.randrange(1, 200)))
        for read in (load_csv, read_new):
            with pytest.raises(ValueError, match=r"mine\.csv"):
                read(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", ".", "none", "x" * 300):
        for read in (load_csv, read_new):
            with pytest.raises(OSError, match=r"must name a file|File name too long"):
                read(tmp_path / name)


def test_by_name_hands_the_layout_on(tmp_path):
    path = write_csv(tmp_path / "mine.csv", ROWS, ("t", "l", "i"))
    raw = load_texts(f"csv:{path}", layout=Layout("t", "l", "i"))
    assert set(raw.train.names + raw.test.names) == {row[2] for row in ROWS}
