"""Labeling new images with a saved model: the same answers as the model's, by name."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from absl import app
from PIL import Image
from runs import DIGITS, call, opened

from experiments import predict
from experiments.assemble.build import load_splits
from experiments.options.kinds import IMAGES
from experiments.options.presets import make_config
from experiments.serving import predictor
from experiments.serving.source import Wanted, sources
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.data.images.resize import resize_images


@pytest.fixture
def copy(unbroken, tmp_path):
    return Path(shutil.copytree(unbroken, tmp_path / "run"))


@pytest.fixture(scope="module")
def images():
    return load_splits(make_config(**DIGITS)).test.inputs[:7]


@pytest.fixture
def label(monkeypatch, tmp_path, unbroken):
    """Run the program; return the rows it wrote."""

    def label(given, run=unbroken):
        out = tmp_path / "labels.csv"
        call(predict, monkeypatch, f"--run={run}", f"--input={given}", f"--out={out}")
        with open(out, newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    return label


def save(path, image, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).convert(mode).save(path)


def expected(unbroken, images):
    model = keras.models.load_model(unbroken / "model.keras", compile=False)
    z = model(clean_view(images), training=False)["logits"].numpy().astype(float)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return [[str(row.argmax()), f"{row.max():.4f}"] for row in p]


def test_images_of_an_npz_file_are_named_by_their_row(label, unbroken, images, tmp_path, capsys):
    np.savez(tmp_path / "new.npz", x=images)
    header, *rows = label(f"npz:{tmp_path / 'new.npz'}")
    assert header == ["name", "class", "confidence"]
    assert [row[0] for row in rows] == [str(k) for k in range(7)]
    assert [row[1:] for row in rows] == expected(unbroken, images)
    assert capsys.readouterr().out == f"labeled 7 images: {tmp_path / 'labels.csv'}\n"


def test_grey_images_need_no_channel(label, unbroken, images, tmp_path):
    np.savez(tmp_path / "new.npz", x=images[..., 0])
    assert [row[1:] for row in label(f"npz:{tmp_path / 'new.npz'}")[1:]] == expected(
        unbroken, images
    )


def test_images_of_a_folder_are_named_by_their_path(label, unbroken, images, tmp_path):
    names = ["b.png", "a.png", "sub/c.png", "sub/deep/d, 'e' é.png"]
    for name, image in zip(names, images, strict=False):
        save(tmp_path / "new" / name, image, "RGB" if name == "a.png" else "L")
    (tmp_path / "new" / "notes.txt").write_text("no image")
    rows = label(f"folder:{tmp_path / 'new'}")[1:]
    assert [row[0] for row in rows] == sorted(names)
    by_name = dict(zip(names, expected(unbroken, images), strict=False))
    assert {row[0]: row[1:] for row in rows} == by_name


def test_other_sizes_are_resized_as_in_training(label, unbroken, images, tmp_path):
    large = load_splits(make_config(**DIGITS | {"image_size": 0})).test.inputs[:7]
    assert large.shape == (7, 32, 32, 1)
    np.savez(tmp_path / "large.npz", x=large)
    from_npz = label(f"npz:{tmp_path / 'large.npz'}")[1:]
    assert [row[1:] for row in from_npz] == expected(unbroken, images)
    save(tmp_path / "new" / "0.png", large[0])
    assert label(f"folder:{tmp_path / 'new'}")[1:] == [["0.png", *from_npz[0][1:]]]


def test_many_images_go_through_in_parts(unbroken, images):
    model, config = opened(unbroken)
    assert config["class_names"] == list("0123456789")
    many = np.concatenate([images] * 3)
    np.testing.assert_allclose(
        predictor.predict(model, many, batch_size=4), predictor.predict(model, many), atol=1e-6
    )


def test_classes_keep_their_names(label, copy, images, tmp_path):
    path = copy / "config.json"
    config = json.loads(path.read_text())
    config["class_names"] = [f"number {k}, ‘{k}’" for k in range(10)]
    path.write_text(json.dumps(config))
    np.savez(tmp_path / "new.npz", x=images)
    for row in label(f"npz:{tmp_path / 'new.npz'}", copy)[1:]:
        assert row[1] in config["class_names"]


def refused(label, capsys, given, *run):
    """Return the one line that a refusal prints."""
    with pytest.raises(SystemExit) as caught:
        label(given, *run)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("\n") == 1
    return error


ARRAYS = {
    "floats": (
        {"x": np.ones((3, 8, 8, 1), "f4")},
        "Received: float32[3, 8, 8, 1] with values from 1 to 1. For values in [0, 1] store",
    ),
    "transparency": ({"x": np.zeros((3, 8, 8, 4), "u1")}, "or RGB, without transparency"),
    "three channels": ({"x": np.zeros((3, 8, 8, 3), "u1")}, r"uint8 [n, H, W, 1] with n > 0"),
    "one image": ({"x": np.zeros((8, 8), "u1")}, r"Received: uint8[8, 8]"),
    "no image": ({"x": np.zeros((0, 8, 8, 1), "u1")}, r"Received: [0, 8, 8, 1]"),
    "another name": (
        {"y": np.zeros(3), "z": np.zeros(3)},
        "must hold an array `x`. Received: y, z",
    ),
    "objects": ({"x": np.array([{}], object)}, "must be an .npz file of plain arrays"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(label, capsys, tmp_path, name):
    arrays, message = ARRAYS[name]
    np.savez(tmp_path / "bad.npz", **arrays)
    assert message in refused(label, capsys, f"npz:{tmp_path / 'bad.npz'}")


@pytest.mark.parametrize("content", ["text", "empty", "npy", "half"])
def test_files_that_are_no_npz_are_refused(label, capsys, images, tmp_path, content):
    path = tmp_path / "bad.npz"
    np.savez(path, x=images)
    if content == "npy":
        with open(path, "wb") as file:
            np.save(file, images)
    else:
        whole = path.read_bytes()
        path.write_bytes({"text": b"no array", "empty": b"", "half": whole[:200]}[content])
    assert f"{path} must be an .npz file" in refused(label, capsys, f"npz:{path}")


@pytest.mark.parametrize(
    "given, message",
    [
        ("npz:none.npz", "none.npz, which is not there"),
        ("folder:none", "must name a file or folder. Received: --input=folder:none, which is not"),
        ("npz:", "folder:PATH or npz:FILE or packed:DIR or an image file: this run was trained"),
        ("folder:", "trained on images. Received: --input=folder:"),
        ("images/", "must name a file or folder. Received: --input=images/, which is not there"),
        (
            "setup.py",
            "packed:DIR or an image file: this run was trained on images. Received: --input=s",
        ),
        ("csv:setup.py", "this run was trained on images. Received: --input=csv:setup.py"),
    ],
)
def test_inputs_that_are_not_there_are_refused(label, capsys, given, message):
    assert message in refused(label, capsys, given)


def test_an_empty_folder_and_a_broken_image_are_refused(label, capsys, tmp_path):
    (tmp_path / "new").mkdir()
    assert "must have images (.png, .jpg" in refused(label, capsys, f"folder:{tmp_path / 'new'}")
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")
    error = refused(label, capsys, f"folder:{tmp_path / 'new'}")
    assert "broken.png must be a readable PNG, JPEG, WebP or BMP" in error


def test_an_image_that_cannot_be_read_gets_a_line_with_the_reason(
    label, unbroken, images, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "new"
    for k in range(3):
        save(folder / f"{k}.png", images[k])
    (folder / "1a.png").write_bytes((folder / "1.png").read_bytes()[:-30])
    (folder / "._1.png").write_bytes(b"junk")
    header, *rows = label(f"folder:{folder}")
    assert header == ["name", "class", "confidence", "problem"]
    answers = expected(unbroken, images[:3])
    assert rows[:3] == [[f"{k}.png", *answers[k]] for k in range(3)]
    assert rows[3:] == [["1a.png", "", "", "image file is truncated"]]
    said = capsys.readouterr().out
    assert "labeled 3 images" in said and "such as 1a.png: image file is truncated\n" in said
    command = [f"--run={unbroken}", f"--input=folder:{folder}", f"--out={tmp_path / 'labels.csv'}"]
    assert call(predict, monkeypatch, *command) == predict.SKIPPED
    with pytest.raises(SystemExit) as caught:
        call(predict, monkeypatch, *command, "--on_error=stop")
    assert caught.value.code == 1
    assert "1a.png must be a readable" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["model.keras", "config.json", "summary.json"])
def test_a_run_that_is_not_finished_is_refused(label, capsys, copy, missing):
    (copy / missing).unlink()
    error = refused(label, capsys, "npz:x.npz", copy)
    assert f"--run must be a finished run. Received: {copy}, without {missing}." in error


def test_a_damaged_model_is_refused(label, capsys, copy):
    path = copy / "model.keras"
    path.write_bytes(path.read_bytes()[:500])
    np.savez(copy / "x.npz", x=np.zeros([1, 8, 8], np.uint8))
    assert "model.keras" in refused(label, capsys, f"npz:{copy / 'x.npz'}", copy)


def test_a_run_on_points_is_refused(label, capsys, copy):
    path = copy / "config.json"
    config = json.loads(path.read_text()) | {"input_shape": [2], "dataset": "moons"}
    path.write_text(json.dumps(config))
    error = refused(label, capsys, "npz:x.npz", copy)
    assert (
        "must be a run on images" in error and "trained on moons with inputs of shape [2]" in error
    )


def test_inputs_of_a_run_on_oblong_images_become_oblong(tmp_path, images):
    oblong = images[:, :, :6]
    np.savez(tmp_path / "new.npz", x=oblong)
    (tmp_path / "new").mkdir()
    for k, image in enumerate(oblong):
        Image.fromarray(image[..., 0]).save(tmp_path / "new" / f"{k}.png")
    for spec in (f"npz:{tmp_path / 'new.npz'}", f"folder:{tmp_path / 'new'}"):
        for size in ((8, 6), (4, 9)):
            [source] = sources([spec], Wanted({IMAGES: (*size, 1)}))
            [chunk] = source.chunks()
            assert len(chunk.names) == source.count == 7
            np.testing.assert_array_equal(chunk.inputs, resize_images(oblong, size))


@pytest.mark.parametrize("arguments", [[], ["--run=x"], ["--input=npz:x"], ["npz:x"]])
def test_missing_arguments_are_a_usage_error(monkeypatch, arguments):
    with pytest.raises(app.UsageError, match="--run and an input must be given"):
        call(predict, monkeypatch, *arguments)


def test_a_model_that_would_run_code_is_refused(label, capsys, copy):
    """A Lambda layer holds byte code; safe mode does not load it."""
    inputs = keras.Input([8, 8, 1])
    flat = keras.layers.Flatten()(inputs)
    logits = keras.layers.Lambda(lambda x: x[:, :10])(flat)
    keras.Model(inputs, {"logits": logits}).save(copy / "model.keras")
    np.savez(copy / "x.npz", x=np.zeros([1, 8, 8], np.uint8))
    error = refused(label, capsys, str(copy / "x.npz"), copy)
    assert "Lambda" in error or "safe" in error
