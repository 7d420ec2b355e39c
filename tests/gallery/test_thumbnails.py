"""Sheets of small pictures: each picture is where the page looks for it."""

import io

import numpy as np
import pytest
from PIL import Image

from experiments.gallery.originals import SIDE, STRIP, strips, thumb, thumbs_of_files
from experiments.gallery.rows import Part
from experiments.gallery.thumbnails import pack
from experiments.options.config import Config
from ssl_weighting.data.examples import Examples


def smooth(height, width, number, colour):
    """Return a picture that JPEG keeps: a ramp whose slope and colour tell its number."""
    ramp = np.linspace(0, 120, height * width).reshape(height, width) + 3 * (number % 40)
    return np.stack([ramp, ramp / 2, 255 - ramp], 2).astype(np.uint8) if colour else np.uint8(ramp)


def cut(sheets, number):
    """Return a picture as the page's script cuts it out."""
    sheet = np.asarray(Image.open(io.BytesIO(sheets.files[number // sheets.per_sheet])))
    place, (width, height) = number % sheets.per_sheet, sheets.sizes[number].tolist()
    top, left = place // sheets.columns * sheets.cell, place % sheets.columns * sheets.cell
    return sheet[top : top + height, left : left + width]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("side", [8, 13, 96])
def test_every_picture_is_found_again(side, colour):
    pictures = [smooth(side, side - k % 3, k, colour) for k in range(70)]
    sheets = pack(iter(pictures), side)
    assert sheets.cell % 8 == 0 and len(sheets.files) == -(-70 // sheets.per_sheet)
    for number, picture in enumerate(pictures):
        found = cut(sheets, number)
        assert found.shape == picture.shape
        assert np.abs(found.astype(int) - picture).mean() < 4, number


def test_grey_and_coloured_pictures_stand_on_one_sheet():
    sheets = pack([smooth(16, 16, 0, False), smooth(16, 16, 1, True)], 16)
    grey = cut(sheets, 0)
    assert np.abs(grey.astype(int) - smooth(16, 16, 0, False)[..., None]).mean() < 4
    assert not sheets._replace(sizes=np.array([[60, 4]], np.uint8)).sharp and sheets.sharp


def test_neighbours_do_not_stain_each_other():
    """A black picture beside a white one stays black to its last pixel."""
    pictures = [np.full((13, 13), 255 * (k % 2), np.uint8) for k in range(9)]
    sheets = pack(pictures, 13)
    for number, picture in enumerate(pictures):
        assert np.abs(cut(sheets, number).astype(int) - picture).max() <= 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((300, 200, 3), (96, 64, 3)),
        ((50, 500, 1), (10, 96)),
        ((96, 20), (96, 20)),
        ((9, 9, 3), (9, 9, 3)),
    ],
)
def test_thumbs_keep_their_proportions(shape, expected):
    assert thumb(np.full(shape, 7, np.uint8)).shape == expected
    assert (thumb(np.full(shape, 7, np.uint8)) == 7).all()


def test_files_are_found_by_name_whatever_the_name(tmp_path):
    names = [b"b/\xff.png", "a/\u202e <b>.png".encode(), b"unlabeled/large.png"]
    for k, name in enumerate([*names, b"a/x.png", b"b/y.png"]):
        path = tmp_path / name.decode("utf-8", "surrogateescape")
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            Image.fromarray(np.full((300, 150), 40 * k, np.uint8)).save(file, "PNG")
    known = ["unlabeled/large.png", "b/\\udcff.png", "a/\u202e <b>.png"]
    found = list(thumbs_of_files(str(tmp_path), known, Config()))
    assert [picture.shape for picture in found] == [(96, 48)] * 3
    assert [int(picture.mean()) for picture in found] == [80, 0, 40]
    with pytest.raises(ValueError, match=r"has no b/gone\.png any more \(1 example in all\)"):
        list(thumbs_of_files(str(tmp_path), [*known, "b/gone.png"], Config(dataset="folder:x")))


def test_a_strip_shows_what_lies_above_and_below_the_mean():
    x = np.float32([[3, 5, 0], [1, 5, 4], [-1, 5, 8]])
    part = Part("unlabeled", Examples(x, np.zeros(3, np.int32)))
    high, middle, low = strips([part])
    assert high.shape == (STRIP, SIDE, 3)
    third = SIDE // 3
    red, blue, white = (lambda p: p[0] > p[2], lambda p: p[0] < p[2], lambda p: p[0] == p[2] == 245)
    assert red(high[0, 0]) and white(high[0, third]) and blue(high[0, -1])
    assert blue(low[0, 0]) and white(low[0, third]) and red(low[0, -1])
    assert white(middle[0, 0]) and white(middle[0, -1])


def test_many_features_are_averaged_in_neighbours():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 2 * SIDE)).astype(np.float32)
    part = Part("unlabeled", Examples(x, np.zeros(5, np.int32)))
    z = (x - x.mean(0)) / x.std(0)
    means = z.reshape(5, SIDE, 2).mean(2)
    for row, strip in zip(means, strips([part]), strict=True):
        reddish = strip[0, :, 0].astype(int) - strip[0, :, 2]
        clear = np.abs(row) > 0.1
        np.testing.assert_array_equal(reddish[clear] > 0, row[clear] > 0)
