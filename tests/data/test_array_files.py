"""Files of arrays, damaged and hostile: refused by name in time; caches are made again."""

import bz2
import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from data_files import idx_bytes
from memory_limits import limit_memory

from ssl_weighting.data.array_files import kept, read_npz, write_array
from ssl_weighting.data.images.idx import read_idx


def npy(shape, descr="|u1", content=b""):
    """A .npy file whose header may claim what it likes."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def understated(path):
    """Two members that share their bytes, as archives that unpack to more than fits do."""
    archive(path, [("a.npy", npy((1000,), content=bytes(1000)))])
    whole = path.read_bytes()
    start = whole.index(b"PK\1\2")
    entry, end = whole[start : whole.index(b"PK\5\6")], whole[whole.index(b"PK\5\6") :]
    end = end[:8] + struct.pack("<HHI", 2, 2, 2 * len(entry)) + end[16:]
    path.write_bytes(whole[:start] + entry + entry.replace(b"a.npy", b"b.npy") + end)
    return path


ZEROS = np.zeros(10**6, np.uint8)
HOSTILE = {
    "a header beyond its data": lambda p: archive(p, [("x.npy", npy((48 * 10**9,)))]),
    "a header short of its data": lambda p: archive(p, [("x.npy", npy((2,), content=b"abc"))]),
    "a packing of 1:1000000": lambda p: archive(
        p, [("x.npy", npy((10**6,), content=bytes(10**6)))], zipfile.ZIP_BZIP2
    ),
    "an array twice": lambda p: archive(p, [("x.npy", npy((0,))), ("x", npy((0,)))]),
    "arrays that overlap": understated,
    "no array": lambda p: archive(p, [("x.npy", b"text")]),
    "objects": lambda p: np.savez(p, x=np.array([{}], object)),
    "an unknown format": lambda p: archive(p, [("x.npy", b"\x93NUMPY\x09\x00" + npy((0,))[8:])]),
    "a folder": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_npz_files_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "own.npz"
    HOSTILE[kind](path)
    with pytest.raises(ValueError, match=r"own.npz must be an .npz file of plain arrays"):
        read_npz(path)


def test_more_than_the_memory_is_refused_before_it_is_taken(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "own.npz", x=ZEROS)
    assert len(read_npz(tmp_path / "own.npz")["x"]) == 10**6
    limit_memory(monkeypatch, tmp_path, 100_000)
    with pytest.raises(ValueError, match=r"own.npz .* Received: 0.0 GB, more than the 0.0 GB of"):
        read_npz(tmp_path / "own.npz")


def test_an_idx_file_that_claims_too_much_is_refused(tmp_path):
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**20, 256, 256)
    (tmp_path / "a.gz").write_bytes(gzip.compress(header))
    with pytest.raises(ValueError, match=r"a.gz must be a complete gzip file.*68,719,476,736"):
        read_idx(tmp_path / "a.gz", 3)


def flipped(content, seed):
    changed = bytearray(content)
    place = np.random.default_rng(seed).integers(8 * len(content))
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_of_an_npz_changes_nothing_or_is_refused(tmp_path, rng, save):
    path = tmp_path / "own.npz"
    arrays = {"x_train": rng.integers(0, 256, (9, 4, 4)).astype(np.uint8), "y_train": np.arange(9)}
    save(path, **arrays)
    whole, refused = path.read_bytes(), 0
    for seed in range(300):
        path.write_bytes(flipped(whole, seed))
        try:
            found = read_npz(path)
        except ValueError as error:
            assert "own.npz must be an .npz file" in str(error)
            refused += 1
            continue
        if found.keys() == arrays.keys():  # else a name changed, which the reader's caller refuses
            for name, array in arrays.items():
                assert found[name].dtype == array.dtype
                np.testing.assert_array_equal(found[name], array)
    assert refused > 100


def test_a_damaged_cache_is_made_again_always(tmp_path, rng):
    path, made = tmp_path / "cache.npz", rng.normal(size=(6, 5)).astype(np.float32)
    write_array(path, "recipe", made)
    whole, said = path.read_bytes(), []
    contents = [flipped(whole, seed) for seed in range(300)]
    contents += [b"", whole[:100], b"text", bz2.compress(whole)]
    digest = np.load(path)["digest"]
    np.savez(
        tmp_path / "other.npz", array=made + 1, name="recipe", digest=digest
    )  # no bit is wrong
    contents.append((tmp_path / "other.npz").read_bytes())
    for content in contents:
        path.write_bytes(content)
        found = kept(path, "recipe", (6,), lambda: made, said.append)
        np.testing.assert_array_equal(found, made)
        assert found.dtype == np.float32
    assert len(said) > 200 and all("cache.npz in the cache is damaged" in line for line in said)
    np.testing.assert_array_equal(kept(path, "recipe", (6,), pytest.fail, said.append), made)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_of_an_idx_file_is_refused_by_name(tmp_path, compressed):
    content = idx_bytes("train-labels-idx1-ubyte")
    path = tmp_path / ("labels.gz" if compressed else "labels")
    for place in range(8 * 8):  # the header: IDX has no checksum, gzip has one
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(gzip.compress(bytes(changed)) if compressed else bytes(changed))
        with pytest.raises(ValueError, match=rf"{path.name} must"):
            read_idx(path, 1)
    packed = gzip.compress(content)
    for seed in range(300 if compressed else 0):
        path.write_bytes(flipped(packed, seed))
        try:
            assert read_idx(path, 1).tobytes() == content[8:]
        except ValueError as error:
            assert "labels.gz must" in str(error)
