"""A run's model in programs without this package: the same numbers as `predict`, by name."""

import json
import subprocess
import sys

import numpy as np
import pytest
import runs
import tensorflow as tf
from absl import app
from feature_files import arrays, write_npz
from PIL import Image
from runs import DIGITS, MOONS, call, opened
from text_runs import tiny_options
from tokenizers import Tokenizer

from experiments import export_model
from experiments.assemble.build import load_splits
from experiments.options.kinds import IMAGES, KINDS, TEXTS
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.serving.predictor import predict, predictors
from experiments.serving.source import Wanted, sources

# Opens models with Keras alone; nothing of this repository may be imported.
ALONE = """
import json, sys
import numpy as np
import keras
for line in sys.stdin:
    folder = line.strip()
    model = keras.models.load_model(folder + "/model.keras")
    np.save(folder + "/out.npy", model.predict(np.load(folder + "/in.npy"), verbose=0))
    assert not [name for name in sys.modules if name.startswith(("ssl_weighting", "experiments"))]
    json.load(open(folder + "/classes.json"))["class_names"]
    print("done", flush=True)
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


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return what an exported model says in another process, away from this repository."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    errors = elsewhere / "errors.txt"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors.open("w")}
    command = [sys.executable, "-I", "-c", ALONE]
    with subprocess.Popen(command, cwd=elsewhere, text=True, **pipes) as process:

        def alone(folder, inputs):
            np.save(folder / "in.npy", inputs)
            print(folder, file=process.stdin, flush=True)
            assert process.stdout.readline() == "done\n", errors.read_text()
            found = np.load(folder / "out.npy")
            for name in ("in.npy", "out.npy"):
                (folder / name).unlink()
            return found

        yield alone
        process.stdin.close()
    pipes["stderr"].close()


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


def test_images(exported, alone, caplog):
    run = runs.unbroken_run()[0]
    model, config = opened(run)
    images = load_splits(make_config(**DIGITS)).test.inputs[:7]
    for name in ("absl", "tensorflow"):  # as a program of absl has them
        caplog.set_level("INFO", name)
    folder, expected = exported(run), predict(model, images)
    assert not [r for r in caplog.records if r.name in ("absl", "tensorflow") and r.levelno < 30]
    found = alone(folder, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    check_served(served(folder, images=images), expected, config["class_names"])
    assert json.loads((folder / "classes.json").read_text()) == {
        "class_names": list("0123456789"),
        "inputs": {
            "kind": "images",
            "shape": [None, 8, 8, 1],
            "dtype": "uint8",
            "files": [8, 8, 1],
        },
        "run": "run",
    }
    assert {f.name for f in folder.iterdir()} == {"model.keras", "saved_model", "classes.json"}
    exported(run)  # in its own place again


def test_encoded_images_are_labeled_as_files_are(exported, tmp_path):
    run = runs.unbroken_run()[0]
    model, config = opened(run)
    rng = np.random.default_rng(0)
    (tmp_path / "new").mkdir()
    for k, suffix in enumerate(("png", "jpg", "webp", "bmp")):
        noise = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "new" / f"{k}.{suffix}", quality=90)
    [source] = sources([str(tmp_path / "new")], Wanted({IMAGES: (8, 8, 1)}))
    [chunk] = source.chunks()
    contents = [(tmp_path / "new" / name).read_bytes() for name in chunk.names]
    folder = exported(run)
    answers = served(folder, "encoded", image_bytes=contents)
    check_served(answers, predict(model, chunk.inputs), config["class_names"])
    with pytest.raises(tf.errors.InvalidArgumentError):
        served(folder, "encoded", image_bytes=[contents[0][:-40]])


@pytest.mark.parametrize(
    "options, program",
    [
        ({"head": "linear"}, "train_features"),
        pytest.param({"head": "mlp"}, "train_features", marks=pytest.mark.slow),
        pytest.param(MOONS | {"weighting": "fixed"}, "train_synthetic", marks=pytest.mark.slow),
    ],
)
def test_features_and_points(exported, alone, tmp_path, options, program):
    if program == "train_features":
        sizes = {"num_labeled": 9, "val_size": 9, "labeled_batch": 6, "unlabeled_ratio": 2}
        sizes |= {"steps": 4, "eval_every": 4, "checkpoint_every": 4, "weighting": "fixed"}
        options = options | sizes | {"dataset": write_npz(tmp_path / "f.npz", **arrays())}
    config = make_config(**options, out=str(tmp_path / "run"))
    running.execute(config, program)
    x = load_splits(config).test.inputs
    model, config = opened(tmp_path / "run", tuple(KINDS.values()))
    folder, expected = exported(tmp_path / "run"), predict(model, x)
    np.testing.assert_allclose(alone(folder, x), expected, atol=1e-6)
    check_served(served(folder, features=x), expected, config["class_names"])


TEXTS_TO_SAY = ["good film", "the plot was dull ! " * 9 + "bad", "[CLS] a great movie"]


def tokens_by_hand(folder, texts):
    """Return tokens as docs/predict.md says."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return np.array([found.ids for found in tokenizer.encode_batch(texts)], "int32")


@pytest.mark.parametrize("trainable", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_texts(exported, alone, tmp_path, trainable):
    options = tiny_options(tmp_path) | {
        "algorithm": "supervised", "bert_trainable_layers": trainable, "steps": 4, "eval_every": 4,
    }  # fmt: skip
    running.execute(make_config(**options, out=str(tmp_path / "run")), "train_text")
    model, config = opened(tmp_path / "run")
    expected = predictors(model, config)[TEXTS](TEXTS_TO_SAY)
    folder = exported(tmp_path / "run")
    tokens = tokens_by_hand(folder, TEXTS_TO_SAY)
    # Frozen layers are read as float16.
    np.testing.assert_allclose(alone(folder, tokens), expected, atol=1e-4 if trainable else 1e-6)
    answers = served(folder, tokens=tokens)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-4)
    about = json.loads((folder / "classes.json").read_text())
    assert about["inputs"] == {"kind": "tokens", "shape": [None, 9], "dtype": "int32"}


@pytest.mark.parametrize("arguments", [[], ["--run=x"], ["--out=x"], ["--run=x", "--out=y", "z"]])
def test_missing_arguments_are_a_usage_error(monkeypatch, arguments):
    with pytest.raises(app.UsageError, match="--run and --out must be given"):
        call(export_model, monkeypatch, *arguments)


@pytest.mark.parametrize("kind", ["a file", "a folder of something", "no folder", "no run"])
def test_what_cannot_be_is_refused_before_any_work(monkeypatch, tmp_path, capsys, kind):
    monkeypatch.setattr(export_model, "load_model", lambda *run: pytest.fail("read the model"))
    out, run = tmp_path / "out", runs.unbroken_run()[0]
    capsys.readouterr()
    if kind == "a file":
        out.write_text("mine")
    elif kind == "a folder of something":
        (out / "more").mkdir(parents=True)
    elif kind == "no folder":
        out = out / "no" / "such"
    else:
        run = tmp_path / "no_run"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit):
        call(export_model, monkeypatch, f"--run={run}", f"--out={out}")
    error = capsys.readouterr().err
    assert "--run must be a finished" in error if kind == "no run" else "--out must" in error
    assert sorted(tmp_path.rglob("*")) == before and error.count("\n") == 1
