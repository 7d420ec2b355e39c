"""Runs on a backbone's features: raw inputs and features get one answer, here and exported."""

import csv

import keras
import numpy as np
import pytest
import runs
import tensorflow as tf
from berts import random_tensors, write_checkpoint
from PIL import Image
from text_files import write_csv, write_tokenizer
from tokenizers import Tokenizer

from experiments import export_model, predict, train_images, train_text
from experiments.assemble import backbone_sets, backbones
from experiments.assemble.backbone_inputs import ImageFeatures
from experiments.assemble.build import load_splits
from experiments.assemble.features import ImageEncoder
from experiments.options.presets import make_config
from experiments.serving import portable
from ssl_weighting.models.mlp import mlp
from ssl_weighting.models.split_head import mean_model

SIDE, WIDTH, CHANNELS = 8, 6, 3
TINY = {
    "num_labeled": 6, "val_size": 6, "labeled_batch": 6, "unlabeled_ratio": 2, "steps": 4,
    "eval_every": 4, "checkpoint_every": 4, "weighting": "fixed", "algorithm": "pseudo_label",
}  # fmt: skip


@pytest.fixture(autouse=True)
def forgetful():
    backbone_sets._load.cache_clear()


def train(program, monkeypatch, folder, **options):
    options = TINY | options | {"cache_dir": folder / "cache", "out": folder / "run"}
    assert runs.call(program, monkeypatch, *(f"--{n}={v}" for n, v in options.items())) == 0
    config = {name: value for name, value in options.items() if name not in ("cache_dir", "out")}
    return load_splits(make_config(**config), str(folder / "cache")).test.inputs


def labels(monkeypatch, folder, *given):
    """Return the probabilities that the program writes, by name."""
    out = folder / "labels.csv"
    given = (f"--run={folder / 'run'}", "--probabilities", f"--out={out}", *map(str, given))
    assert runs.call(predict, monkeypatch, *given) == 0
    with open(out, newline="") as file:
        _, *rows = csv.reader(file)
    return {row[0]: [float(x) for x in row[-3:]] for row in rows}


def exported(monkeypatch, folder):
    given = (f"--run={folder / 'run'}", f"--out={folder / 'exported'}")
    runs.call(export_model, monkeypatch, *given)
    model = keras.models.load_model(folder / "exported" / "model.keras")
    served = tf.saved_model.load(str(folder / "exported" / "saved_model")).signatures
    return lambda x: model.predict(x, verbose=0), served


def test_images(tmp_path, monkeypatch, rng):
    keras.utils.set_random_seed(1)
    inputs = keras.Input([SIDE, SIDE, CHANNELS])
    x = keras.layers.Dense(WIDTH)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, x).save(tmp_path / "net.keras")
    x = rng.integers(0, 256, (60, SIDE, SIDE, CHANNELS), np.uint8)
    of = {"x_train": x[:30], "y_train": np.arange(30) % 3, "x_unlabeled": x[40:]}
    np.savez(tmp_path / "own.npz", x_test=x[30:40], y_test=np.arange(10) % 3, **of)
    options = {"backbone": f"saved:{tmp_path / 'net.keras'}", "dataset": f"npz:{tmp_path}/own.npz"}
    features = train(train_images, monkeypatch, tmp_path, **options)
    large = rng.integers(0, 256, (3, 11, 13, CHANNELS), np.uint8)
    np.savez(tmp_path / "new.npz", x=x[30:40])
    np.savez(tmp_path / "large.npz", x=large)
    np.savez(tmp_path / "features.npz", x=features)
    (tmp_path / "files").mkdir()
    for k in range(10):
        Image.fromarray(x[30 + k]).save(tmp_path / "files" / f"{k}.png")
    model, _ = runs.opened(tmp_path / "run")
    expected = keras.ops.softmax(model(features)["logits"]).numpy()
    for given in ("new.npz", "files", "features:features.npz"):
        prefix, _, name = given.rpartition(":")
        found = labels(monkeypatch, tmp_path, f"{prefix}{prefix and ':'}{tmp_path / name}")
        np.testing.assert_allclose(list(found.values()), expected, atol=2e-6)
    say, served = exported(monkeypatch, tmp_path)
    np.testing.assert_allclose(say(x[30:40]), expected, atol=1e-6)
    found = labels(monkeypatch, tmp_path, tmp_path / "large.npz")
    np.testing.assert_allclose(say(large), list(found.values()), atol=2e-6)
    contents = [(tmp_path / "files" / f"{k}.png").read_bytes() for k in range(10)]
    answers = served["encoded"](image_bytes=tf.constant(contents))
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)
    answers = served["serving_default"](images=tf.constant(large))
    np.testing.assert_allclose(answers["probabilities"], say(large), atol=1e-6)


def test_texts(tmp_path, monkeypatch):
    bert = write_tokenizer(tmp_path / "bert")
    write_checkpoint(bert, random_tensors(np.random.default_rng(3)))
    words = ["good", "great", "film", "movie", "was", "the"]
    texts = [f"{a} {b} {c}" for a in words for b in words for c in words if len({a, b, c}) == 3]
    rows = [(text, "pnm"[k % 3] if k < 60 else "") for k, text in enumerate(texts)]
    options = {"dataset": f"csv:{write_csv(tmp_path / 't.csv', rows)}", "backbone": str(bert)}
    features = train(train_text, monkeypatch, tmp_path, **options, max_len=9)
    new = [*texts[-5:], "good " * 30]
    write_csv(tmp_path / "new.csv", [(text,) for text in new], ("text",))
    found = list(labels(monkeypatch, tmp_path, tmp_path / "new.csv").values())
    np.savez(tmp_path / "features.npz", x=features)
    of_features = labels(monkeypatch, tmp_path, f"features:{tmp_path / 'features.npz'}")
    model, _ = runs.opened(tmp_path / "run")
    expected = keras.ops.softmax(model(features)["logits"]).numpy()
    np.testing.assert_allclose(list(of_features.values()), expected, atol=2e-6)
    say, served = exported(monkeypatch, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "exported" / "tokenizer.json"))
    tokens = np.array([text.ids for text in tokenizer.encode_batch(new)], "int32")
    np.testing.assert_allclose(say(tokens), found, atol=1e-5)
    answers = served["serving_default"](tokens=tf.constant(tokens))
    np.testing.assert_allclose(answers["probabilities"], found, atol=1e-5)


NETS = [
    "efficientnet_lite0",
    pytest.param("keras_applications:MobileNetV2", marks=pytest.mark.slow),  # pixels to [-1, 1]
    pytest.param("keras_applications:VGG16", marks=pytest.mark.slow),  # BGR less a mean
    pytest.param("keras_applications:DenseNet121", marks=pytest.mark.slow),  # (x - mean) / std
]


@pytest.mark.parametrize("name", NETS)
def test_nets_with_their_own_scaling(name, tmp_path, monkeypatch, rng):
    made = backbones.application
    monkeypatch.setattr(backbones, "application", lambda name, side: made(name, side, weights=None))
    net = backbones.image_backbone(name, 32, None)
    encoder = ImageEncoder(net, 0, False, 0)
    head = mlp(net.width, CHANNELS, hidden_layers=0)
    features = ImageFeatures(net.side, net.channels, encoder, net.net)
    model = portable._behind_images(head, features).model
    model.save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras")
    for size in (32, 20, 45):
        images = rng.integers(0, 256, (2, size, size, 3), np.uint8)
        z = head(encoder(images, np.arange(2), 0))["logits"]
        found = model.predict(images, verbose=0)
        np.testing.assert_allclose(found, keras.ops.softmax(z), atol=1e-5)


def test_an_ensemble_answers_with_the_mean_of_its_probabilities(tmp_path, rng):
    members = [mlp(4, 3, seed=seed) for seed in range(2)]
    config = {"config": {"model": "features"}, "input_shape": [4]}
    model = portable.portable(mean_model(members), config).model
    model.save(tmp_path / "m.keras")
    x = rng.normal(size=(5, 4)).astype(np.float32)
    mean = np.mean([keras.ops.softmax(one(x)["logits"]) for one in members], axis=0)
    found = keras.models.load_model(tmp_path / "m.keras").predict(x, verbose=0)
    np.testing.assert_allclose(found, mean, atol=1e-6)
