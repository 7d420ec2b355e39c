"""npz:PATH and folder:PATH: people's own images, and files that are not what they should be."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.splits import make_splits


class Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def arrays(**changes):
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3)).astype(np.uint8)
    base = {"x_train": images[:20], "y_train": np.arange(20) % 3, "x_test": images[20:]}
    base |= {"y_test": np.arange(10) % 3} | changes
    return {key: value for key, value in base.items() if value is not None}


def save(tmp_path, **changes):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays(**changes))
    return f"npz:{path}"


def test_npz_files_are_read_with_all_their_parts(tmp_path):
    more = np.arange(6 * 5 * 4 * 3, dtype=np.uint8).reshape(6, 5, 4, 3)
    name = save(
        tmp_path,
        x_unlabeled=more,
        x_validation=more[:3],
        y_validation=np.arange(3)[:, None],
        class_names=np.array(["cat", "dog", "cow"]),
    )
    raw = load_images(name)
    np.testing.assert_array_equal(raw.train.inputs, arrays()["x_train"])
    np.testing.assert_array_equal(raw.unlabeled.inputs, more)
    assert raw.unlabeled.labels.tolist() == [-1] * 6
    assert raw.validation.labels.tolist() == [0, 1, 2]
    assert raw.class_names == ("cat", "dog", "cow")
    assert raw.name == "own"
    assert raw.source == f"file {name.split('/')[-1]}"
    splits = make_splits(raw, 6, None, seed=1)
    assert (len(splits.unlabeled), len(splits.validation)) == (23, 3)  # V's copies leave U


def test_grey_npz_images_get_a_channel_and_default_names(tmp_path):
    grey = arrays()["x_train"][..., 0], arrays()["x_test"][..., 0]
    raw = load_images(save(tmp_path, x_train=grey[0], x_test=grey[1]), image_size=8)
    assert raw.train.inputs.shape == (20, 8, 8, 1)
    assert raw.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None}, r"must have the keys .*missing \['y_train'\], unknown \[\]"),
        ({"y_test": None}, r"must have the keys .*missing \['y_test'\], unknown \[\]"),
        ({"x_test": None}, r"must have the keys .*missing \['x_test'\], unknown \[\]"),
        ({"x_unlabelled": np.zeros(1)}, r"missing \[\], unknown \['x_unlabelled'\]"),
        ({"x_validation": np.zeros(1)}, r"missing \['y_validation'\]"),
        (
            {"x_train": np.linspace(0, 1, 400).reshape(20, 5, 4)},
            r"`x_train` .* float64\[20, 5, 4\] with values from 0 to 1\. .*`np.rint\(255 \* x\)",
        ),
        ({"x_train": np.full((20, 5, 4), 255.0)}, r"from 255 to 255\. Store `np.rint\(x\)"),
        ({"x_train": np.full((20, 5, 4), 65535, "u2")}, r"from 65535 to 65535\. Scale them"),
        ({"x_train": np.full((20, 5, 4), -1.0)}, r"from -1 to -1\. Scale them"),
        ({"x_train": np.full((20, 5, 4), np.nan)}, r"from nan to nan\. Scale them"),
        ({"x_train": np.zeros((20, 3, 5, 4), "u1")}, r"uint8\[20, 3, 5, 4\].*`x.transpose"),
        ({"x_train": np.zeros((20, 5, 4, 4), "u1")}, r"without transparency"),
        ({"class_names": np.array(["a", "b", "\udcff"])}, r"names that UTF-8 can write"),
        ({"x_test": np.zeros((10, 5, 4, 2), np.uint8)}, r"`x_test` .* uint8\[10, 5, 4, 2\]"),
        ({"y_train": np.zeros(20)}, r"`y_train` .* integers \[20\].* float64\[20\]"),
        ({"y_train": np.zeros(19, int)}, r"`y_train` .* Received: int64\[19\]"),
        ({"y_test": np.full(10, -1)}, r"`y_test` .* int64 labels from -1 to -1.*`x_unlabeled`"),
        ({"y_train": np.arange(20) % 4 - 1}, r"`y_train` .* from -1 to 2.*into `x_unlabeled`"),
        ({"y_train": np.arange(20) % 3 + 1}, r"`y_train` .* from 1 to 3.*Renumber.* `y - 1`"),
        ({"y_train": np.eye(20)}, r"`y_train` .* Received: float64\[20, 20\].*argmax"),
        ({"y_train": np.arange(20) + 2**40}, r"`y_train` .* labels from 1099511627776"),
        ({"y_train": np.arange(20) % 3 * 2}, r"from 0 to 4, 3 different ones. .*np.searchsorted"),
        ({"class_names": np.array([1, 2, 3])}, r"`class_names` .* strings .* int64\[3\]"),
        ({"class_names": np.array(["a", "b"])}, r"`train` must have labels from 0 to 1"),
        ({"x_test": np.zeros((10, 6, 6, 3), np.uint8)}, r"one shape and dtype.*test=uint8\[6, 6"),
    ],
)
def test_npz_files_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_images(save(tmp_path, **changes))


def test_npz_files_run_nothing(tmp_path):
    trap = tmp_path / "sprung"
    name = save(tmp_path, class_names=np.array([Trap(trap)], dtype=object))
    with pytest.raises(ValueError, match=r"own.npz must be an .npz file of plain arrays"):
        load_images(name)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ValueError, match=r"pickle.npz must be an .npz file of plain arrays"):
        load_images(f"npz:{tmp_path / 'pickle.npz'}")
    assert not trap.exists()


def test_damaged_npz_files_are_named(tmp_path):
    path = tmp_path / "own.npz"
    save(tmp_path)
    whole = path.read_bytes()
    np.save(tmp_path / "bare.npy", np.zeros(3))
    bare = (tmp_path / "bare.npy").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text", bare):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"own.npz must be an .npz file .* Received: "):
            load_images(f"npz:{path}")
    with pytest.raises(FileNotFoundError, match=r"Received: npz:.*nowhere, which is not there"):
        load_images(f"npz:{tmp_path / 'nowhere'}")


def draw(path, value, size=(6, 6), mode="L", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten grey squares each, and hidden files."""
    root = tmp_path / "pets"
    for k in range(10):
        draw(root / "cat" / f"{k}.png", k)
        draw(root / "dog" / f"{k}.PNG", 100 + k)
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    return root


def test_folders_are_classes_and_a_fifth_is_held_out(folder):
    raw = load_images(f"folder:{folder}")
    assert raw.class_names == ("cat", "dog")
    assert raw.name == "pets"
    assert raw.train.inputs.shape == (16, 6, 6, 1)
    assert np.bincount(raw.test.labels).tolist() == [2, 2]
    assert "4 images of it held out for testing" in raw.source
    for part in (raw.train, raw.test):
        np.testing.assert_array_equal(part.inputs[:, 0, 0, 0] >= 100, part.labels == 1)
    values = [*raw.train.inputs[:, 0, 0, 0], *raw.test.inputs[:, 0, 0, 0]]
    assert sorted(values) == [*range(10), *range(100, 110)]


def test_folders_may_bring_all_parts(folder):
    draw(folder / "test" / "dog" / "a.png", 200)
    draw(folder / "validation" / "cat" / "a.png", 50)
    draw(folder / "validation" / "dog" / "a.png", 51)
    draw(folder / "unlabeled" / "a.png", 60)
    raw = load_folder(folder)
    assert (len(raw.train), raw.test.labels.tolist()) == (20, [1])
    assert raw.validation.labels.tolist() == [0, 1]
    assert (raw.unlabeled.labels.tolist(), raw.unlabeled.inputs[0, 0, 0, 0]) == ([-1], 60)
    assert raw.source == f"folder {folder.name}"


def test_one_colour_image_makes_the_set_colour(folder):
    draw(folder / "cat" / "x.jpg", (250, 0, 0), mode="RGB", quality=100)
    raw = load_folder(folder)
    assert raw.train.inputs.shape[-1] == 3
    grey = raw.train.inputs[raw.train.labels == 1]
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_transparent_pixels_become_white_and_palettes_colour(folder):
    draw(folder / "cat" / "clear.png", (10, 20, 30, 0), mode="RGBA")
    draw(folder / "cat" / "half.png", (0, 0, 0, 127), mode="RGBA")
    Image.new("P", (6, 6), 0).save(folder / "cat" / "palette.png")
    draw(folder / "test" / "cat" / "a.png", 3)
    raw = load_folder(folder)
    last = raw.train.inputs[10:13, 0, 0]
    assert last.tolist() == [[255, 255, 255], [128, 128, 128], [0, 0, 0]]


def test_exif_rotation_is_carried_out(folder):
    turned = Image.new("L", (6, 6), 0)
    turned.paste(255, (0, 0, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    turned.save(folder / "cat" / "turned.jpg", exif=exif, quality=100)
    draw(folder / "test" / "cat" / "a.png", 3)
    image = load_folder(folder).train.inputs[10, ..., 0]
    assert image[:2].max() < 50
    assert image[4:].min() > 200


def test_images_of_different_sizes_need_a_size(folder):
    draw(folder / "dog" / "big.png", 150, size=(9, 12))
    with pytest.raises(
        ValueError, match=r"one size unless `image_size`.*6x6 and .*big.png of 9x12"
    ):
        load_folder(folder)
    raw = load_images(f"folder:{folder}", image_size=8)
    assert raw.train.inputs.shape[1:] == (8, 8, 1)
    assert "images resized to 8x8" in raw.source


def test_unreadable_files_are_named(folder):
    file = folder / "dog" / "3.PNG"
    whole = file.read_bytes()
    for content in (b"", b"no image", whole[:40], whole[:45] + bytes(20) + whole[65:]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"3.PNG must be a readable PNG, JPEG, WebP or BMP"):
            load_folder(folder)


def test_other_formats_are_refused_even_under_a_png_name(folder):
    Image.new("L", (6, 6)).save(folder / "dog" / "3.PNG", format="GIF")
    with pytest.raises(ValueError, match=r"3.PNG must be a readable PNG, JPEG, WebP or BMP"):
        load_folder(folder)


def test_more_than_eight_bits_are_refused(folder):
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(folder / "cat" / "deep.png")
    with pytest.raises(ValueError, match=r"deep.png must be .* Received: mode I"):
        load_folder(folder)


def test_folders_with_the_wrong_content_are_refused(folder, tmp_path):
    (folder / "cat" / "notes.txt").write_text("meow")
    with pytest.raises(ValueError, match=r"cat/notes.txt must be .* a name that does not end in"):
        load_folder(folder)
    (folder / "cat" / "notes.txt").unlink()
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty must have images .* Received: no images"):
        load_folder(folder)
    (folder / "empty").rmdir()
    draw(folder / "test" / "cow" / "a.png", 3)
    with pytest.raises(ValueError, match=r"test must have one sub-folder per class.*\['cow'\]"):
        load_folder(folder)
    (tmp_path / "bare").mkdir()
    with pytest.raises(
        ValueError, match=r"bare must have one sub-folder per class.*Received: \[\]"
    ):
        load_folder(tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match=r"Received: folder:.*nowhere, not a folder"):
        load_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_out_of_the_folder_are_refused(folder, tmp_path, what):
    draw(tmp_path / "outside" / "secret.png", 9)
    if what == "file":
        os.symlink(tmp_path / "outside" / "secret.png", folder / "cat" / "link.png")
    else:
        os.symlink(tmp_path / "outside", folder / "cow")
    with pytest.raises(ValueError, match=r"link.png must|cow must stay inside") as caught:
        load_folder(folder)
    assert "Received: a link out of the folder." in str(caught.value)


def test_links_inside_the_folder_are_followed(folder):
    os.symlink(folder / "cat" / "0.png", folder / "cat" / "again.png")
    raw = load_folder(folder)
    assert len(raw.train) + len(raw.test) == 21
