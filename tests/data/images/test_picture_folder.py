"""A folder whose pictures are decoded when asked for: the set that `load_folder` reads."""

import numpy as np
import pytest
from PIL import Image

from ssl_weighting.data.copies import row_digests
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.picture import PictureError
from ssl_weighting.data.images.picture_folder import PictureFolder

SIDE = 6


@pytest.fixture
def folder(tmp_path, rng):
    """Two classes of six colour pictures, a copy in one, and four unlabeled, one of them a copy."""
    for name in [
        *(f"{c}/{k}.png" for c in "ab" for k in range(6)),
        *(f"unlabeled/{k}.png" for k in "pqr"),
    ]:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).save(path)
    for copy in ("a/7.png", "unlabeled/s.png"):
        (tmp_path / "set" / copy).write_bytes((tmp_path / "set/a/1.png").read_bytes())
    return tmp_path / "set"


def read(pictures):
    """Return images, contents and problems of all parts, in two pieces each."""
    images, contents, problems = {}, {}, {}
    for part, size in pictures.sizes.items():
        pieces = [pictures.read(part, rows) for rows in np.array_split(np.arange(size), 2)]
        images[part] = np.concatenate([piece[0] for piece in pieces])
        problems[part] = np.concatenate([piece[1] for piece in pieces])
        contents[part] = np.zeros([size, 32], np.uint8)
        contents[part][problems[part] == ""] = row_digests(images[part])
    return images, contents, problems


def check_same(folder, **options):
    """Compare with `load_folder`, example by example; return the set and its pictures."""
    pictures = PictureFolder(folder, SIDE, 3, **options)
    images, contents, problems = read(pictures)
    raw, places = pictures.dataset(contents, problems)
    expected = load_folder(folder, SIDE, **options)
    for part in ("train", "test", "unlabeled"):
        one, other = getattr(raw, part), getattr(expected, part)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.names, other.names)
        for (home, row), image in zip(places[part], other.inputs, strict=True):
            number = np.flatnonzero(np.flatnonzero(problems[home] == "") == row)[0]
            np.testing.assert_array_equal(images[home][number], image)
    assert (raw.source, raw.notes, raw.skipped, raw.class_names, raw.name) == (
        expected.source, expected.notes, expected.skipped, expected.class_names, expected.name,
    )  # fmt: skip
    return raw, pictures


def test_it_is_the_set_of_load_folder_with_its_held_out_test_set(folder):
    raw, pictures = check_same(folder)
    assert len(raw.test) >= 2 and len(raw.train) + len(raw.test) == 13
    assert pictures.sizes == {"train": 13, "unlabeled": 4}
    names = [f"unlabeled/{k}.png" for k in "pqr"]
    assert raw.unlabeled.names.tolist() == names, "s.png is a copy of a test image"


def test_unlabeled_files_that_cannot_be_read_are_skipped_and_named(folder):
    (folder / "unlabeled/q.png").write_bytes(b"no picture")
    raw, _ = check_same(folder)
    assert [name for name, _ in raw.skipped] == ["unlabeled/q.png"]


def test_labeled_ones_stop(folder):
    (folder / "b/0.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"b/0.png must be a readable PNG"):
        PictureFolder(folder, SIDE, 3).read("train", np.arange(13))
    check_same(folder, on_error="skip")


def test_two_labels_of_one_picture_are_named(folder):
    (folder / "b/7.png").write_bytes((folder / "a/1.png").read_bytes())
    pictures = PictureFolder(folder, SIDE, 3)
    with pytest.raises(
        ValueError, match=r"the same for the model, a/1.png as 'a' and b/7.png as 'b'"
    ):
        pictures.dataset(*read(pictures)[1:])


def test_a_part_without_a_picture_that_can_be_read_is_refused(folder):
    for file in (folder / "unlabeled").iterdir():
        file.write_bytes(b"no picture")
    pictures = PictureFolder(folder, SIDE, 3)
    with pytest.raises(PictureError, match=r"unlabeled/p.png"):
        pictures.dataset(*read(pictures)[1:])


def test_the_digest_is_of_names_places_and_bytes(folder):
    def digest():
        return PictureFolder(folder, SIDE, 3).digest()

    found = [digest(), digest()]
    assert found[0] == found[1]
    (folder / "unlabeled/q.png").rename(folder / "unlabeled/z.png")
    found.append(digest())
    content = bytearray((folder / "a/0.png").read_bytes())
    content[-1] ^= 1
    (folder / "a/0.png").write_bytes(content)
    found.append(digest())
    (folder / "a/0.png").rename(folder / "b/9.png")
    found.append(digest())
    assert len(set(found)) == 4
