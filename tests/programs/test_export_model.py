"""A run's model in programs without this package: the same numbers as `predict`, by name."""

import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import runs
import tensorflow as tf
from absl import app
from feature_files import D, arrays, write_npz
from PIL import Image
from runs import DIGITS, MOONS, call, opened
from text_runs import tiny_options

from experiments import export_model
from experiments.assemble.build import load_splits
from experiments.options.kinds import TEXTS
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.serving.predictor import predict, predictors
from experiments.serving.source import Wanted, sources

# Opens the model with Keras alone; nothing of this repository may be imported.
ALONE = """
import json, sys
import numpy as np
import keras
folder, inputs, out = sys.argv[1:]
model = keras.models.load_model(folder + "/model.keras")
np.save(out, model.predict(np.load(inputs), verbose=0))
assert not [name for name in sys.modules if name.startswith(("ssl_weighting", "experiments"))]
json.load(open(folder + "/classes.json"))["class_names"]
"""


@pytest.fixture
def exported(monkeypatch, tmp_path, capsys):
    """Export a run; return the folder."""

    def exported(run):
        out = tmp_path / "exported"
        call(export_model, monkeypatch, f"--run={run}", f"--out={out}")
        assert capsys.readouterr().out.endswith(f"exported {run}: {out}\n")
        assert not list(tmp_path.glob("partial-*"))
        return out

    return exported


def alone(folder, inputs):
    """Return what the exported model says in a process of its own, away from this repository."""
    np.save(folder / "in.npy", inputs)
    command = [sys.executable, "-I", "-c", ALONE, str(folder), str(folder / "in.npy")]
    done = subprocess.run(
        [*command, str(folder / "out.npy")], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.load(folder / "out.npy")
    for name in ("in.npy", "out.npy"):
        (folder / name).unlink()
    return found


def served(folder, name="serving_default", **inputs):
    """Return what a signature of the SavedModel says, as arrays."""
    answers = tf.saved_model.load(str(folder / "saved_model")).signatures[name](
        **{key: tf.constant(value) for key, value in inputs.items()}
    )
    return {key: value.numpy() for key, value in answers.items()}


def check_served(answers, expected, names):
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)
    assert [name.decode() for name in answers["class_names"][0]] == list(names)
    best = [names[k].encode() for k in expected.argmax(1)]
    assert answers["class_name"].tolist() == best


def test_images(exported):
    run = runs.unbroken_run()[0]
    model, config = opened(run)
    images = load_splits(make_config(**DIGITS)).test.inputs[:7]
    folder, expected = exported(run), predict(model, images)
    found = alone(folder, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    check_served(served(folder, images=images), expected, config["class_names"])
    assert json.loads((folder / "classes.json").read_text()) == {
        "class_names": list("0123456789"),
        "inputs": {"kind": "images", "shape": [None, 8, 8, 1], "dtype": "uint8"},
        "run": "run",
    }
    assert {f.name for f in folder.iterdir()} == {"model.keras", "saved_model", "classes.json"}
    exported(run)  # in its own place again


def test_encoded_images_are_labeled_as_files_are(exported, tmp_path):
    run = runs.unbroken_run()[0]
    model, config = opened(run)
    rng = np.random.default_rng(0)
    names, (tmp_path / "new").mkdir(), rng = [], None, np.random.default_rng(0)
    for k, suffix in enumerate(("png", "jpg", "webp", "bmp")):
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "new" / f"{k}.{suffix}")
    [source] = sources([str(tmp_path / "new")], Wanted({k: (8, 8, 1) for k in KINDS_OF_IMAGES}))
    [chunk] = source.chunks()
    contents = [(tmp_path / "new" / name).read_bytes() for name in chunk.names]
    answers = served(exported(run), "encoded", image_bytes=contents)
    check_served(answers, predict(model, chunk.inputs), config["class_names"])
