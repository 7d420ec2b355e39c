"""Packs as inputs of `predict` and `score`: they give what they were made of."""

import numpy as np
import packs
import pytest

from experiments.options.kinds import IMAGES
from experiments.serving import source as serving
from experiments.serving.source import Wanted, sources
from ssl_weighting.data.packed.folder_source import FolderSource
from ssl_weighting.data.packed.npz_source import NpzSource


@pytest.fixture(autouse=True)
def few_in_memory(monkeypatch):
    monkeypatch.setitem(serving.CHUNK, IMAGES, 5)


@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_a_pack_of_a_folder_gives_its_readable_images(tmp_path, store):
    folder = packs.make_folder(tmp_path / "set")
    packs.packed(FolderSource(folder), tmp_path / "pack", store)
    wanted = Wanted({IMAGES: (8, 6, 3)}, on_error="skip")
    (pack,) = sources([f"packed:{tmp_path / 'pack'}"], wanted)
    (given,) = sources([f"folder:{folder}"], wanted)
    expected = {n: x for c in given.chunks() for n, x in zip(c.names, c.inputs, strict=True)}
    found = [pair for c in pack.chunks() for pair in zip(c.names, c.inputs, strict=True)]
    names = [name for name, _ in found]
    assert names == list(pack.names()) and len(found) == pack.count == len(expected)
    # A folder that is scored is one pile; a pack tells its parts apart in its names alike.
    assert sorted(names) == sorted(expected)
    for name, image in found:
        np.testing.assert_array_equal(image, expected[name])


def test_chunks_that_are_not_wanted_are_not_read(tmp_path, monkeypatch):
    path = packs.make_npz(tmp_path / "set.npz")
    packs.packed(NpzSource(path), tmp_path / "pack")
    (pack,) = sources([f"packed:{tmp_path / 'pack'}"], Wanted({IMAGES: (4, 3, 3)}))
    with np.load(path) as arrays:
        whole = np.concatenate([c.inputs for c in pack.chunks()])
        assert sorted(map(bytes, whole)) == sorted(
            bytes(x) for part in packs.SIZES for x in arrays[f"x_{part}"]
        )
    read = []
    table = serving.Joined
    original = table.gather

    def gather(self, rows):
        if self.dtype == np.uint8:
            read.extend(np.asarray(rows).tolist())
        return original(self, rows)

    monkeypatch.setattr(table, "gather", gather)
    chunks = list(pack.chunks({1, 9}.__contains__))
    assert [len(c) for c in chunks] == [5, 3] and pack.count == 48
    assert read == [*range(5, 10), *range(45, 48)]
    np.testing.assert_array_equal(np.concatenate([c.inputs for c in chunks]), whole[read])


def test_packs_of_other_channels_are_refused_and_have_an_identity(tmp_path):
    for seed in (0, 1):
        path = packs.make_npz(tmp_path / f"{seed}.npz", seed=seed)
        packs.packed(NpzSource(path), tmp_path / str(seed))
    given = [f"packed:{tmp_path / str(seed)}" for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"must have 1 channels.*Received: 3"):
        sources(given[:1], Wanted({IMAGES: (4, 3, 1)}))
    wanted = Wanted({IMAGES: (4, 3, 3)})
    one, other = (sources([spec], wanted)[0].identity() for spec in given)
    assert one != other and sources(given[:1], wanted)[0].identity() == one
    assert sources([str(tmp_path / "0")], wanted)[0].identity() == one, "a path that is a pack"
    (tmp_path / "0" / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"manifest\.json"):
        sources(given[:1], wanted)


@pytest.mark.parametrize("file", ["train-names.bin", "train-name-ends.npy", "train-digests.npy"])
def test_a_pack_with_a_damaged_file_beside_its_images_is_refused(tmp_path, file):
    packs.packed(NpzSource(packs.make_npz(tmp_path / "set.npz")), tmp_path / "pack")
    path, wanted = tmp_path / "pack" / file, Wanted({IMAGES: (4, 3, 3)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must hold what was packed"):
        sources([f"packed:{tmp_path / 'pack'}"], wanted)
    path.unlink()
    with pytest.raises(ValueError, match=r"must be of a pack .*No such file"):
        sources([f"packed:{tmp_path / 'pack'}"], wanted)


@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_an_image_of_a_pack_that_is_damaged_has_a_line(tmp_path, store, capsys):
    folder = packs.make_folder(tmp_path / "set")
    packs.packed(FolderSource(folder), tmp_path / "pack", store)
    given = [f"packed:{tmp_path / 'pack'}"]
    wanted = Wanted({IMAGES: (9, 7, 3)}, on_error="skip")
    (whole,) = sources(given, wanted)
    assert f"2 files were left out of the pack: see {tmp_path / 'pack' / 'skipped.csv'}" in (
        capsys.readouterr().out
    )
    before = {n: x for c in whole.chunks() for n, x in zip(c.names, c.inputs, strict=True)}
    (shard,) = (tmp_path / "pack").glob("train-00001.*")
    content = bytearray(shard.read_bytes())
    place = len(content) - 5 if store == "pixels" else content.index(b"\x89PNG") + 60
    content[place] ^= 1
    shard.write_bytes(content)
    (pack,) = sources(given, wanted)
    chunks = list(pack.chunks())
    (lost,) = [pair for c in chunks for pair in c.skipped]
    assert lost[1].startswith("damaged since it was packed: ")
    after = {n: x for c in chunks for n, x in zip(c.names, c.inputs, strict=True)}
    assert before.keys() - after.keys() == {lost[0]}
    for name, image in after.items():
        np.testing.assert_array_equal(image, before[name])
    read = [fine for c in chunks for fine in c.read]
    names = list(pack.names())
    assert [n for n, fine in zip(names, read, strict=True) if not fine] == [lost[0]]
    (pack,) = sources(given, wanted._replace(on_error="stop"))
    with pytest.raises(ValueError, match="must be in the pack as it was packed"):
        list(pack.chunks())


@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_a_chunk_of_a_pack_may_be_damaged_as_a_whole(tmp_path, store):
    path = packs.make_folder(tmp_path / "set")
    packs.packed(FolderSource(path), tmp_path / "pack", store)
    (shard,) = (tmp_path / "pack").glob("train-00000.*")
    content = bytearray(shard.read_bytes())
    if store == "pixels":
        content[128:] = bytes(len(content) - 128)
    for begins in (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM") if store == "encoded" else ():
        content[content.index(begins) + 30] ^= 1
    shard.write_bytes(content)
    (pack,) = sources([f"packed:{tmp_path / 'pack'}"], Wanted({IMAGES: (4, 4, 3)}, on_error="skip"))
    chunks = list(pack.chunks())
    assert len(chunks[0].skipped) >= 4 and len(chunks[1].names) >= 4
    assert all(len(c.names) == len(c.inputs) and c.inputs.shape[1:] == (4, 4, 3) for c in chunks)
