"""Rows of packs against numpy, in any nest of tables; what is damaged is named."""

import hashlib
import io
import json
import threading

import numpy as np
import packs
import pytest
from fuzz import fuzz
from hypothesis import strategies as st
from PIL import Image

from experiments.benchmarks.memory import STATUS, resident_mb
from ssl_weighting.data.example_table import ArrayTable, ExampleTable, Joined
from ssl_weighting.data.images.picture import PictureError, read_picture
from ssl_weighting.data.packed import mapped, shards
from ssl_weighting.data.packed.manifest import FILE, Shard, check_digest, read_manifest
from ssl_weighting.data.packed.mapped import MappedTable
from ssl_weighting.data.packed.names import Names
from ssl_weighting.data.packed.packed_set import load_packed, table_of_pack
from ssl_weighting.data.packed.records import RecordTable, record_file

SIZE = (4, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(table, its rows) of each kind."""
    folder = tmp_path_factory.mktemp("packs")
    path = packs.make_npz(folder / "own.npz", SIZE)
    pixels = packs.pack_npz(path, folder / "pixels")
    root = packs.make_folder(folder / "set", SIZE)
    encoded = packs.pack_folder(root, folder / "encoded", "encoded")
    with np.load(path) as arrays:
        first = arrays["x_train"]
    names = Names(encoded, "unlabeled")
    second = np.stack([read_picture(root / name) for name in names])
    found = [
        (table_of_pack(pixels, read_manifest(pixels), "train"), first),
        (table_of_pack(encoded, read_manifest(encoded), "unlabeled"), second),
        (ArrayTable(first[:6]), first[:6]),
    ]
    assert [type(table) for table, _ in found] == [MappedTable, RecordTable, ArrayTable]
    return found


def nest(made, rng, depth):
    """Return a table of tables and the array that it stands for."""
    if not depth:
        return made[rng.integers(len(made))]
    if rng.integers(2):
        table, rows = nest(made, rng, depth - 1)
        chosen = rng.integers(len(rows), size=rng.integers(1, 12))
        return table.take(chosen), rows[chosen]
    parts = [nest(made, rng, depth - 1) for _ in range(rng.integers(1, 4))]
    return Joined(table for table, _ in parts), np.concatenate([rows for _, rows in parts])


@fuzz(60, seed=st.integers(0, 2**32 - 1), depth=st.integers(0, 3))
def _check_nest(made, seed, depth):
    rng = np.random.default_rng(seed)
    table, rows = nest(made, rng, depth)
    asked = rng.integers(len(rows), size=rng.integers(0, 40))
    found = table.gather(asked)
    np.testing.assert_array_equal(found, rows[asked], strict=True)
    assert found.flags.c_contiguous and found.flags.owndata and found.flags.writeable
    digests = [list(hashlib.sha256(row.tobytes()).digest()) for row in rows]
    np.testing.assert_array_equal(table.row_digests(), digests)
    np.testing.assert_array_equal(table.row_digests(asked), table.row_digests()[asked])
    np.testing.assert_array_equal(np.concatenate(list(table.blocks(5))), rows)
    np.testing.assert_array_equal(table[3:1:-1], rows[3:1:-1])


def test_any_nest_of_tables_is_the_expression_of_numpy(made):
    _check_nest(made)


def test_rows_that_are_not_there_are_refused(made):
    for table, rows in made[:2]:
        for wrong in ([-1], [len(rows)], [0.5]):
            with pytest.raises(ValueError, match=r"`rows` must be in 0\.\."):
                table.gather(np.array(wrong))


def test_threads_read_at_once(made):
    wrong = []

    def read(table, rows, seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            asked = rng.integers(len(rows), size=20)
            if not np.array_equal(table.gather(asked), rows[asked]):
                wrong.append(seed)

    threads = [
        threading.Thread(target=read, args=(table, rows, k))
        for k, (table, rows) in enumerate(made[:2] * 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("kind", [MappedTable, RecordTable])
def test_few_files_are_open_at_once(made, monkeypatch, kind):
    opened = []

    class Counting(kind):
        def _open(self, k):
            opened.append(k)
            return super()._open(k)

    monkeypatch.setattr(shards, "MOST_OPEN", 1)
    table, rows = made[kind is RecordTable]
    few = Counting(table._folder, table._shards, rows.shape[1:], table._digests, None)
    np.testing.assert_array_equal(few.loaded(), rows)
    few.gather(np.array([len(rows) - 1]))
    few.gather(np.array([0, 0]))
    assert opened == [*range(len(table._shards)), 0]


@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_pages_that_were_read_are_given_back(tmp_path, monkeypatch):
    count, width = 64, 2**19
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, width, 1, 1), np.uint8
    )
    np.save(tmp_path / "train-00000.npy", pixels)
    digests = np.array([list(hashlib.sha256(row).digest()) for row in pixels], np.uint8)
    known = (tmp_path, [Shard("train-00000.npy", count, 0)], pixels.shape[1:], digests, None)
    added = {}
    for budget in (2**30, 2**21):
        monkeypatch.setattr(mapped, "BUDGET", budget)
        table, before = MappedTable(*known), resident_mb("file")
        for row in np.random.default_rng(0).permutation(count):
            table.gather(np.array([row]))
        added[budget] = resident_mb("file") - before
        np.testing.assert_array_equal(table.loaded(), pixels)
    assert added[2**30] > 30 and added[2**21] < 15


def test_names_are_read_by_row(tmp_path):
    packs.pack_npz(packs.make_npz(tmp_path / "own.npz"), tmp_path / "pack")
    names = Names(tmp_path / "pack", "train")
    assert names.shape == (23,) and names.dtype == object and isinstance(names, ExampleTable)
    assert names[0] == "x_train[0]" and names[-1] == "x_train[22]"
    assert names[4:6].tolist() == ["x_train[4]", "x_train[5]"]
    assert names.take(np.array([7, 0, 7])).tolist() == ["x_train[7]", "x_train[0]", "x_train[7]"]
    assert list(names) == names.tolist() == [f"x_train[{k}]" for k in range(23)]
    assert names.gather(np.array([], int)).shape == (0,)


@pytest.fixture
def pixels(tmp_path):
    return packs.pack_npz(packs.make_npz(tmp_path / "own.npz", SIZE), tmp_path / "pack")


@pytest.fixture
def encoded(tmp_path):
    root = packs.make_folder(tmp_path / "set", SIZE)
    return packs.pack_folder(root, tmp_path / "pack", "encoded")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_flipped_pixel_names_its_example(pixels):
    path = pixels / "train-00001.npy"
    flip(path, path.stat().st_size - 1)  # of row 9
    table = load_table(pixels)
    table.gather(np.arange(9))
    with pytest.raises(PictureError, match=r"x_train\[9\] .*train-00001\.npy, damaged since"):
        table.gather(np.array([3, 9, 4]))


def test_pixels_of_another_pack_are_found(pixels, tmp_path):
    other = packs.make_npz(tmp_path / "other.npz", SIZE, seed=1)
    packs.pack_npz(other, tmp_path / "other")
    (tmp_path / "other/train-00000.npy").replace(pixels / "train-00000.npy")
    with pytest.raises(PictureError, match=r"x_train\[1\] .*train-00000\.npy, damaged since"):
        load_table(pixels).gather(np.array([1]))


def test_a_flipped_record_names_its_example(encoded):
    table = load_table(encoded)
    path = encoded / "train-00001.array_record"
    record = table._opened(1).read([2])[0]
    place = path.read_bytes().index(record) + len(record) // 2
    flip(path, place)
    fresh = load_table(encoded)
    fresh.gather(np.array([0, 4, 5, 7]))
    with pytest.raises(PictureError, match=r"cat/6\.png .*train-00001\.array_record, damaged"):
        fresh.gather(np.array([7, 6, 0]))


def test_a_record_that_is_no_picture_names_its_example(encoded, tmp_path):
    name = "train-00000.array_record"
    for content, reason in ((b"nothing", "none of these formats"), (png(5, 5), "5x5 pixels")):
        with record_file(encoded / name) as add:
            for _ in range(4):
                add(content)
        manifest = json.loads((encoded / FILE).read_text())
        manifest["parts"]["train"][0][2] = (encoded / name).stat().st_size
        (encoded / FILE).write_text(json.dumps(manifest))
        with pytest.raises(PictureError, match=rf"cat/2\.webp .*damaged since .*{reason}"):
            load_table(encoded).gather(np.array([2]))


def png(height, width):
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "png")
    return stream.getvalue()


def test_a_record_file_that_was_cut_is_refused_though_it_opens(encoded):
    path = encoded / "train-00000.array_record"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"train-00000\.array_record must be as it was packed, of"):
        load_packed(encoded)
    shard = [Shard(path.name, 4, path.stat().st_size)]
    with pytest.raises(ValueError, match=r"must hold 4 records. Received: 0"):
        RecordTable(encoded, shard, (*SIZE, 3), np.zeros((4, 32), np.uint8), None).gather(
            np.array([1])
        )


@pytest.mark.parametrize("name", ["train-00001.npy", "test-digests.npy", "skipped.csv"])
def test_a_missing_file_is_named(pixels, name):
    (pixels / name).unlink()
    with pytest.raises(ValueError, match=r"pack.* must be of a pack.*No such file"):
        load_packed(pixels)


@pytest.mark.parametrize(
    "name", ["train-labels.npy", "test-digests.npy", "unlabeled-names.bin", "train-name-ends.npy"]
)
def test_a_flipped_byte_beside_the_shards_is_found(pixels, name):
    check_digest(pixels, read_manifest(pixels))
    flip(pixels / name, -1)
    with pytest.raises(ValueError, match="must hold what was packed"):
        load_packed(pixels)


def test_a_damaged_manifest_is_refused(pixels):
    text = (pixels / FILE).read_text()
    for wrong in (
        "", "[]", text[:-40], text.replace('"pixels"', '"shelf"'), text.replace("train", "train-"),
        text.replace('"format": 1', '"format": 2'), text.replace('"train-00000', '"../train-00000'),
        text.replace('"digest"', '"digits"'), text.replace('"identity"', '"format": 1, "other"'),
    ):  # fmt: skip
        assert wrong != text
        (pixels / FILE).write_text(wrong)
        with pytest.raises(ValueError, match=r"manifest\.json must be of a pack"):
            load_packed(pixels)
    (pixels / FILE).write_text(text.replace('"a"', '"z"'))
    with pytest.raises(ValueError, match="must hold what was packed"):
        load_packed(pixels)
    (pixels / FILE).unlink()
    with pytest.raises(ValueError, match=r"must be a finished pack. Received: no manifest\.json"):
        load_packed(pixels)


def load_table(folder):
    return table_of_pack(folder, read_manifest(folder), "train")


@pytest.mark.parametrize(("name", "way"), [("manifest.json", "Its folder is"), ("x", "Name its")])
def test_a_file_is_no_pack(tmp_path, name, way):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"{name} must be the folder of a pack\. .*{way}"):
        read_manifest(tmp_path / name)
