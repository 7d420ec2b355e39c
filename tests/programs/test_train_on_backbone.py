"""--backbone of the training programs: the run of a file of features, made once, for new inputs."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import runs
from berts import SMALL, random_tensors, write_checkpoint
from text_files import write_csv, write_tokenizer

from experiments import extract_features, train_features, train_images, train_text
from experiments.assemble import backbone_sets, features
from experiments.assemble.backbone_inputs import image_features, text_features
from experiments.assemble.build import load_splits
from experiments.compare_runs import differences
from experiments.options.presets import make_config
from ssl_weighting.data.features import extraction

SIDE, WIDTH = 8, 6
TINY = {
    "num_labeled": 6, "val_size": 6, "labeled_batch": 6, "unlabeled_ratio": 2, "steps": 6,
    "eval_every": 3, "checkpoint_every": 3, "log_every": 3, "inner_steps": 2,
    "lambda_warmup_steps": 2, "recipe": "paper",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small batches in the net, and nothing remembered of another test's files."""
    monkeypatch.setattr(features, "_BATCH", 4)
    backbone_sets._load.cache_clear()


@pytest.fixture
def images(tmp_path, rng):
    """An .npz file of images and a saved net; the options of a run on its features."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input([SIDE, SIDE, 3]), keras.layers.Flatten(), keras.layers.Dense(WIDTH)]
    )
    model.save(tmp_path / "net.keras")
    x = rng.integers(0, 256, (60, SIDE, SIDE, 3), np.uint8)
    labels = {"y_train": np.arange(30) % 3, "y_test": np.arange(10) % 3}
    np.savez(tmp_path / "own.npz", x_train=x[:30], x_test=x[30:40], x_unlabeled=x[40:], **labels)
    return {
        "dataset": f"npz:{tmp_path / 'own.npz'}",
        "backbone": f"saved:{tmp_path / 'net.keras'}",
    }


def train(program, monkeypatch, out, **options):
    given = [f"--{name}={value}" for name, value in (TINY | options).items()]
    assert runs.call(program, monkeypatch, *given, f"--out={out}") == 0
    return json.loads((out / "config.json").read_text())


@pytest.mark.parametrize(
    "algorithm", ["pseudo_label", pytest.param("fixmatch", marks=pytest.mark.slow)]
)
def test_the_run_is_the_one_of_a_file_of_the_same_features(
    images, tmp_path, monkeypatch, algorithm
):
    views = {"views": 2} if algorithm == "fixmatch" else {}
    given = [f"--{name}={value}" for name, value in (images | views).items()]
    if views:
        given.append("--seed=0")
    runs.call(extract_features, monkeypatch, *given, f"--out={tmp_path / 'f.npz'}")
    common = {"algorithm": algorithm, "cache_dir": tmp_path / "cache"}
    config = train(train_images, monkeypatch, tmp_path / "a", **common, **images, **views)
    del common["cache_dir"]
    of_file = {"dataset": f"features:{tmp_path / 'f.npz'}"}
    train(train_features, monkeypatch, tmp_path / "b", **common, **of_file)
    runs_differ = differences(tmp_path / "a", tmp_path / "b")
    assert not [line for line in runs_differ if "config" not in line], runs_differ
    assert config["inputs"]["image_size"] == str(SIDE) and config["config"]["model"] == "features"
    assert config["program"] == "train_images"


def test_features_are_made_once_for_all_seeds_and_heads(images, tmp_path, monkeypatch):
    made = []
    extract = extraction.extract
    monkeypatch.setattr(features, "extract", lambda *a: made.append(1) or extract(*a))
    cache = str(tmp_path / "cache")

    def load(**options):
        backbone_sets._load.cache_clear()
        return load_splits(make_config(**TINY | images | options), cache)

    first, again = load(), load(seed=2, algorithm="supervised", head="mlp")
    assert made == [1] and first.split_hash != again.split_hash
    viewed = load(algorithm="uda", views=2)
    assert load(algorithm="supervised", views=2).split_hash == viewed.split_hash, "they pair"
    assert made == [1, 1] and viewed.hash_without_u != first.hash_without_u
    (tmp_path / "own.npz").rename(tmp_path / "else.npz")
    load(dataset=f"npz:{tmp_path / 'else.npz'}")
    assert made == [1, 1, 1], "what a set is called is kept with its features"


def test_a_part_of_the_training_set_is_all_that_the_net_sees(images, monkeypatch):
    seen = []
    encode = features.ImageEncoder.__call__
    monkeypatch.setattr(
        features.ImageEncoder, "__call__", lambda *a: seen.append(len(a[1])) or encode(*a)
    )
    splits = load_splits(make_config(**TINY | images | {"num_train": 15, "num_test": 5}))
    assert sum(seen) == 15 + 5 + 15 and len(splits.test) == 5


def test_new_images_get_the_features_of_the_run(images, tmp_path, monkeypatch):
    config = train(
        train_images, monkeypatch, tmp_path / "run", **images, cache_dir=tmp_path / "cache"
    )
    net = image_features(config)
    with np.load(tmp_path / "own.npz") as file:
        found = net.encode(file["x_test"])
    splits = load_splits(make_config(**TINY | images), str(tmp_path / "cache"))
    np.testing.assert_array_equal(found, splits.test.inputs)
    assert (net.side, net.channels) == (SIDE, 3)
    config["inputs"]["backbone"] = "another net"
    with pytest.raises(ValueError, match="must have the weights that the run was trained on"):
        image_features(config)


def test_texts_are_trained_on_through_a_frozen_bert(tmp_path, monkeypatch):
    folder = write_tokenizer(tmp_path / "bert")
    write_checkpoint(folder, random_tensors(np.random.default_rng(3)))
    words = ["good", "great", "film", "movie", "was", "the"]
    texts = [f"{a} {b} {c}" for a in words for b in words for c in words if len({a, b, c}) == 3]
    rows = [(text, "pn"[k % 2] if k < 60 else "") for k, text in enumerate(texts)]
    write_csv(tmp_path / "t.csv", rows)
    options = {"dataset": f"csv:{tmp_path / 't.csv'}", "backbone": str(folder), "max_len": 9}
    config = train(
        train_text, monkeypatch, tmp_path / "run", **options, cache_dir=tmp_path / "cache"
    )
    assert config["input_shape"] == [SMALL.width] and config["inputs"]["image_size"] == ""
    splits = load_splits(make_config(**TINY | options), str(tmp_path / "cache"))
    assert splits.source.endswith(", features by bert")
    net = text_features(config)
    known = {row.tobytes() for row in splits.unlabeled.inputs}
    assert net.net(net.encode(texts[-1:])).tobytes() in known
    table = pd.read_parquet(tmp_path / "run" / "example_weights.parquet")
    assert table.text.tolist() == [texts[int(name.split()[1])] for name in table.name]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dataset": "cifar10", "backbone": "minilm"}, "for images"),
        ({"dataset": "imdb", "backbone": "efficientnet_lite0"}, "for texts"),
        ({"dataset": "moons", "backbone": "efficientnet_lite0"}, "none for points"),
        ({"dataset": "features:f.npz", "backbone": "minilm"}, "none for features"),
        ({"dataset": "cifar10", "model": "features"}, "--model=features goes with"),
        (
            {"dataset": "imdb", "backbone": "minilm", "algorithm": "uda", "text_augment": "none"},
            "--text_augment must be",
        ),
    ],
)
def test_nets_that_do_not_fit_the_data_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_config(**options)


@pytest.mark.parametrize(
    "given, needs",
    [
        ("--depth=10", "--model=wide_resnet"),
        ("--flip=false", "images, and --views where there is a --backbone"),
        ("--max_len=5", "texts (--dataset=imdb"),
        ("--smoke", "images or texts"),
    ],
)
def test_options_of_other_nets_are_refused(images, tmp_path, monkeypatch, capsys, given, needs):
    options = [f"--{name}={value}" for name, value in images.items()]
    with pytest.raises(SystemExit):
        runs.call(train_images, monkeypatch, *options, given, f"--out={tmp_path / 'run'}")
    assert f"it needs {needs}" in capsys.readouterr().err
