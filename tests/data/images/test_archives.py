"""CIFAR-10 and SVHN in their original formats, whole and damaged, and through TFDS's own mocks."""

import gzip
import io
import lzma
import pickle
import tarfile

import numpy as np
import pytest
from scipy import io as scipy_io

from ssl_weighting.data.images import archives, cifar10, safe_pickle, svhn, tfds_source
from ssl_weighting.data.images.by_name import load_images

BATCHES = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]


def batch(k, n=20):
    planes = np.random.default_rng(k).integers(0, 256, (n, 3072)).astype(np.uint8)
    return planes, [(c + k) % 10 for c in range(n)]


def python_file(k, protocol=2):
    planes, labels = batch(k)
    content = {b"batch_label": b"x", b"labels": labels, b"data": planes, b"filenames": [b"a"] * 20}
    return pickle.dumps(content, protocol=protocol)


def binary_file(k):
    planes, labels = batch(k)
    return np.hstack([np.array(labels, np.uint8)[:, None], planes]).tobytes()


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture(params=["python", "binary", "python.tar.gz", "binary.tar.gz", "here"])
def cifar_folder(request, tmp_path):
    python = {name: python_file(k) for k, name in enumerate(BATCHES)}
    binary = {f"{name}.bin": binary_file(k) for k, name in enumerate(BATCHES)}
    kind = request.param
    if kind == "python":
        write(tmp_path / "cifar-10-batches-py", python)
    elif kind == "binary":
        write(tmp_path / "cifar-10-batches-bin", binary)
    elif kind == "here":
        write(tmp_path, python)
    else:
        layout, files = {
            "python.tar.gz": (cifar10.PYTHON, python),
            "binary.tar.gz": (cifar10.BINARY, binary),
        }[kind]
        # As the published archive has them: the test batch in the midst of the others.
        order = [3, 5, 2, 1, 4, 0]
        names = [list(files)[k] for k in order]
        members = {f"{layout.directory}/{name}": files[name] for name in names}
        tar(tmp_path / layout.archive, members)
    return tmp_path


def test_every_layout_of_cifar10_gives_the_same_images_in_file_order(cifar_folder):
    raw = load_images("cifar10", data_dir=cifar_folder)
    assert raw.train.inputs.shape == (100, 32, 32, 3) and len(raw.test) == 20
    for k in range(5):
        planes, labels = batch(k)
        part = raw.train.take(np.arange(20 * k, 20 * k + 20))
        np.testing.assert_array_equal(part.inputs[3, 5, 7], planes[3].reshape(3, 32, 32)[:, 5, 7])
        assert part.labels.tolist() == labels
    assert raw.test.labels.tolist() == batch(5)[1]
    assert archives.UNOFFICIAL in raw.source and str(cifar_folder) not in raw.source
    short = "; an incomplete copy: 100 of 50,000 images in train, 20 of 10,000 images in test"
    assert raw.source.endswith(short)


def test_published_checksums_are_recognised(tmp_path, monkeypatch):
    write(tmp_path, {name: python_file(k) for k, name in enumerate(BATCHES)})
    monkeypatch.setattr(
        cifar10,
        "PYTHON",
        cifar10.PYTHON._replace(
            files={name: archives._md5(python_file(k)) for k, name in enumerate(BATCHES)}
        ),
    )
    monkeypatch.setattr(cifar10, "_SIZES", {"train": 100, "test": 20})
    assert load_images("cifar10", data_dir=tmp_path).source.endswith("checksums as published")


def test_numpy_2_pickles_are_read(tmp_path):
    for protocol in (2, 3, 4):
        found = cifar10.read_python(python_file(1, protocol), "data_batch_1")
        assert found.labels.tolist() == batch(1)[1]


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/should_not_exist",)


@pytest.mark.parametrize("payload", [Evil(), {b"data": Evil()}, [np.float64], range(3)])
def test_a_pickle_runs_nothing(payload):
    with pytest.raises(ValueError, match=r"data_batch_1 must be a pickle of arrays.*not run"):
        safe_pickle.load_arrays(pickle.dumps(payload), "data_batch_1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a pickle of arrays"),
        (python_file(1)[:-500], "must be a pickle of arrays"),
        (pickle.dumps([1, 2]), "must hold a dictionary. Received: list"),
        (pickle.dumps({b"data": 3, b"labels": [1]}), r"must hold `data`, uint8 \[n, 3072\]"),
        (
            pickle.dumps({b"data": np.zeros([2, 3072], np.uint8), b"labels": [1]}),
            "one label from 0 to 9 for each of its 2 images. Received: 1 labels",
        ),
        (
            pickle.dumps({b"data": np.zeros([2, 3072], np.uint8), b"labels": [1, 10]}),
            "from 1 to 10",
        ),
        (
            pickle.dumps({b"data": np.zeros([2, 3072], np.uint8), b"labels": ["cat", "dog"]}),
            "one label from 0 to 9",
        ),
    ],
)
def test_damaged_python_batches_are_refused_by_name(content, message):
    with pytest.raises(ValueError, match=f"^data_batch_1 {message}|^data_batch_1 must.*{message}"):
        cifar10.read_python(content, "data_batch_1")


def test_damaged_binary_batches_are_refused_by_name():
    with pytest.raises(ValueError, match=r"test_batch.bin must hold records of 3073 bytes. .* 100"):
        cifar10.read_binary(bytes(100), "test_batch.bin")
    with pytest.raises(ValueError, match=r"test_batch.bin must hold one label from 0 to 9"):
        cifar10.read_binary(bytes([77]) + bytes(3072), "test_batch.bin")


def test_missing_files_and_damaged_archives_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cifar-10-batches-py/ or cifar-10-python.tar.gz"):
        load_images("cifar10", data_dir=tmp_path)
    write(tmp_path, {name: python_file(1) for name in BATCHES[:4]})
    with pytest.raises(FileNotFoundError, match=r"without data_batch_5, test_batch"):
        load_images("cifar10", data_dir=tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    whole = other / "cifar-10-python.tar.gz"
    tar(whole, {f"cifar-10-batches-py/{name}": python_file(1) for name in BATCHES[:5]})
    with pytest.raises(ValueError, match=r"none called test_batch"):
        load_images("cifar10", data_dir=other)
    whole.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"must be a whole tar archive"):
        load_images("cifar10", data_dir=other)
    whole.write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(ValueError, match=r"must be a whole tar archive"):
        load_images("cifar10", data_dir=other)
    packed = bytearray(lzma.compress(np.random.default_rng(0).bytes(4000)))  # under that name too
    packed[200] ^= 1
    whole.write_bytes(packed)
    with pytest.raises(ValueError, match=r"must be a whole tar archive"):
        load_images("cifar10", data_dir=other)


def test_members_outside_the_folder_are_neither_written_nor_read(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"cifar-10-batches-py/../../{name}" for name in BATCHES] + ["/etc/evil", "../evil"]
    tar(folder / "cifar-10-python.tar.gz", {name: python_file(1) for name in names})
    with pytest.raises(ValueError, match="none called data_batch_1"):
        load_images("cifar10", data_dir=folder)
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "cifar-10-python.tar.gz"}


def mat(n, first):
    images = np.random.default_rng(n).integers(0, 256, (32, 32, 3, n)).astype(np.uint8)
    labels = ((np.arange(n) + first) % 10 + 1).astype(np.uint8)[:, None]  # 1..10
    file = io.BytesIO()
    scipy_io.savemat(file, {"X": images, "y": labels})
    return file.getvalue(), images, labels


def test_svhn_is_read_with_and_without_extra_and_zero_is_the_last_class(tmp_path):
    parts = {"train": mat(20, 0), "test": mat(10, 3), "extra": mat(30, 5)}
    write(tmp_path, {f"{name}_32x32.mat": part[0] for name, part in parts.items()})
    raw = load_images("svhn_cropped", data_dir=tmp_path)
    assert raw.name == "svhn_cropped" and raw.class_names[9] == "0" and len(raw.test) == 10
    np.testing.assert_array_equal(raw.train.inputs[4], parts["train"][1][..., 4])
    assert raw.train.labels.tolist() == (parts["train"][2].ravel() - 1).tolist()
    more = load_images("svhn_cropped_extra", data_dir=tmp_path)
    assert len(more.train) == 50 and more.name == "svhn_cropped_extra"
    assert "30 of 531,131 images in extra_32x32.mat" in more.source
    assert "extra" not in raw.source
    np.testing.assert_array_equal(more.train.inputs[20], parts["extra"][1][..., 0])
    (tmp_path / "extra_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"without extra_32x32.mat"):
        load_images("svhn_cropped_extra", data_dir=tmp_path)


def test_damaged_mat_files_are_refused_by_name():
    whole, images, labels = mat(20, 0)
    with pytest.raises(ValueError, match=r"^a.mat must be a MATLAB 5 file"):
        svhn.read_mat(whole[: len(whole) // 2], "a.mat")
    with pytest.raises(ValueError, match=r"^a.mat must be a MATLAB 5 file"):
        svhn.read_mat(b"nothing", "a.mat")
    for content, message in (
        ({"X": images}, r"must hold X, uint8 \[32, 32, 3, n\], and y"),
        ({"X": images[..., :3], "y": labels}, r"\(32, 32, 3, 3\)"),
        ({"X": images, "y": labels * 0}, "labels from 1 to 10. Received: from 0 to 0"),
    ):
        file = io.BytesIO()
        scipy_io.savemat(file, content)
        with pytest.raises(ValueError, match=message):
            svhn.read_mat(file.getvalue(), "a.mat")


def prepared(folder, name, images, labels, ids=None):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    content = {"image": images, "label": labels}
    features = {
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(names=[str(c) for c in range(10)]),
    }
    if ids is not None:
        content["id"], features["id"] = ids, tfds.features.Text()
    part = tf.data.Dataset.from_tensor_slices(content)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        disable_shuffling=True,
        data_dir=folder,
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": part, "test": part, "extra": part},
    )


def test_tfds_examples_are_sorted_back_to_file_order_by_their_id(tmp_path, rng):
    images = rng.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    order = rng.permutation(20)
    ids = np.array([f"train_{k:05d}" for k in order])
    prepared(tmp_path, "cifar10", images[order], (order % 10).astype(np.int64), ids)
    raw = load_images("cifar10", data_dir=tmp_path)
    np.testing.assert_array_equal(raw.train.inputs, images)
    assert raw.train.labels.tolist() == [k % 10 for k in range(20)]
    assert raw.source == "cifar10: TFDS folder, version 1.0.0"


def test_tfds_digits_become_the_release_s_classes(tmp_path, rng):
    images = rng.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    prepared(tmp_path, "svhn_cropped", images, (np.arange(20) % 10).astype(np.int64))
    raw = load_images("svhn_cropped_extra", data_dir=tmp_path)
    assert len(raw.train) == 40  # train, then extra
    names = [raw.class_names[c] for c in raw.train.labels[:20]]
    assert names == [str(k % 10) for k in range(20)]


@pytest.mark.parametrize("name", ["cifar10", "svhn_cropped"])
def test_the_real_tfds_builders_have_the_features_that_are_read(name):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=8):
        builder = tfds.builder(name)
        features = builder.info.features
        found = tfds_source._read(builder, "test")
    assert "id" in features
    assert found.inputs.shape == (8, 32, 32, 3) and found.inputs.dtype == np.uint8
    assert features["label"].num_classes == 10


def test_a_member_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    names = [f"cifar-10-batches-py/{name}" for name in BATCHES]
    tar(tmp_path / "cifar-10-python.tar.gz", {name: python_file(1) for name in names})
    monkeypatch.setattr(archives, "_LARGEST", 1000)
    with pytest.raises(ValueError, match=r"whole tar archive.*cifar-10-batches-py/data_batch_1 of"):
        load_images("cifar10", data_dir=tmp_path)


def test_a_flipped_bit_of_an_archive_changes_nothing_or_is_refused_by_name(tmp_path):
    path = tmp_path / "a.tar.gz"
    tar(path, {"set/a": b"first " * 50, "set/b": b"second " * 50})
    whole = path.read_bytes()
    wanted = archives.read_members(path, "set", ["a", "b"])
    for place in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert archives.read_members(path, "set", ["a", "b"]) == wanted
        except ValueError as error:
            assert "a.tar.gz must " in str(error)
