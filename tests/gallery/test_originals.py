"""What a page shows of a run on features: the pictures and texts that the features were made of."""

import dataclasses
import types

import gallery_pages
import numpy as np
import pytest
from PIL import Image

from experiments.assemble import contaminants
from experiments.assemble.contaminants import shown_twins
from experiments.gallery.originals import kind_of_page, pictures_of, texts_of
from experiments.gallery.rows import Part
from experiments.options.config import Config
from experiments.options.presets import make_config
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.images.by_name import load_images


def config_of(**options):
    """Return options as attributes, without those that they would need beside them."""
    return types.SimpleNamespace(**vars(Config()) | options)


def on_features(tmp_path, names, **options):
    """Return the examples of a run on a backbone's features of a set."""
    rows = gallery_pages.rows(tmp_path, names)
    given = np.array(names, object)
    inputs = np.ones((len(names), 3), np.float32)
    examples = Examples(inputs, np.zeros(len(names), np.int32), names=given)
    config = config_of(model="features", **options)
    return dataclasses.replace(rows, config=config, parts=(Part("unlabeled", examples),))


def test_images_of_a_set_are_found_by_name(tmp_path):
    raw = load_images("digits")
    names = [str(raw.test.names[3]), str(raw.train.names[40]), str(raw.train.names[2])]
    side, pictures = pictures_of(on_features(tmp_path, names, dataset="digits"))
    expected = [raw.test.inputs[3], raw.train.inputs[40], raw.train.inputs[2]]
    assert side == 32
    for picture, image in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(picture, image[..., 0])


def test_an_image_that_is_gone_is_missed_by_name(tmp_path):
    rows = on_features(tmp_path, ["train[0]", "train[99999]"], dataset="digits")
    with pytest.raises(ValueError, match=r"digits has no train\[99999\] any more"):
        pictures_of(rows)


def test_images_are_shown_as_they_were_before_they_were_resized(tmp_path):
    names = ["train[5]", "train[1]"]
    rows = gallery_pages.rows(tmp_path, names)
    small = config_of(dataset="digits", image_size=4)
    side, pictures = pictures_of(dataclasses.replace(rows, config=small))
    assert side == 32
    np.testing.assert_array_equal(next(pictures), load_images("digits").train.inputs[5, ..., 0])


def test_shuffled_pixels_are_shown_as_the_net_saw_them(tmp_path):
    rows = gallery_pages.rows(tmp_path, ["train[5]", "train[1]"])
    corrupt = config_of(dataset="digits", image_size=4, contamination="corrupt")
    _, pictures = pictures_of(dataclasses.replace(rows, config=corrupt))
    np.testing.assert_array_equal(next(pictures), rows.parts[0].examples.inputs[0, ..., 0])


def corrupt(rows, groups):
    """Return the rows as of a run that knows which examples of U are corrupt."""
    weights = rows.record.weights | {"group": np.array(groups, object)}
    return dataclasses.replace(rows, record=dataclasses.replace(rows.record, weights=weights))


def test_a_corrupt_image_is_shown_as_the_twin_whose_features_the_net_saw(tmp_path):
    raw = load_images("digits")
    names = [str(raw.train.names[k]) for k in (40, 2)]
    given = {"dataset": "digits", "backbone": "efficientnet_lite0", "contamination": "corrupt"}
    rows = corrupt(on_features(tmp_path, names, **given), ["clean", "corrupt"])
    _, pictures = pictures_of(rows)
    clean, twin = pictures
    image = raw.train.inputs[2, ..., 0]
    np.testing.assert_array_equal(clean, raw.train.inputs[40, ..., 0])
    np.testing.assert_array_equal(np.sort(twin, None), np.sort(image, None))
    assert (twin != image).mean() > 0.3
    known = shown_twins(make_config(**given), None)
    np.testing.assert_array_equal(twin, known[names[1]][..., 0])


def test_a_corrupt_text_is_shown_as_the_words_that_the_net_saw(tmp_path, monkeypatch):
    table = tmp_path / "set.csv"
    lines = [f"id{k},the text {k},{('no', 'yes')[k % 2]}" for k in range(20)]
    table.write_text("\n".join(["key,text,label", *lines]) + "\n")
    options = {"dataset": f"csv:{table}", "id_column": "key", "contamination": "corrupt"}
    monkeypatch.setattr(contaminants, "shown_twins", lambda *_: {"id0": "words of others"})
    rows = corrupt(on_features(tmp_path, ["id7", "id0"], **options), ["clean", "corrupt"])
    assert texts_of(rows) == ["the text 7", "words of others"]


def test_files_of_a_folder_are_shown_whole(tmp_path):
    for k, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png", "unlabeled/u.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((200, 400, 3), 50 * k, np.uint8)).save(tmp_path / "set" / name)
    rows = on_features(tmp_path, ["unlabeled/u.png", "a/2.png"], dataset=f"folder:{tmp_path}/set")
    side, pictures = pictures_of(rows)
    found = list(pictures)
    assert side == 96 and [x.shape for x in found] == [(48, 96, 3)] * 2
    assert [int(x.mean()) for x in found] == [200, 50]
    assert kind_of_page(rows.config) == "images" and texts_of(rows) is None


def test_texts_of_a_table_are_found_by_name(tmp_path):
    table = tmp_path / "set.csv"
    lines = [f"id{k},the text {k},{('no', 'yes')[k % 2]}" for k in range(20)]
    table.write_text("\n".join(["key,text,label", *lines]) + "\n")
    options = {"dataset": f"csv:{table}", "id_column": "key"}
    rows = on_features(tmp_path, ["id7", "id0", "id12"], **options)
    assert texts_of(rows) == ["the text 7", "the text 0", "the text 12"]
    assert kind_of_page(rows.config) == "texts"
