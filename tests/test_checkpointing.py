"""Checkpoints: read back as written, or refused; a failed or killed save costs nothing."""

import errno
import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from ssl_weighting import checkpointing
from ssl_weighting.checkpointing import Checkpoints, CorruptError, MismatchError, read

FINGERPRINT = dict(dataset="digits", seed=1, split_hash="abc", depth=28, lambda_max="inf")


def state(step=0):
    rng = np.random.default_rng(step)
    return {
        "params/0000/kernel": rng.normal(size=(3, 3, 2, 4)).astype("f4"),
        "weights/0000/lam": np.float32([1.0, -0.0, np.nextafter(np.float32(1), np.float32(2))]),
        "weights/0001/visits": np.arange(5, dtype="i4") + step,
        "weights/0002/last_influence": np.float32([np.nan, -np.inf, 3e-42]),
        "theta_optimizer/0000/iteration": np.array(step, "i8"),
        "empty": np.zeros((0, 2), "f8"),
        "turned": np.asfortranarray(rng.normal(size=(4, 5))),
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name, x in a.items():
        y = b[name]
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of one run, at steps 10, 20 and 30."""
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", FINGERPRINT)
    for step in (10, 20, 30):
        checkpoints.save(step, state(step))
    return checkpoints


def flip(path, place, bit=0):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_round_trip_is_bit_for_bit(saved):
    step, found, complaints = saved.restore()
    assert (step, complaints) == (30, []) and found.keys() == state().keys()
    assert_same(found, state(30))


def test_nothing_saved_is_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path / "none", {}).restore() is None
    assert Checkpoints(tmp_path / "none", {}).paths() == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_last_k_are_kept_in_order_of_steps(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, FINGERPRINT, keep)
    for step in (5, 7, 100, 1000, 100_000):
        checkpoints.save(step, state(step))
    steps = [5, 7, 100, 1000, 100_000][-keep:]
    assert [path.name for path in checkpoints.paths()] == [f"ckpt-{s:09d}.npz" for s in steps]
    assert checkpoints.restore()[0] == 100_000


def test_saving_a_step_again_replaces_it(saved):
    saved.save(30, state(31))
    assert len(saved.paths()) == 3
    assert_same(saved.restore()[1], state(31))


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_none_is_refused(tmp_path, keep):
    with pytest.raises(ValueError, match=rf"`keep` must be at least 1. Received: keep={keep}"):
        Checkpoints(tmp_path, {}, keep)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_bit_of_an_array(path):
    flip(path, path.read_bytes().index(state(30)["params/0000/kernel"].tobytes()) + 7, bit=3)


def one_bit_of_the_manifest(path):
    flip(path, path.read_bytes().index(b"split_hash"))


def last_byte(path):
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path):
    path.write_bytes(b"")


def other_bytes(path):
    path.write_bytes(b"not a checkpoint\n" * 50)


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = (truncated, one_bit_of_an_array, one_bit_of_the_manifest, last_byte, emptied)
DAMAGES += (other_bytes, a_folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_file_falls_back_and_says_so(saved, damage):
    newest = saved.paths()[-1]
    damage(newest)
    step, found, complaints = saved.restore()
    assert step == 20
    assert_same(found, state(20))
    assert len(complaints) == 1 and f"{newest} is corrupt (" in complaints[0]


def test_two_damaged_files_are_both_named(saved):
    for path in saved.paths()[1:]:
        truncated(path)
    step, _, complaints = saved.restore()
    assert step == 10
    assert [c.split(" is corrupt")[0] for c in complaints] == [
        str(path) for path in reversed(saved.paths()[1:])
    ]


def test_no_intact_file_is_an_error_that_names_all(saved):
    for path in saved.paths():
        emptied(path)
    told = r"No checkpoint in .* is intact. .*30.npz .*10.npz .*--out"
    with pytest.raises(CorruptError, match=told):
        saved.restore()


def test_every_flipped_bit_is_found_or_harmless(tmp_path):
    """Harmless: in the zip's padding, dates and the like, which no array comes from."""
    checkpoints = Checkpoints(tmp_path, {"a": 1})
    expected = {"x": np.arange(3, dtype="f4")}
    path = checkpoints.save(3, expected)
    content = path.read_bytes()
    outcomes = {"found": 0, "harmless": 0}
    for place in range(0, 8 * len(content), 7):  # 7 is prime to 8: every bit of a byte has its turn
        path.write_bytes(content)
        flip(path, place // 8, place % 8)
        try:
            manifest, found = read(path)
        except CorruptError:
            outcomes["found"] += 1
            continue
        outcomes["harmless"] += 1
        assert (manifest["step"], manifest["fingerprint"]) == (3, {"a": 1})
        assert_same(found, expected)
    assert outcomes["found"] > 3 * outcomes["harmless"] / 2


def test_every_truncation_is_found(tmp_path):
    path = Checkpoints(tmp_path, {"a": 1}).save(3, {"x": np.arange(3, dtype="f4")})
    content = path.read_bytes()
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptError, match=r"is corrupt \("):
            read(path)


@pytest.mark.parametrize("change", ["replaced", "added", "removed", "retyped", "reshaped"])
def test_arrays_that_the_manifest_does_not_vouch_for_are_refused(saved, change):
    """A whole zip file with whole members, but not the members that were written."""
    path = saved.paths()[-1]
    with np.load(path) as file:
        arrays = dict(file)
    if change == "added":
        arrays["more"] = np.zeros(2)
    elif change == "removed":
        del arrays["weights/0000/lam"]
    else:
        lam = arrays["weights/0000/lam"]
        arrays["weights/0000/lam"] = {
            "replaced": lam + np.float32(1),
            "retyped": lam.view("i4"),
            "reshaped": lam[None],
        }[change]
    np.savez(path, **arrays)
    name = "more" if change == "added" else "weights/0000/lam"
    with pytest.raises(CorruptError, match=rf"SHA-256 differs for {name}\)"):
        read(path)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"split_hash": "xyz"}, r"split_hash: the checkpoint has 'abc', this run 'xyz'"),
        ({"depth": 10}, r"depth: the checkpoint has 28, this run 10"),
        ({"new": True}, r"new: the checkpoint has 'nothing', this run True"),
        ({"seed": 2, "dataset": "mnist"}, r"dataset: .*'digits'.*'mnist'; seed: .*1, this run 2"),
    ],
)
def test_another_run_is_refused_with_each_difference(saved, changes, text):
    other = Checkpoints(saved.folder, FINGERPRINT | changes)
    with pytest.raises(MismatchError, match=rf"refusing to resume. {text}") as caught:
        other.restore()
    assert str(caught.value).count("the checkpoint has") == len(changes)
    assert "--out" in str(caught.value)


def test_an_option_that_is_gone_is_a_difference(saved):
    other = Checkpoints(saved.folder, {k: v for k, v in FINGERPRINT.items() if k != "seed"})
    with pytest.raises(MismatchError, match=r"seed: the checkpoint has 1, this run 'nothing'"):
        other.restore()


def test_the_fingerprint_is_compared_as_json(saved):
    assert Checkpoints(saved.folder, FINGERPRINT | {"depth": 28}).restore()[0] == 30
    tuples = Checkpoints(saved.folder / "t", {"shape": (1, 2)})
    tuples.save(1, state())
    assert Checkpoints(saved.folder / "t", {"shape": [1, 2]}).restore()[0] == 1


class FullDisk(io.FileIO):
    """A file that takes `room` bytes and then says ENOSPC, as a full disk does."""

    room = 0

    def write(self, data):
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("room", [0, 50, 1500, 2500])
def test_a_full_disk_leaves_the_old_files_and_names_the_new_one(saved, monkeypatch, room):
    before = {path: path.read_bytes() for path in saved.paths()}
    monkeypatch.setattr(FullDisk, "room", room)
    monkeypatch.setattr(checkpointing, "open", FullDisk, raising=False)
    with pytest.raises(
        OSError, match=r"could not write checkpoint .*000000040.npz \(\d+ bytes\)"
    ) as e:
        saved.save(40, state(40))
    assert e.value.errno == errno.ENOSPC
    assert "No space left on device. Earlier checkpoints are intact" in str(e.value)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in saved.folder.iterdir()} == before
    assert saved.restore()[0] == 30
    assert saved.save(40, state(40)).exists()


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_failures_after_writing_are_told_the_same_way(saved, monkeypatch, name):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpointing.os, name, fail)
    with pytest.raises(OSError, match=r"could not write checkpoint .*Input/output error"):
        saved.save(40, state(40))
    assert len(list(saved.folder.iterdir())) == 3


def test_a_failure_without_a_text_is_told_anyway(saved, monkeypatch):
    def fail(*_, **__):
        raise OSError("6000 requested and 3 written")  # numpy's own way of saying it

    monkeypatch.setattr(checkpointing.np, "savez", fail)
    with pytest.raises(OSError, match=r"could not write .*6000 requested and 3 written"):
        saved.save(40, state(40))


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_pickled_objects_are_refused_not_executed(saved):
    path = saved.paths()[-1]
    with zipfile.ZipFile(path, "a") as archive, archive.open("bomb.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|O", "fortran_order": False, "shape": (1,)}
        )
        member.write(pickle.dumps([Bomb()]))
    with pytest.raises(CorruptError, match=r"Object arrays cannot be loaded"):
        read(path)
    with pytest.raises(SystemExit, match="executed"):  # the bomb is live
        np.load(path, allow_pickle=True)["bomb"]
    assert saved.restore()[0] == 20


def test_objects_are_not_written(saved):
    with pytest.raises(
        ValueError, match=r"arrays of numbers.*Received: Python objects in \['bad'\]"
    ):
        saved.save(40, state(40) | {"bad": np.array([Bomb()], object)})
    assert saved.restore()[0] == 30


@pytest.mark.parametrize("name", ["manifest", "file", "allow_pickle"])
def test_reserved_names_are_refused(saved, name):
    with pytest.raises(
        ValueError, match=rf"`state` must not use the names .*Received: \['{name}'\]"
    ):
        saved.save(40, {name: np.zeros(1)})
    assert saved.restore()[0] == 30


def test_leftovers_and_strangers_are_ignored(saved):
    leftover = saved.folder / "ckpt-000000040.partial"
    leftover.write_bytes(b"half a checkpoint")
    strangers = [saved.folder / n for n in ("ckpt-40.npz", "notes.txt", "xckpt-000000040.npz")]
    for stranger in strangers:
        stranger.write_bytes(b"")
    step, _, complaints = saved.restore()
    assert (step, complaints) == (30, [])
    saved.save(50, state(50))
    assert not leftover.exists(), "the next save frees what a killed one left"
    assert all(stranger.exists() for stranger in strangers)


def test_a_save_that_is_killed_leaves_the_newest_whole(saved, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(checkpointing.os, "replace", killed)
    with pytest.raises(Killed):
        saved.save(40, state(40))
    monkeypatch.undo()
    assert (saved.folder / "ckpt-000000040.partial").exists()
    assert saved.restore()[0] == 30


def test_the_manifest_is_plain_json(saved):
    with np.load(saved.paths()[0], allow_pickle=False) as file:
        manifest = json.loads(file["manifest"].tobytes())
    assert manifest["step"] == 10 and manifest["fingerprint"] == FINGERPRINT
    assert manifest["sha256"].keys() == state().keys()
