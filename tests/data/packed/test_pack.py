"""Packs hold the sets that they were made of, whatever happened while they were made."""

import contextlib
import os
import shutil
import threading

import numpy as np
import packs
import pytest
from dying import dying_at
from PIL import Image
from runs import Killed

from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.npz import load_npz
from ssl_weighting.data.images.picture import PictureError, read_picture
from ssl_weighting.data.packed import write
from ssl_weighting.data.packed.folder_source import FolderSource
from ssl_weighting.data.packed.manifest import read_manifest
from ssl_weighting.data.packed.npz_source import NpzSource
from ssl_weighting.data.packed.packed_set import load_packed


@contextlib.contextmanager
def killed_at_the_end():
    """Die when all shards are whole and nothing is put together yet."""

    def dies(work):
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(write, "_assemble", dies)
        yield


@pytest.fixture
def folder(tmp_path):
    return packs.make_folder(tmp_path / "set")


@pytest.mark.parametrize("store", ["pixels", "encoded"])
@pytest.mark.parametrize("image_size", [None, 5])
def test_a_pack_of_a_folder_is_the_set_of_load_folder(folder, tmp_path, store, image_size):
    raw = load_packed(packs.pack_folder(folder, tmp_path / "pack", store, image_size))
    packs.check_same(raw, load_folder(folder, image_size))
    assert all(isinstance(part.inputs, ExampleTable) for part in raw.parts.values())
    assert len(raw.skipped) == 2 and "unlabeled/\\udcff.png" in dict(raw.skipped)
    assert "1 of unlabeled is an exact copy of examples in train" in raw.notes
    manifest = read_manifest(tmp_path / "pack")
    assert manifest.rows == {"train": 14, "unlabeled": 9} and manifest.skipped == 2
    assert [shard.rows for shard in manifest.parts["train"]] == (
        [5, 5, 4] if store == "pixels" else [4, 4, 4, 2]
    )


def test_a_pack_of_an_npz_file_is_its_set(tmp_path):
    path = packs.make_npz(tmp_path / "own.npz")
    packs.check_same(load_packed(packs.pack_npz(path, tmp_path / "pack")), load_npz(path))
    small = load_packed(packs.pack_npz(path, tmp_path / "small", 2))
    expected = load_images(f"npz:{path}", image_size=2)
    for part, examples in expected.parts.items():
        np.testing.assert_array_equal(small.parts[part].inputs.loaded(), examples.inputs)
    packs.check_same(small, expected)
    np.savez(path, x_train=np.zeros((8, 3, 3), np.uint8), y_train=np.arange(8)[:, None] % 2)
    with pytest.raises(ValueError, match=r"same for the model, x_train\[0\] as '0'"):
        load_packed(packs.pack_npz(path, tmp_path / "grey"))
    assert read_manifest(tmp_path / "grey").shape == (3, 3, 1)


def test_images_of_an_npz_file_that_are_alike_once_resized_are_copies(tmp_path):
    path, x = tmp_path / "own.npz", np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), "u1")
    x[5:10] = x[4]
    x[5:10, 0, 0, 0] ^= 1
    np.savez(path, x_train=x, y_train=np.arange(40) // 20)
    raw = load_images(f"npz:{path}", image_size=2)
    packs.check_same(load_packed(packs.pack_npz(path, tmp_path / "pack", 2)), raw)
    assert any("of train are exact copies of others" in note for note in raw.notes)


def test_npz_files_that_load_npz_refuses_are_refused(tmp_path):
    path, x = tmp_path / "own.npz", np.zeros((8, 3, 3, 3), np.uint8)
    y = np.arange(8) % 2
    for arrays, message in (
        ({"x_train": x}, "missing"),
        ({"x_train": x.astype(float), "y_train": y}, r"`x_train` in .* must be uint8"),
        ({"x_train": x, "y_train": y[:-1]}, r"`y_train` in .* must be integers \[8\]"),
        ({"x_train": x, "y_train": y, "x_unlabeled": x[:, 1:]}, "must be of one shape"),
        (
            {"x_train": x, "y_train": y, "x_test": x[:0], "y_test": y[:0]},
            "`x_test` in .* have images",
        ),
        ({"x_train": x[:0], "y_train": y[:0]}, "`x_train` in .* must have images"),
        ({"x_train": x, "y_train": y.astype(object)}, "without pickled objects"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message):
            NpzSource(path)
    with pytest.raises(FileNotFoundError, match="which is not there"):
        NpzSource(tmp_path / "none.npz")


@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_killed_at_every_call_a_pack_ends_with_the_same_bytes(tmp_path, store):
    if store == "pixels":
        path = packs.make_npz(tmp_path / "own.npz", sizes={"train": 8, "unlabeled": 5})
        source = lambda: NpzSource(path)  # noqa: E731
    else:
        root = packs.make_folder(tmp_path / "set")
        source = lambda: FolderSource(root)  # noqa: E731
    with dying_at(-1) as calls:
        packs.packed(source(), tmp_path / "whole", store)
    expected, out = packs.contents(tmp_path / "whole"), tmp_path / "pack"
    assert len(calls) > 25
    for place in range(1, len(calls) + 1):
        with pytest.raises(Killed), dying_at(place):
            packs.packed(source(), out, store)
        packs.packed(source(), out, store)
        assert packs.contents(out) == expected
        shutil.rmtree(out)


def test_what_ended_before_its_first_shard_may_be_packed_in_another_way(folder, tmp_path):
    bad = folder / "cat/00.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(PictureError, match="--on_error=skip"):
        packs.pack_folder(folder, tmp_path / "pack", "encoded")
    packs.pack_folder(folder, tmp_path / "pack", on_error="skip")
    packs.pack_folder(folder, tmp_path / "other", on_error="skip")
    assert packs.contents(tmp_path / "pack") == packs.contents(tmp_path / "other")


def test_a_shard_that_is_whole_is_not_made_again(folder, tmp_path, monkeypatch):
    with pytest.raises(Killed), dying_at(20):
        packs.pack_folder(folder, tmp_path / "pack")
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").glob("train-*.npy")}
    assert done
    packs.pack_folder(folder, tmp_path / "pack")
    assert done == {path: path.stat().st_mtime_ns for path in done}
    monkeypatch.setattr(FolderSource, "blocks", None)  # a pack that is whole reads no picture
    packs.pack_folder(folder, tmp_path / "pack")


def add_dogs(folder):
    for k in range(8, 20):
        shutil.copy(folder / "dog/0.png", folder / f"dog/{k}.png")
        os.utime(folder / f"dog/{k}.png", (k, k))


CHANGES = {
    "repaired": lambda folder: shutil.copy(folder / "cat/0.png", folder / "unlabeled/broken.png"),
    "touched": lambda folder: os.utime(folder / "dog/2.webp", (1, 1)),
    "added": add_dogs,
    "gone": lambda folder: [path.unlink() for path in sorted((folder / "dog").iterdir())[1:]],
    "no part": lambda folder: shutil.rmtree(folder / "unlabeled"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_files_that_change_while_a_pack_is_half_made_cost_their_shards(tmp_path, store, change):
    folder, out = packs.make_folder(tmp_path / "set"), tmp_path / "pack"
    with pytest.raises(Killed), killed_at_the_end():
        packs.pack_folder(folder, out, store)
    ending = write.STORES[store]
    done = {path: path.stat().st_mtime_ns for path in out.glob(f"*{ending}")}
    assert len(done) >= 5
    CHANGES[change](folder)
    packs.pack_folder(folder, out, store)
    packs.pack_folder(folder, tmp_path / "new", store)
    assert packs.contents(out) == packs.contents(tmp_path / "new")
    first = out / f"train-00000{ending}"
    assert first.stat().st_mtime_ns == done[first]


def test_a_shard_that_skipped_is_made_again_where_nothing_is_to_be_skipped(tmp_path):
    folder, out = packs.make_folder(tmp_path / "set"), tmp_path / "pack"
    with pytest.raises(Killed), killed_at_the_end():
        packs.pack_folder(folder, out)
    with pytest.raises(PictureError, match=r"broken\.png"):
        packs.pack_folder(folder, out, on_error="stop")
    packs.pack_folder(folder, out, on_error="skip")
    assert "broken.png" in (out / "skipped.csv").read_text()


def test_a_pack_that_was_grey_is_in_colour_once_a_picture_is_repaired(tmp_path):
    folder, out = packs.make_folder(tmp_path / "set", grey=True), tmp_path / "pack"
    rng = np.random.default_rng(1)
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    path = folder / "unlabeled/colour.png"
    colour.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(Killed), killed_at_the_end():
        packs.pack_folder(folder, out)
    path.write_bytes(whole)
    packs.pack_folder(folder, out)
    packs.check_same(load_packed(out), load_folder(folder))
    assert load_packed(out).train.inputs.shape[1:] == (9, 7, 3)


def test_a_picture_of_another_size_is_refused_however_late_it_comes(tmp_path):
    folder, out = packs.make_folder(tmp_path / "set"), tmp_path / "pack"
    with pytest.raises(Killed), killed_at_the_end():
        packs.pack_folder(folder, out)
    first = folder / "cat/0.png"
    Image.open(first).resize((9, 9)).save(first)
    with pytest.raises(ValueError, match="must be of one size"):
        packs.pack_folder(folder, out)


def test_another_set_in_the_folder_is_refused(folder, tmp_path):
    out = tmp_path / "pack"
    with pytest.raises(Killed), dying_at(20):
        packs.pack_folder(folder, out)
    for other in ({"image_size": 5}, {"store": "encoded"}):
        with pytest.raises(ValueError, match="another set was being packed, or this one in ano"):
            packs.pack_folder(folder, out, **other)
    packs.pack_folder(folder, out)
    with pytest.raises(ValueError, match="packed in another way"):
        packs.pack_folder(folder, out, "encoded")
    (folder / "cat/0.png").unlink()
    with pytest.raises(ValueError, match="which has changed since"):
        packs.pack_folder(folder, out)
    with pytest.raises(ValueError, match=r"which holds cat\. Name another folder"):
        packs.pack_folder(folder, folder)


def test_one_process_at_a_time(folder, tmp_path, capsys):
    out, found = tmp_path / "pack", []
    with write._alone(out):
        other = threading.Thread(target=lambda: found.append(packs.pack_folder(folder, out)))
        other.start()
        other.join(0.5)
        assert other.is_alive() and not list(out.iterdir())
    other.join()
    assert found == [out] and "waiting for another process" in capsys.readouterr().out


def test_grey_is_what_every_picture_that_can_be_read_is(tmp_path):
    root = packs.make_folder(tmp_path / "grey", grey=True)
    raw = load_packed(packs.pack_folder(root, tmp_path / "one"))
    assert raw.train.inputs.shape[1:] == (9, 7, 1)
    packs.check_same(raw, load_folder(root))
    Image.new("RGB", (7, 9), "red").save(root / "unlabeled/z.png")  # the last one
    raw = load_packed(packs.pack_folder(root, tmp_path / "two", "encoded"))
    assert raw.train.inputs.shape[1:] == (9, 7, 3)
    packs.check_same(raw, load_folder(root))


@pytest.mark.parametrize("place", [0, 12])
def test_a_colour_picture_that_turns_out_damaged_leaves_a_set_grey(tmp_path, place):
    root = packs.make_folder(tmp_path / "grey", grey=True)
    content = (packs.make_folder(tmp_path / "colour") / "cat/0.png").read_bytes()
    (root / "unlabeled/z.png").write_bytes(content[:-80])  # its header is whole
    out = tmp_path / "pack"
    if place:
        with pytest.raises(Killed), dying_at(place + 16):  # within the second time
            packs.pack_folder(root, out)
    raw = load_packed(packs.pack_folder(root, out))
    assert raw.train.inputs.shape[3] == 1 and len(raw.skipped) == 3
    packs.check_same(raw, load_folder(root))


def test_pictures_that_cannot_be_read_stop_where_load_folder_stops(folder, tmp_path):
    (folder / "dog/1.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"dog/1\.jpg must be a readable"):
        packs.pack_folder(folder, tmp_path / "one")
    raw = load_packed(packs.pack_folder(folder, tmp_path / "two", on_error="skip"))
    packs.check_same(raw, load_folder(folder, on_error="skip"))
    for path in (folder / "unlabeled").rglob("*.*"):
        path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"unlabeled/broken\.png must be a readable"):
        packs.pack_folder(folder, tmp_path / "three", on_error="skip")


def test_a_pack_is_no_folder_of_images(folder, tmp_path):
    out = packs.pack_folder(folder, tmp_path / "pack")
    for read in (load_folder, FolderSource):
        with pytest.raises(ValueError, match=rf"which is a pack: packed:{out}\."):
            read(out)


def test_pictures_of_another_size_are_refused(folder, tmp_path):
    Image.new("RGB", (8, 9)).save(folder / "dog/9.png")
    with pytest.raises(ValueError, match=r"cat/0\.png of 7x9 and .*dog/9\.png of 8x9 pixels"):
        packs.pack_folder(folder, tmp_path / "pack")


def test_drafts_are_those_of_pillow_and_only_of_jpegs(tmp_path):
    root = packs.make_folder(tmp_path / "set", size=(64, 48))
    with pytest.raises(ValueError, match="`jpeg_draft` must be False without an `image_size`"):
        load_folder(root, jpeg_draft=True)
    for path in (root / "cat/1.jpg", root / "cat/0.png"):
        with Image.open(path) as image:
            if path.suffix == ".jpg":
                image.draft(None, (16, 16))
                assert image.size == (16, 22) or image.size == (24, 32)
            expected = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))
        found = read_picture(path, 16, draft=True)
        np.testing.assert_array_equal(found, expected)
        assert (found != read_picture(path, 16)).any() == (path.suffix == ".jpg")
    expected = load_folder(root, 16, jpeg_draft=True)
    for store in ("pixels", "encoded"):
        out = packs.pack_folder(root, tmp_path / store, store, 16, jpeg_draft=True)
        packs.check_same(load_packed(out), expected)


def test_a_run_asks_for_the_side_that_the_pack_has(folder, tmp_path):
    out = packs.pack_folder(folder, tmp_path / "pack", image_size=5)
    load_packed(out, 5)
    with pytest.raises(ValueError, match="`image_size` must be that of the pack"):
        load_packed(out, 6)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_packed(tmp_path / "none")


def test_a_store_that_a_source_does_not_have_is_refused(tmp_path):
    source = NpzSource(packs.make_npz(tmp_path / "own.npz"))
    with pytest.raises(ValueError, match="`store` must be one of pixels"):
        write.pack(source, tmp_path / "pack", "encoded")
