"""features:PATH in three formats, and files that are not what they should be."""

import numpy as np
import pandas as pd
import pytest
from feature_files import CLASSES, WRITERS, D, arrays, write_folder, write_npz

from ssl_weighting.data.features.by_name import (
    check_features,
    check_finite,
    load_features,
    new_features,
)
from ssl_weighting.data.splits import make_splits


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_holds_the_same_set(tmp_path, name, views):
    found = arrays(views=views)
    raw = load_features(WRITERS[name](tmp_path / name, **found))
    assert (
        raw.name == "features" and raw.source.endswith(name) and raw.class_names == ("0", "1", "2")
    )
    np.testing.assert_array_equal(raw.train.inputs, found["x_train"])
    np.testing.assert_array_equal(raw.train.labels, found["y_train"])
    np.testing.assert_array_equal(raw.test.inputs, found["x_test"])
    assert raw.unlabeled.labels.tolist() == [-1] * 30
    u = found["x_unlabeled"]
    np.testing.assert_array_equal(raw.unlabeled.inputs, u[:, 0] if views else u)
    assert raw.test.views is None and (raw.train.views is None) == (not views)
    if views:
        np.testing.assert_array_equal(raw.unlabeled.views, u[:, 1:])
        # Labeled examples, which stand in U too, have none of their own: they are themselves.
        np.testing.assert_array_equal(raw.train.views, np.repeat(raw.train.inputs[:, None], 2, 1))
    first = "54" if name.endswith("parquet") else "x_train[0]"  # after 24 + 30 rows
    assert raw.train.names[0] == first


@pytest.mark.parametrize("views", [0, 2])
def test_views_and_names_follow_their_examples_into_u(tmp_path, views):
    found = arrays(views=views)
    found["names_train"] = np.array([f"photo {k}" for k in range(60)])
    raw = load_features(write_npz(tmp_path / "f.npz", **found))
    splits = make_splits(raw, 9, 12, seed=1, num_unlabeled=40, validation_as_labels=True)
    assert len(splits.labeled) == 21
    for k, name in enumerate(splits.unlabeled.names):
        part, row = ("train", name[6:]) if name.startswith("p") else ("unlabeled", name[12:-1])
        x = found[f"x_{part}"][int(row)]
        stack = x if x.ndim == 2 else np.repeat(x[None], 1 + views, axis=0)
        np.testing.assert_array_equal(splits.unlabeled.inputs[k], stack[0])
        if views:
            np.testing.assert_array_equal(splits.unlabeled.views[k], stack[1:])
    if views:
        found["x_unlabeled"][:, 2] = found["x_unlabeled"][:, 1]
        other = load_features(write_npz(tmp_path / "f.npz", **found))
        again = make_splits(other, 9, 12, seed=1, num_unlabeled=40, validation_as_labels=True)
        assert again.split_hash != splits.split_hash, "views are part of the split"


def test_without_u_it_is_the_training_set_and_a_fifth_is_held_out(tmp_path):
    found = {k: v for k, v in arrays().items() if k in ("x_train", "y_train")}
    raw = load_features(write_npz(tmp_path / "f.npz", **found))
    assert (len(raw.train), len(raw.test), raw.unlabeled) == (48, 12, None)
    assert "12 examples of it held out for testing" in raw.source
    splits = make_splits(raw, 6, 9, seed=1)
    assert len(splits.unlabeled) == 39


def test_half_and_double_precision_become_float32(tmp_path):
    found = arrays()
    x = np.linspace(-1, 1, 60 * D).reshape(60, D)
    raw = load_features(write_npz(tmp_path / "f.npz", **found | {"x_train": x}))
    np.testing.assert_array_equal(raw.train.inputs, x.astype(np.float32))
    half = x.astype(np.float16)
    raw = load_features(write_npz(tmp_path / "f.npz", **found | {"x_train": half}))
    np.testing.assert_array_equal(raw.train.inputs, half.astype(np.float32))


def bad(**changes):
    found = arrays(views=2) | changes
    return {key: value for key, value in found.items() if value is not None}


X = arrays()["x_train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None}, r"must have the keys .*missing \['y_train'\]"),
        ({"y_test": None}, r"missing \['y_test'\]"),
        ({"z": X}, r"unknown \['z'\]"),
        (
            {"x_train": np.ones((60, D), int)},
            r"`x_train` .*floats \[n, d\].*int64.*astype",
        ),
        ({"x_train": X[:, 0]}, r"`x_train` .*floats \[n, d\].* float32\[60\] with"),
        ({"x_train": np.ones((60, 4, 4, 3), "u1")}, r"--dataset=npz:FILE"),
        ({"x_train": X[:, :0]}, r"`x_train` .*float32\[60, 0\]"),
        (
            {"x_test": np.ones((24, 3, D), "f")},
            r"`x_test` .*floats \[n, d\]. Received: float32",
        ),
        ({"x_test": X[:24, :5]}, r"one shape and dtype.*test=float32\[5\]"),
        ({"x_train": np.where(np.arange(60)[:, None] == 7, np.nan, X)}, r"finite.* row 7\."),
        (
            {"x_train": np.where(np.arange(60)[:, None] > 57, 1e39, X.astype(float))},
            r"in 2 of 60 rows.* row 58",
        ),
        ({"x_unlabeled": np.full((30, 3, D), np.inf, "f")}, r"`x_unlabeled` .* 30 of 30 rows"),
        ({"x_train": np.stack([X] * 4, 1)}, r"as many views, or one of them none.* 3 and 2"),
        ({"y_train": np.arange(60) % 3 + 1}, r"classes count from 0"),
        ({"y_train": np.arange(59) % 3}, r"`y_train` .*int64\[59\]"),
        ({"y_train": np.zeros(60, int)}, r"at least two different names"),
        ({"x_train": X[:0], "y_train": np.zeros(0, int)}, r"`y_test` .* training examples"),
        ({"names_train": np.array(["a"])}, r"`names_train` .*strings \[60\]"),
        (
            {"names_train": np.array(["a", "b"] * 30)},
            r"different.*'a' for x_train\[0\] and x_train\[2\]",
        ),
        ({"x_train": np.repeat(X[:30], 2, axis=0)}, r"one label.*x_train\[0\].*x_train\[1\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_features(write_npz(tmp_path / "own.npz", **bad(**changes)))


def frame(**changes):
    found = arrays()
    table = {
        "x": list(found["x_train"]),
        "y": [["cat", "dog", "cow"][k % CLASSES] for k in range(60)],
    }
    return pd.DataFrame(table | {"name": [f"n{k}" for k in range(60)]} | changes)


def test_a_data_frame_has_names_of_classes_and_of_rows(tmp_path):
    labels = [["cat", "dog", None][k % 3] for k in range(60)]
    frame(y=labels).to_parquet(tmp_path / "f.parquet")
    raw = load_features(f"features:{tmp_path / 'f.parquet'}")
    assert raw.class_names == ("cat", "dog")
    assert raw.unlabeled.names.tolist() == [f"n{k}" for k in range(2, 60, 3)]
    everything = [*raw.train.names, *raw.test.names]
    labels = [*raw.train.labels, *raw.test.labels]
    pairs = {(int(n[1:]) % 3, c) for n, c in zip(everything, labels, strict=True)}
    assert pairs == {
        (0, 0),
        (1, 1),
    }
    numbers = [k % 2 if k % 3 else np.nan for k in range(60)]  # whole numbers, as pandas has them
    frame(y=numbers).to_parquet(tmp_path / "f.parquet")
    raw = load_features(f"features:{tmp_path / 'f.parquet'}")
    assert len(raw.unlabeled) == 20 and raw.class_names == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": 1}, r"columns x and y, .*Received: \['x', 'y', 'name', 'z'\]"),
        ({"x": 1.0}, r"`x` in .* must be a list of numbers in every row"),
        ({"x": [[1.0] * (1 + k % 2) for k in range(60)]}, r"60 rows with 1 or 2 numbers"),
        ({"x": [None] * 60}, r"`x` in .* must be a list of numbers in every row"),
        ({"x": [[1] * 3] * 60}, r"floats \[n, d\].*int64\[60, 3\]"),
        ({"y": [0.5] * 60}, r"`y` in .* must be integers, or names of classes"),
        ({"split": ["train"] * 59 + ["val"]}, r"`split` .* split='val' in row 59"),
        ({"y": ["a", "b", None] * 20, "split": ["train"] * 59 + ["test"]}, r"row 59, without a"),
        ({"y": ["a"] * 59 + ["b"], "split": ["train"] * 59 + ["test"]}, r"\['a'\]. Received: 'b'"),
        ({"views": [[[1.0] * 5]] * 60}, r"`views` .* of 6 numbers. Received: 1 views of 5"),
        ({"views": 3.0}, r"`views` .* must be lists of views"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, changes, message):
    frame(**changes).to_parquet(tmp_path / "f.parquet")
    with pytest.raises(ValueError, match=message):
        load_features(f"features:{tmp_path / 'f.parquet'}")


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_named(tmp_path, name):
    dataset = WRITERS[name](tmp_path / name, **arrays())
    path = tmp_path / name / "x_train.npy" if name == "features" else tmp_path / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text", whole + b"more" * 9):
        path.write_bytes(content)
        if name == "features.npz" and content.startswith(whole):
            continue  # a zip archive may be followed by something
        with pytest.raises(ValueError, match=rf"{path.name} must be an? \.\w+ file.* Received: "):
            load_features(dataset)


def test_what_is_no_file_of_features_is_told_before_it_is_read(tmp_path):
    for dataset, kind, message in (
        ("features:", ValueError, "must be features:PATH"),
        ("npz:x", ValueError, "must be features:PATH. Received: dataset='npz:x'"),
        ("features:nowhere.npz", FileNotFoundError, "nowhere.npz, which is not there"),
    ):
        with pytest.raises(kind, match=message):
            check_features(dataset)
    with pytest.raises(ValueError, match="`data_dir` must be left out"):
        check_features("features:x", "y")
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match=r"\.npz or \.parquet, or a folder .*a\.csv"):
        load_features(f"features:{tmp_path / 'a.csv'}")


def labeled(path, size=7):
    """Return the names and features of new examples, and how many blocks they came in."""
    rows = new_features(path, D)
    check_finite(path, rows, size)
    blocks = list(rows.blocks(size))
    x = np.concatenate([x for _, x in blocks])
    assert rows.shape == x.shape and x.dtype == np.float32
    assert all(len(names) == len(x) <= size for names, x in blocks)
    return [name for names, _ in blocks for name in names], x


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", "CF")
def test_new_examples_of_an_npz_file_come_in_blocks(tmp_path, write, order):
    write(tmp_path / "new.npz", x=np.asarray(X, float, order=order))
    names, features = labeled(tmp_path / "new.npz")
    assert names == [str(k) for k in range(60)]
    np.testing.assert_array_equal(features, X)


def test_new_examples_have_names_and_the_model_s_features(tmp_path):
    write_folder(tmp_path / "new", x=X, names=np.array([f"n{k}" for k in range(60)]))
    assert labeled(tmp_path / "new")[0] == [f"n{k}" for k in range(60)]
    frame().to_parquet(tmp_path / "new.parquet", row_group_size=11)
    names, features = labeled(tmp_path / "new.parquet")
    assert names[-1] == "n59"
    np.testing.assert_array_equal(features, X)
    frame().drop(columns="name").to_parquet(tmp_path / "new.parquet", row_group_size=11)
    assert labeled(tmp_path / "new.parquet")[0] == [str(k) for k in range(60)]
    for changed, message in (
        ({"x": X, "names": np.array(["a"])}, r"each of the 60 rows of `x`. Received: \[1\]"),
        ({"z": X}, r"must hold features `x`. Received: \['z'\]"),
        ({"x": X[:, :5]}, r"\[n, 6\] with n > 0.*Received: \[60, 5\]"),
        ({"x": X[:0]}, r"Received: \[0, 6\]"),
        ({"x": np.full_like(X, np.nan)}, "must be finite.* 60 of 60 rows, the first is row 0"),
        ({"x": np.where(np.arange(60)[:, None] % 50, X, np.inf)}, "2 of 60 rows, .* row 0"),
        ({"x": X.astype(int)}, r"Store `x.astype\('float32'\)`"),
        ({"x": X[None]}, r"must be floats \[n, d\]"),
        ({"x": np.float32(3)}, r"must be floats \[n, d\]. Received: float32\[1\]"),
        ({"x": np.array([{}], object)}, "without pickled objects"),
    ):
        np.savez(tmp_path / "new.npz", **changed)
        with pytest.raises(ValueError, match=message):
            labeled(tmp_path / "new.npz")


@pytest.mark.parametrize("at", [300, 700, 1200])
def test_a_flipped_bit_of_new_examples_is_refused(tmp_path, at):
    np.savez(tmp_path / "new.npz", x=X)
    content = bytearray((tmp_path / "new.npz").read_bytes())
    content[at] ^= 1
    (tmp_path / "new.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"new.npz must be an .npz file"):
        labeled(tmp_path / "new.npz")


def test_names_that_utf_8_cannot_write_are_shown_as_they_can_be(tmp_path):
    names = np.array(["caf\udce9", *(f"n{k}" for k in range(59))])
    raw = load_features(write_npz(tmp_path / "f.npz", **arrays(), names_train=names))
    assert raw.train.names[0] == r"caf\udce9"
    np.savez(tmp_path / "new.npz", x=X, names=names)
    assert labeled(tmp_path / "new.npz")[0][0] == r"caf\udce9"
