"""Long passes over data say how far they are: in a log seldom, on a terminal as a bar."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from text_files import WORDS, write_tokenizer

from ssl_weighting.data import progress
from ssl_weighting.data.images import folders, tfds_source
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.progress import counted
from ssl_weighting.data.texts import hidden_states, tokens


def by_seconds(monkeypatch, seconds):
    clock = iter(np.arange(0.0, 1e6, seconds))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))


def test_a_log_has_a_line_every_few_seconds(monkeypatch, capsys):
    by_seconds(monkeypatch, 2.0)
    assert list(counted(range(7), 61, "reading", each=10)) == list(range(7))
    assert capsys.readouterr().out.splitlines() == [
        "reading: 30 of 61, ETA 00:06", "reading: 60 of 61, ETA 00:00",
    ]  # fmt: skip
    list(counted(range(2), 2, "reading"))
    assert capsys.readouterr().out == "", "what is done soon needs no word"


def test_items_may_hold_different_numbers_of_things(monkeypatch, capsys):
    by_seconds(monkeypatch, 6.0)
    assert list(counted(["ab", "c", "def"], 6, "reading", each=len)) == ["ab", "c", "def"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"reading: {n} of 6" for n in (2, 3, 6)]


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(progress.sys, "stdout", terminal)
    assert list(counted("abc", 25, "reading", each=10)) == list("abc")
    assert "reading: 100%" in terminal.getvalue() and "25/25" in terminal.getvalue()


def test_what_ends_the_pass_ends_the_count():
    with pytest.raises(KeyError):
        for _ in counted(range(3), 3, "reading"):
            raise KeyError
    assert list(counted(iter(()), 0, "reading")) == []


def write_images(folder):
    for k in range(10):
        path = folder / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), k).save(path)


def read_folder(folder):
    write_images(folder)
    folders.load_folder(folder)


def read_prepared(folder):
    batches = [{"image": np.zeros([5, 2, 2, 1], "u1"), "label": np.zeros(5, int)}] * 2
    data = SimpleNamespace(as_numpy_iterator=lambda: iter(batches))
    info = SimpleNamespace(splits={"test": SimpleNamespace(num_examples=10)})
    tfds_source._read(SimpleNamespace(info=info, as_dataset=lambda **_: data), "test")


def tokenise(folder):
    write_tokenizer(folder)
    tokens.load_encoder(str(folder), 8)([WORDS[0]] * 10)


def encode(folder):
    words = np.arange(1, 41, dtype=np.int32).reshape(10, 4)
    hidden_states.HiddenStates([words], lambda t: np.ones([*t.shape, 2], "f"), 2, "x", None)


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (read_folder, "reading images"),
        (read_prepared, "reading the images of test"),
        (lambda _: resize_images(np.zeros([10, 4, 4, 3], np.uint8), 2), "resizing images"),
        (tokenise, "tokenising texts"),
        (encode, "computing hidden states"),
    ],
)
def test_every_long_pass_says_how_far_it_is(use, what, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    for module in (tokens, hidden_states, tfds_source):
        monkeypatch.setattr(module, "_BATCH" if module is tfds_source else "_CHUNK", 5)
    use(tmp_path)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(what)]
    assert said[-1] == f"{what}: 10 of 10, ETA 00:00" and 2 <= len(said) <= 10
