"""What a folder of pictures may look like: parts, classes, junk, look-alikes, copies."""

import os

import numpy as np
import pytest
from PIL import Image

from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.new_images import find_images, read_images
from ssl_weighting.data.images.npz import load_npz
from ssl_weighting.data.splits import make_splits


def draw(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def classes_in(folder, first=0, count=6, names=("cat", "dog")):
    for c, name in enumerate(names):
        for k in range(count):
            draw(folder / name / f"{k}.png", first + 30 * c + k)
    return folder


@pytest.fixture
def root(tmp_path):
    return classes_in(tmp_path / "pets")


def test_torchvision_s_layout_is_read(tmp_path):
    root = tmp_path / "pets"
    for k, part in enumerate(("train", "val", "test")):
        classes_in(root / part, first=60 * k, count=3)
    draw(root / "unlabeled" / "deep" / "er" / "a.png", 250)
    raw = load_folder(root)
    assert raw.class_names == ("cat", "dog")
    assert [len(part) for part in (raw.train, raw.validation, raw.test)] == [6, 6, 6]
    assert raw.unlabeled.inputs[0, 0, 0, 0] == 250
    (root / "val").rename(root / "validation")
    assert len(load_folder(root).validation) == 6
    classes_in(root / "val", first=60, count=3)
    with pytest.raises(ValueError, match=r"one of val and validation. Received: both"):
        load_folder(root)


def test_the_training_part_alone_is_torchvision_s_layout_too(tmp_path):
    classes_in(tmp_path / "pets" / "train")
    raw = load_folder(tmp_path / "pets")
    assert (raw.name, raw.class_names, len(raw.test)) == ("pets", ("cat", "dog"), 2)


ALIKE = {
    "unlabeled": ["unlabelled", "Unlabeled", "UNLABELED", "un-labeled", "no_label", "nonlabeled",
                  "unlabeled_images", "unlabled", "unlabelld", "unsup", "not labeled",
                  "without_label", "unlabled data"],
    "validation": ["val", "valid", "Val", "Validation", "validation_set", "vaildation", "val2",
                   "validate", "dev", "eval", "dev_set", "evaluation"],
    "test": ["Test", "tests", "testing", "test_images", "testset", "test-data", "TEST", "holdout"],
}  # fmt: skip


@pytest.mark.parametrize("name", [name for names in ALIKE.values() for name in names])
def test_names_that_look_like_those_of_parts_are_refused_with_the_rename_that_helps(root, name):
    draw(root / name / "a.png", 200)
    meant = next(part for part, names in ALIKE.items() if name in names)
    message = rf"Received: {name}\. If it is no class, rename it to {meant}, in .*class_{name}\."
    with pytest.raises(ValueError, match=message):
        load_folder(root)
    (root / name).rename(root / f"class_{name}")
    draw(root / f"class_{name}" / "b.png", 201)
    assert f"class_{name}" in load_folder(root).class_names


@pytest.mark.parametrize("name", ["train", "Train", "training", "train_images", "labeled"])
def test_a_training_part_beside_classes_is_refused(root, name):
    classes_in(root / name)
    with pytest.raises(ValueError, match=rf"Received: {name}\. If it is no class, put its classes"):
        load_folder(root)


@pytest.mark.parametrize(
    "name", ["text", "brain", "rest", "value", "contest", "strain", "devil", "set"]
)
def test_other_names_are_classes(root, name):
    draw(root / name / "a.png", 200)
    draw(root / name / "b.png", 201)
    assert name in load_folder(root).class_names


@pytest.mark.parametrize("inside", ["train", "pets"])
def test_parts_are_looked_for_inside_the_training_part_too(tmp_path, inside):
    base = classes_in(tmp_path / "pets" / ("train" if inside == "train" else ""))
    for name in ("unlabelled", *(["unlabeled"] if inside == "train" else [])):
        draw(base / name / "a.png", 200)
        with pytest.raises(ValueError, match=r"rename it to unlabeled, in [^;]*pets;"):
            load_folder(tmp_path / "pets")
        (base / name).rename(tmp_path / "pets" / "unlabeled")  # as it says
        assert len(load_folder(tmp_path / "pets").unlabeled) == 1
        (tmp_path / "pets" / "unlabeled").rename(tmp_path / f"done {name}")


def test_junk_is_ignored_by_training_and_prediction(root):
    wanted = load_folder(root)
    draw(root / "unlabeled" / "a.png", 200)
    for place in ("", "cat", "unlabeled", "unlabeled/deep"):
        for junk in ("._a.png", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini"):
            (root / place).mkdir(exist_ok=True)
            (root / place / junk).write_bytes(b"junk")
        for junk in (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", "$RECYCLE.BIN"):
            draw(root / place / junk / "a.png", 7)
    raw = load_folder(root)
    np.testing.assert_array_equal(raw.train.inputs, wanted.train.inputs)
    assert raw.class_names == ("cat", "dog") and raw.skipped == () and len(raw.unlabeled) == 1
    names, _, skipped = read_images(find_images(root / "unlabeled"), 4, 1)
    assert (names, skipped) == (["a.png"], ())
    assert len(read_images(find_images(root), 4, 1)[0]) == 13


@pytest.mark.parametrize("part", ["", "test", "validation"])
def test_pictures_beside_the_classes_are_not_overlooked(root, part):
    if part:
        classes_in(root / part, first=100)
    draw(root / part / "lost.png", 200)
    with pytest.raises(ValueError, match=r"must have its images in sub-folders.*1 .*lost.png"):
        load_folder(root)


@pytest.mark.parametrize("part", ["test", "validation"])
@pytest.mark.parametrize("junk", [False, True])
def test_a_part_without_a_class_is_refused(root, part, junk):
    (root / part).mkdir()
    if junk:
        (root / part / ".DS_Store").write_bytes(b"junk")
    with pytest.raises(ValueError, match=rf"{part} must have one sub-folder per class.*\[\]\. Put"):
        load_folder(root)


def test_folders_that_are_no_classes_are_called_what_they_are(root):
    (root / "cow").symlink_to(".")
    with pytest.raises(ValueError, match=r"cow must stay .*Received: a link to a folder that it"):
        load_folder(root)
    (root / "cow").unlink()
    draw(root / "cat" / "more" / "a.png", 200)
    with pytest.raises(ValueError, match=r"cat/more must be .*Received: a folder; the pictures of"):
        load_folder(root)
    assert [name for name, _ in load_folder(root, on_error="skip").skipped] == ["cat/more"]


def test_classes_whose_names_are_not_utf_8_are_refused_and_sets_are_shown_by_escapes(root):
    other = root.rename(root.with_name(os.fsdecode(b"\xff")))
    assert (load_folder(other).name, load_folder(other).source[:14]) == (
        "\\udcff",
        "folder \\udcff,",
    )
    draw(other / os.fsdecode(b"caf\xe9") / "a.png", 200)
    with pytest.raises(ValueError, match=r"class must be UTF-8. Received: .*caf\\udce9. Rename"):
        load_folder(other)


def test_classes_whose_names_look_the_same_are_refused(root):
    classes_in(root, first=100, names=("Cat",))
    with pytest.raises(ValueError, match=r"names look different. Received: \['Cat', 'cat'\]"):
        load_folder(root)


def test_classes_and_their_counts_are_told(root):
    draw(root / "unlabeled" / "a.png", 200)
    notes = load_folder(root).notes
    assert notes == ("classes in train: cat 5, dog 5",)


def test_many_classes_are_told_in_short(tmp_path):
    labels = np.repeat(np.arange(30), 3)[: 3 * 30 - 1]
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    np.savez(tmp_path / "many.npz", x_train=images, y_train=labels)
    assert load_npz(tmp_path / "many.npz").notes[0] == "classes in train: 30, from 1 (29) to 2 (0)"


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_every_class_is_in_the_test_set_that_is_held_out(tmp_path, kind):
    """Twelve pictures, eight of them cats: a fifth of them, two, would hold no cow."""
    names, sizes = ("cat", "cow", "dog", "eel"), (6, 2, 2, 2)
    values = iter(range(20, 200))
    pairs = [(c, next(values)) for c, size in enumerate(sizes) for _ in range(size)]
    if kind == "folder":
        for c, value in pairs:
            draw(tmp_path / "set" / names[c] / f"{value}.png", value)
        raw = load_folder(tmp_path / "set")
    else:
        images = np.array([np.full((4, 4), value, np.uint8) for _, value in pairs])
        labels = np.array([c for c, _ in pairs])
        np.savez(tmp_path / "set.npz", x_train=images, y_train=labels)
        raw = load_npz(tmp_path / "set.npz")
    assert np.bincount(raw.test.labels).tolist() == [1, 1, 1, 1]
    assert "4 images of it held out for testing" in raw.source


def test_a_class_of_one_picture_cannot_be_held_out(root):
    draw(root / "cow" / "a.png", 200)
    draw(root / "cow" / "b.png", 200)  # the same
    with pytest.raises(ValueError, match=r"two different labeled examples .*fewer of 'cow' \(1\)"):
        load_folder(root)


def test_copies_are_held_out_together(root):
    for k in range(6):
        draw(root / "cat" / f"again {k}.png", k)
        draw(root / "unlabeled" / f"{k}.png", k)
    raw = load_folder(root)
    tested = set(raw.test.inputs[:, 0, 0, 0].tolist())
    rest = {*raw.train.inputs[:, 0, 0, 0].tolist(), *raw.unlabeled.inputs[:, 0, 0, 0].tolist()}
    assert tested and not tested & rest and len(raw.train) + len(raw.test) == 18
    assert "6 of train are exact copies of others in train" in raw.notes
    assert "6 of unlabeled are exact copies of examples in train" in raw.notes
    assert "1 copies of test images left unlabeled" in raw.notes


@pytest.mark.parametrize("own", [True, False])
def test_copies_of_validation_pictures_leave_u(root, own):
    classes_in(root / "test", first=100)
    if own:
        draw(root / "validation" / "cat" / "v.png", 0)
        draw(root / "validation" / "dog" / "v.png", 30)
    for k in range(6):
        draw(root / "unlabeled" / f"{k}.png", k)
        draw(root / "dog" / f"again {k}.png", 30 + k)
    splits = make_splits(load_folder(root), 4, None if own else 4, seed=1)
    validation, unlabeled = (
        set(part.inputs[:, 0, 0, 0].tolist()) for part in (splits.validation, splits.unlabeled)
    )
    assert validation and not validation & unlabeled
    assert any("copies of validation examples left U" in note for note in splits.notes)


@pytest.mark.parametrize("part", ["", "test", "validation"])
def test_one_picture_with_two_labels_is_refused_naming_both_files(root, part):
    if part:
        classes_in(root / part, first=100)
    draw(root / part / "dog" / "x.png", 3)
    with pytest.raises(ValueError, match=r"cat/3.png as 'cat' and .*dog/x.png as 'dog'\. Keep"):
        load_folder(root)


def test_one_array_row_with_two_labels_is_refused_naming_both(tmp_path):
    images = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    images[5] = images[2]
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.arange(8) % 2)
    with pytest.raises(ValueError, match=r"x_train\[2\] as '0' and x_train\[5\] as '1'"):
        load_npz(tmp_path / "own.npz")
