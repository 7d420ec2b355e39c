"""The program that makes features: images and texts end to end, resuming, what it refuses."""

import keras
import numpy as np
import pytest
from berts import SMALL, numpy_bert, random_tensors, write_checkpoint
from PIL import Image
from runs import Killed, call
from text_files import SPECIAL, WORDS, write_csv, write_tokenizer

from experiments import extract_features
from experiments.assemble import backbones, features
from experiments.assemble.features import _STREAM, ImageEncoder
from ssl_weighting.data.features import extraction
from ssl_weighting.data.features.extraction import made_by
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.keyed_random import example_keys, uniform

SIDE, WIDTH = 8, 3


@pytest.fixture
def net(tmp_path):
    """A small model of the images of this file, saved."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input([SIDE, SIDE, 3]), keras.layers.Flatten(), keras.layers.Dense(WIDTH)]
    )
    model.save(tmp_path / "net.keras")
    return model


@pytest.fixture
def images(tmp_path, rng):
    """An .npz file of 20 labeled images, 5 of them for testing, and 11 unlabeled ones."""
    x = rng.integers(0, 256, (31, SIDE, SIDE, 3), np.uint8)
    arrays = {"x_train": x[:15], "x_test": x[15:20], "x_unlabeled": x[20:]}
    labels = {"y_train": np.arange(15) % 3, "y_test": np.arange(5) % 3}
    np.savez(tmp_path / "own.npz", **arrays, **labels, class_names=np.array(["x", "y", "z"]))
    return arrays | labels


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Run the program on `own.npz` or another set; return the arrays of its file."""
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    monkeypatch.setattr(features, "_BATCH", 4)

    def make(*arguments, out="f.npz", **options):
        options = {
            "dataset": f"npz:{tmp_path / 'own.npz'}",
            "backbone": f"saved:{tmp_path / 'net.keras'}",
            "out": tmp_path / out,
            "cache_dir": tmp_path / "cache",
        } | options
        given = [f"--{name}={value}" for name, value in options.items()]
        call(extract_features, monkeypatch, *given, *arguments)
        with np.load(tmp_path / out) as file:
            return dict(file)

    return make


def of(net, views):
    return keras.ops.convert_to_numpy(net(views))


def test_features_of_images_are_those_of_the_model_on_clean_images(make, net, images, tmp_path):
    found = make()
    names = {f"names_{part}" for part in ("train", "test", "unlabeled")}
    assert set(found) == {*images, "class_names", *names}
    assert found["class_names"].tolist() == list("xyz")
    assert found["names_unlabeled"][:2].tolist() == ["x_unlabeled[0]", "x_unlabeled[1]"]
    for part in ("train", "test", "unlabeled"):
        expected = of(net, clean_view(images[f"x_{part}"]))
        assert found[f"x_{part}"].dtype == np.float32
        np.testing.assert_allclose(found[f"x_{part}"], expected, atol=1e-5)
    np.testing.assert_array_equal(found["y_train"], images["y_train"])
    assert not (tmp_path / "f.npz.parts").exists()


def test_views_are_the_projects_own_by_seed_row_and_view(make, net, images):
    found = make("--views=2", "--seed=5", "--noflip")
    assert found["x_unlabeled"].shape == (11, 3, WIDTH) and found["x_train"].shape == (15, WIDTH)
    a, rows = Augmentation.fixmatch(flip=False), np.arange(11)
    for view, (augment, draws) in enumerate(
        [(a.weak, a.weak_draws), (a.strong, a.strong_draws), (a.strong, a.strong_draws)]
    ):
        keys = example_keys(5, _STREAM, rows, np.full(11, view), min(view, 1))
        expected = of(net, augment(images["x_unlabeled"], uniform(keys, draws)))
        np.testing.assert_allclose(found["x_unlabeled"][:, view], expected, atol=1e-5)
    assert not np.allclose(found["x_unlabeled"][:, 1], found["x_unlabeled"][:, 2])


def test_without_unlabeled_examples_the_training_set_has_the_views(make, net, images, tmp_path):
    np.savez(tmp_path / "own.npz", **{k: v for k, v in images.items() if k != "x_unlabeled"})
    found = make("--views=1", "--num_train=6", "--num_test=2")
    assert found["x_train"].shape == (6, 2, WIDTH) and found["x_test"].shape == (2, WIDTH)
    assert np.bincount(found["y_train"]).tolist() == [2, 2, 2]


def test_of_the_unlabeled_examples_no_more_are_taken_than_of_the_labeled_ones(make, net, images):
    found = make("--num_train=6")
    assert len(found["x_train"]) == 6 and len(found["x_test"]) == 5
    places = [int(name[len("x_unlabeled[") : -1]) for name in found["names_unlabeled"]]
    assert len(places) == 6 and places == sorted(set(places)) != list(range(6))
    expected = of(net, clean_view(images["x_unlabeled"][places]))
    np.testing.assert_allclose(found["x_unlabeled"], expected, atol=1e-5)
    assert len(make("--num_train=15")["x_unlabeled"]) == 11


def test_a_killed_call_goes_on_and_its_file_is_that_of_the_unbroken_one(
    make, net, images, monkeypatch, tmp_path, capsys
):
    unbroken = make("--views=1", out="unbroken.npz")
    encode, calls = ImageEncoder.__call__, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        return encode(*arguments)

    monkeypatch.setattr(ImageEncoder, "__call__", dies)
    with pytest.raises(Killed):
        make("--views=1")
    assert not (tmp_path / "f.npz").exists()
    resumed = make("--views=1")
    assert len(calls) == 3 + 4  # of six chunks two were there
    assert set(resumed) == set(unbroken)
    for name, array in unbroken.items():
        assert resumed[name].tobytes() == array.tobytes()
    make("--views=1")
    assert len(calls) == 7 and "made already" in capsys.readouterr().out


def test_other_inputs_weights_or_options_make_the_file_again(make, net, images, tmp_path):
    seen = []

    def digest(*arguments):
        make(*arguments)
        seen.append(made_by(tmp_path / "f.npz")["digest"])

    digest()
    digest("--views=1")
    digest("--views=1", "--seed=2")
    changed = images | {"x_train": images["x_train"].copy()}
    changed["x_train"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "own.npz", **changed)
    digest()
    net.layers[-1].bias.assign([1, 2, 3])
    net.save(tmp_path / "net.keras")
    digest()
    assert len(set(seen)) == 5


def test_a_folder_keeps_its_names_and_lists_what_it_skips(make, net, rng, tmp_path):
    for name in [*(f"{c}/{k}.png" for c in "ab" for k in range(5)), "unlabeled/p.png"]:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7), np.uint8)).save(tmp_path / "set" / name)
    (tmp_path / "set/unlabeled/broken.png").write_bytes(b"no picture")
    found = make(dataset=f"folder:{tmp_path / 'set'}")
    assert found["names_unlabeled"].tolist() == ["unlabeled/p.png"]
    raw = load_images(f"folder:{tmp_path / 'set'}", image_size=SIDE)
    grey = clean_view(np.repeat(raw.test.inputs, 3, axis=3))
    np.testing.assert_allclose(found["x_test"], of(net, grey), atol=1e-5)
    names = [*found["names_train"], *found["names_test"]]
    assert sorted(names) == sorted(f"{c}/{k}.png" for c in "ab" for k in range(5))
    text = (tmp_path / "f.skipped.csv").read_text()
    assert text.startswith("name,problem\nunlabeled/broken.png,")


@pytest.fixture
def bert(tmp_path):
    """A small BERT with a tokenizer, and its tensors."""
    tensors = random_tensors(np.random.default_rng(3))
    folder = write_tokenizer(tmp_path / "bert")
    write_checkpoint(folder, tensors)
    return tensors


def mean_over_tokens(tensors, texts):
    words = [*SPECIAL, *WORDS]
    found = []
    for text in texts:
        ids = np.array([[words.index(w) for w in ("[CLS]", *text.split(), "[SEP]")]])
        found.append(numpy_bert(tensors, ids, SMALL)[0][0].mean(0))
    return np.array(found)


def test_features_of_texts_are_the_mean_over_tokens_of_bert(make, bert, tmp_path):
    good, bad = (
        ["good film", "the film was great", "good"],
        ["bad movie", "dull", "the plot was bad"],
    )
    rows = [(text, "p") for text in good] + [(text, "n") for text in bad]
    write_csv(tmp_path / "t.csv", [*rows, ("a movie", ""), ("good and dull film", "")])
    options = {"dataset": f"csv:{tmp_path / 't.csv'}", "backbone": tmp_path / "bert", "max_len": 9}
    found = make(**options)
    texts = {"n": bad, "p": good}
    assert sorted(found["class_names"]) == ["n", "p"] and len(found["x_train"]) == 4
    expected = mean_over_tokens(bert, ["a movie", "good and dull film"])
    np.testing.assert_allclose(found["x_unlabeled"], expected, atol=1e-5)
    for part in ("train", "test"):
        for x, y in zip(found[f"x_{part}"], found[f"y_{part}"], strict=True):
            known = mean_over_tokens(bert, texts[found["class_names"][y]])
            assert np.abs(known - x).max(axis=1).min() < 1e-5
    viewed = make("--views=2", **options)["x_unlabeled"]
    assert viewed.shape == (2, 3, SMALL.width)
    np.testing.assert_allclose(viewed[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": ""}, "--dataset must be given"),
        ({"backbone": "resnet"}, "--backbone must be efficientnet_lite0, keras_app"),
        ({"backbone": "keras_applications:"}, "--backbone must be efficientnet_lite0"),
        ({"backbone": "saved:none.keras"}, "must name a file that is there"),
        ({"dataset": "rotten_tomatoes", "backbone": "efficientnet_lite0"}, "must be minilm, a fo"),
        ({"out": "f.csv"}, "--out must end in .npz"),
        ({"out": "none/f.npz"}, "in a folder that is there"),
        ({"out": "own.npz"}, "--out must be another file than --dataset"),
        ({"out": "other.npz"}, "`out` must be a new file, or one of features"),
        ({"views": -1}, "--views must be from 0 to 64"),
        ({"seed": 2}, "--seed would do nothing here: it needs --views"),
        ({"num_train": -1}, "--num_train must be 0 or more"),
        ({"max_len": 5}, "--max_len would do nothing here"),
        ({"dataset": "folder:.", "num_test": 5}, "must be left out for folder:PATH"),
        ({"dataset": "nope"}, "`dataset` must be one of cifar10"),
    ],
)
def test_refusals_are_one_line(make, net, images, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", mine=np.ones(3))
    monkeypatch.setattr(features, "make_features", None)  # nothing is begun
    with pytest.raises(SystemExit) as caught:
        make(**options)
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_views_of_a_folder_need_a_test_set_that_has_none(make, net, rng, tmp_path, capsys):
    for name in (f"{c}/{k}.png" for c in "ab" for k in range(5)):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7), np.uint8)).save(tmp_path / "set" / name)
    with pytest.raises(SystemExit):
        make("--views=1", dataset=f"folder:{tmp_path / 'set'}")
    assert "--views must be 0 for a folder without unlabeled/ and test/" in capsys.readouterr().err


def test_a_net_of_keras_applications_gets_the_pixels_that_it_was_trained_on():
    model, preprocess = backbones.application("MobileNetV2", 32, weights=None)
    assert model.output_shape == (None, 1280)
    np.testing.assert_allclose(preprocess(np.array([0.0, 127.5, 255.0])), [-1, 0, 1])
    with pytest.raises(ValueError, match=r"NAME must have one of these names: .*MobileNetV2"):
        backbones.application("MobileNet9", 32, weights=None)


def test_small_images_are_enlarged_and_grey_ones_get_colours():
    seen = []

    def net(views):
        seen.append(views.shape[1:])
        return views[:, 0, 0]

    backbone = backbones.ImageBackbone(net, 16, 3, 3, "a net")
    grey = np.full([2, 8, 8, 1], 255, np.uint8)
    found = ImageEncoder(backbone, 0, True, 1)(grey, np.arange(2), 0)
    assert seen == [(16, 16, 3)]
    np.testing.assert_allclose(found, 1.0)


def saved(path, outputs_of, shape=(SIDE, SIDE, 3)):
    inputs = keras.Input(shape)
    keras.Model(inputs, outputs_of(inputs)).save(path)
    return f"saved:{path}"


def test_the_features_of_a_trained_model_are_its_output_of_that_name(tmp_path):
    def outputs_of(inputs):
        features = keras.layers.GlobalAveragePooling2D()(inputs)
        return {"features": features, "logits": keras.layers.Dense(2)(features)}

    shape = (None, None, 1)
    backbone = backbones.image_backbone(saved(tmp_path / "a.keras", outputs_of, shape), 16, None)
    assert (backbone.side, backbone.channels, backbone.width) == (16, 1, 1)
    np.testing.assert_allclose(backbone.net(np.full([2, 16, 16, 1], 0.5, np.float32)), 0.5)


@pytest.mark.parametrize(
    ("shape", "outputs_of", "side", "message"),
    [
        ((SIDE, SIDE, 3), lambda x: x, 0, "must give one vector an image"),
        ((SIDE, SIDE, 3), lambda x: {"logits": keras.layers.Flatten()(x)}, 0, "one vector"),
        ((SIDE, SIDE, 2), keras.layers.Flatten(), 0, "must take images"),
        ((4,), keras.layers.Dense(2), 0, "must take images"),
        ((SIDE, SIDE, 3), keras.layers.Flatten(), 9, "--image_size must be 0 or the side"),
        ((SIDE, 4, 3), keras.layers.Flatten(), 0, "--image_size must be 0 or the side"),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path, shape, outputs_of, side, message):
    name = saved(tmp_path / "a.keras", outputs_of, shape)
    with pytest.raises(ValueError, match=message):
        backbones.image_backbone(name, side, None)


def test_a_damaged_model_is_named(tmp_path):
    name = saved(tmp_path / "a.keras", keras.layers.Flatten())
    content = bytearray((tmp_path / "a.keras").read_bytes())
    content[len(content) // 3] ^= 4
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.keras must be a saved model"):
        backbones.image_backbone(name, 0, None)
