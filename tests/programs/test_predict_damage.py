"""Labeling with edited, damaged or foreign runs, and writing over earlier answers: named, or none.

Nothing here ends in a traceback, and earlier answers stay until new ones are whole.
"""

import csv
import errno
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import runs
from text_files import write_csv
from text_runs import tiny_options

from experiments import predict
from experiments.assemble import build
from experiments.options.kinds import TEXTS
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.runs.saved_model import load_model, read_run
from experiments.serving import predictor

IMAGES = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
EARLIER = "name,class,confidence\nearlier,answer,1\n"


@pytest.fixture
def copy(unbroken, tmp_path):
    return Path(shutil.copytree(unbroken, tmp_path / "run"))


@pytest.fixture
def label(monkeypatch, tmp_path, unbroken, capsys):
    """Run the program beside earlier answers; return what it wrote, or the line of its refusal."""
    np.savez(tmp_path / "new.npz", x=IMAGES)
    out = tmp_path / "labels.csv"

    def label(*given, run=unbroken):
        out.write_text(EARLIER)
        if not any(flag.startswith("--input") for flag in given):
            given = (f"--input=npz:{tmp_path / 'new.npz'}", *given)
        given = (f"--run={run}", f"--out={out}", *given)
        try:
            runs.call(predict, monkeypatch, *given)
        except SystemExit as end:
            error = capsys.readouterr().err
            assert end.code == 1 and error.count("\n") == 1, error
            assert out.read_text() == EARLIER, "earlier answers stay"
            assert {p.name for p in tmp_path.iterdir()} <= {"labels.csv", "new.npz", "run", "more"}
            return error
        with open(out, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return label


def edited(folder, **fields):
    """Change fields of config.json; None takes one away."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return folder


TEN = [f"class {k}" for k in range(10)]
EDITS = {
    "no class names": ({"class_names": None}, "must have `class_names`. Received: none"),
    "empty class names": ({"class_names": []}, "must have `class_names`. Received: none"),
    "too few": ({"class_names": TEN[:9]}, "must name the 10 classes of model.keras. Received: 9"),
    "too many": ({"class_names": [*TEN, "x"]}, "the 10 classes of model.keras. Received: 11"),
    "the same twice": ({"class_names": [*TEN[:9], "class 0"]}, "different `class_names`"),
    "numbers": ({"class_names": list(range(10))}, "`class_names` must be a list of texts"),
    "a text": ({"class_names": "0123456789"}, "`class_names` must be a list of texts"),
    "no shape": ({"input_shape": None}, "must have `input_shape`. Received: none"),
    "another shape": ({"input_shape": [9, 9, 1]}, "the `input_shape` of model.keras, [8, 8, 1]"),
    "a negative shape": ({"input_shape": [-8, 8, 1]}, "`input_shape` must be a list of whole"),
    "no options": ({"config": {}}, "must have the option `model`. Received: none"),
    "options of another type": ({"config": []}, "`config` must be an object"),
    "a number for a name": ({"config": {"model": 1}}, "the option `model` as str. Received: 1"),
    "an unknown model": ({"config": {"model": "resnet"}}, "--model must be one of"),
    "a model of texts": (
        {"config": {"model": "bert"}},
        "must be a run on images, texts or features",
    ),
    "no split": ({"split_hash": None}, "`split_hash` must be text"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_config_is_named(label, copy, kind):
    fields, message = EDITS[kind]
    assert message in label(run=edited(copy, **fields))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"config": NaN}'])
def test_a_damaged_config_is_named(label, copy, content):
    (copy / "config.json").write_bytes(content)
    assert "config.json" in label(run=copy)


def test_what_labeling_does_not_need_may_be_missing(label, copy):
    expected = label()
    kept = {"program": "train_images", "split_hash": "x", "config": {"model": "wide_resnet"}}
    content = json.loads((copy / "config.json").read_text())
    kept |= {name: content[name] for name in ("class_names", "input_shape")}
    (copy / "config.json").write_text(json.dumps(kept))
    assert label(run=copy) == expected


def test_names_that_look_like_formulas_are_text(label, copy, tmp_path):
    names = ["=1+1", "+a", "-a", "@a", "\ta", "\ra", *"6789"]
    from PIL import Image

    for name in ("=a.png", "+b.png", "c.png", os.fsdecode(b"d\xe9.png")):
        (tmp_path / "more").mkdir(exist_ok=True)
        Image.fromarray(IMAGES[0, ..., 0]).save(tmp_path / "more" / name)
    rows = label(f"--input=folder:{tmp_path / 'more'}", run=edited(copy, class_names=names))
    assert {"'=a.png", "'+b.png", "c.png"} <= {row["name"] for row in rows}
    assert {row["class"] for row in rows} <= {"", *(f"'{name}" for name in names[:6]), *"6789"}
    assert len(rows) == 4 and "d\\udce9.png" in {row["name"].rpartition("/")[2] for row in rows}


STEPS = [(tempfile, "TemporaryFile"), (shutil, "copyfileobj"), (os, "fsync"), (os, "replace")]


@pytest.mark.parametrize("owner, step", STEPS)
def test_a_full_disk_leaves_earlier_answers(label, monkeypatch, owner, step):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(owner, step, full)
    assert "labels.csv: [Errno 28] No space left on device; free some space" in label()


def test_earlier_answers_stay_whatever_cannot_be_read(label, copy, tmp_path):
    for kind, name in (("npz", "none.npz"), ("folder", "none"), ("folder", "new.npz")):
        assert name in label(f"--input={kind}:{tmp_path / name}")
    (tmp_path / "new.npz").write_bytes(b"damaged")
    assert "must be an .npz file" in label()


def test_answers_that_are_not_finite_are_none(label, monkeypatch):
    keep = predictor.Forward.__call__
    monkeypatch.setattr(predictor.Forward, "__call__", lambda *a: keep(*a) * np.float32("nan"))
    assert "must give finite probabilities" in label()


OUTS = {
    "a folder": (".", "which holds something else"),
    "a missing folder": ("no/labels.csv", "in a folder that is there"),
    "the input": ("new.npz", "which holds something else"),
    "a device": ("/dev/null", "which holds something else"),
    "somebody's own table": ("more", "which holds something else"),
    "a long name": ("x" * 300, "File name too long"),
}


@pytest.mark.parametrize("kind", OUTS)
def test_a_place_for_the_answers_that_does_not_fit_is_told_before_any_work(
    label, tmp_path, monkeypatch, kind
):
    name, message = OUTS[kind]
    monkeypatch.setattr(predict, "load_model", lambda *run: pytest.fail("read the model"))
    (tmp_path / "more").write_text("name,price\n")
    files = [tmp_path / file for file in ("new.npz", "more")]
    before = [file.read_bytes() for file in files]
    assert message in label(f"--out={tmp_path / name}")
    assert [file.read_bytes() for file in files] == before


FOREIGN = {
    "one output": lambda x: keras.layers.Dense(10)(keras.layers.Flatten()(x)),
    "other outputs": lambda x: {"z": keras.layers.Dense(10)(keras.layers.Flatten()(x))},
    "other classes": lambda x: {"logits": keras.layers.Dense(9)(keras.layers.Flatten()(x))},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_model_in_the_run_s_place_is_named(label, copy, kind):
    inputs = keras.Input([8, 8, 1])
    keras.Model(inputs, FOREIGN[kind](inputs)).save(copy / "model.keras")
    assert "model.keras" in label(run=copy)


def damaged(whole, rng, count):
    """Yield copies of a file with one flipped bit, at its ends more often, and cut ones."""
    for k in range(count):
        first, last = ((0, len(whole)), (0, 4000), (len(whole) - 1500, len(whole)))[k % 3]
        at = rng.randrange(max(first, 0), min(last, len(whole)))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    for size in (0, 1, 22, len(whole) // 2, len(whole) - 1):
        yield whole[:size]


@pytest.mark.slow
def test_a_damaged_model_labels_as_before_or_is_refused_by_name(copy):
    path, rng, ends = copy / "model.keras", random.Random(0), Counter()
    config = read_run(copy)
    whole, expected = path.read_bytes(), predictor.predict(load_model(copy, config), IMAGES)
    for content in damaged(whole, rng, 120):
        path.write_bytes(content)
        try:
            model = load_model(copy, config)
        except ValueError as error:
            assert "model.keras" in str(error)
            ends["refused"] += 1
            continue
        np.testing.assert_array_equal(predictor.predict(model, IMAGES), expected)
        ends["as before"] += 1
    assert ends["refused"] > 90


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    """(options, folder) of a run with a frozen layer, which needs its BERT again."""
    folder = tmp_path_factory.mktemp("texts")
    options = tiny_options(folder) | {
        "algorithm": "supervised", "bert_trainable_layers": 1, "steps": 4, "eval_every": 4,
    }  # fmt: skip
    running.execute(make_config(**options, out=str(folder / "run")), "train_text")
    return options, folder / "run"


def answer(model, config, texts):
    return predictor.predictors(model, config)[TEXTS](texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
)
def test_a_damaged_bert_labels_as_before_or_is_refused_by_name(of_texts, name):
    options, run = of_texts
    model, config = runs.opened(run)
    path, ends = Path(options["bert"], name), Counter()
    whole, texts = path.read_bytes(), ["good film", "a bad plot ."]
    expected = answer(model, config, texts)
    training = make_config(**options, out="unused")
    try:
        for content in damaged(whole, random.Random(0), 30):
            path.write_bytes(content)
            try:
                found = answer(model, config, texts)
                np.testing.assert_array_equal(found, expected)
                ends["as before"] += 1
            except (ValueError, OSError) as error:
                assert "bert" in str(error)
                ends["refused"] += 1
            try:
                build.build(training, build.load_splits(training))
            except (ValueError, OSError) as error:
                assert "bert" in str(error)
    finally:
        path.write_bytes(whole)
    assert ends["refused"] > 10


HUGE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_a_bert_of_sizes_that_its_weights_cannot_have_is_refused(tmp_path, name):
    options = tiny_options(tmp_path)
    path = tmp_path / "bert" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: 10**12}))
    with pytest.raises(ValueError, match=r"bert/config\.json must describe"):
        build.load_splits(make_config(**options, out="unused"))


def test_texts_with_names_of_their_own_are_labeled_under_them(of_texts, tmp_path, monkeypatch):
    rows = [("=a", "good film", "x"), ("-1", " ", "x"), ("c", "a bad plot", "x")]
    new = write_csv(tmp_path / "new.csv", rows, ("key", "body", "text2"))
    out = tmp_path / "labels.csv"
    given = (f"--run={of_texts[1]}", f"--input=csv:{new}", f"--out={out}")
    layout = ("--text_column=body", "--id_column=key")
    assert runs.call(predict, monkeypatch, *given, *layout) == predict.SKIPPED
    with open(out, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["name"] for row in found] == ["'=a", "c", "-1"]
    assert [bool(row["class"]) for row in found] == [True, True, False]
    assert "an empty text in line 3" in found[2]["problem"]
    before = out.read_bytes()
    with pytest.raises(SystemExit):
        runs.call(predict, monkeypatch, *given, *layout, "--on_error=stop")
    assert out.read_bytes() == before
