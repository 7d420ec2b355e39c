"""Fetching Fashion-MNIST: with stand-ins for apt-get and dpkg-deb, nothing touches a network."""

import gzip
import hashlib
import subprocess
from pathlib import Path

import pytest
from data_files import idx_bytes

from ssl_weighting.data.images import debian
from ssl_weighting.data.images.by_name import load_images

NAMES = [
    f"{part}-{what}-ubyte.gz"
    for part in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
]
DEB = b"the package"
NO_LISTS = "E: Unable to locate package dataset-fashion-mnist"


def whole(name):
    return gzip.compress(idx_bytes(name.removesuffix(".gz")), mtime=0)


def check_private(options, work):
    """Lists and caches lie in the work folder, with the sub-folders that apt wants."""
    lists, cache = work / "lists", work / "cache"
    assert options == ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    assert (lists / "partial").is_dir() and (cache / "archives" / "partial").is_dir()


class FakeMachine:
    """Stands in for the two programs; `calls` are their names."""

    def __init__(self, monkeypatch):
        self.calls, self.deb, self.files, self.failure = [], DEB, NAMES, ""
        self.outdated, self.update_failure = False, ""
        monkeypatch.setattr(debian.subprocess, "run", self.run)
        monkeypatch.setattr(debian.shutil, "which", lambda program: f"/bin/{program}")
        monkeypatch.setattr(debian, "DEB_SHA256", hashlib.sha256(DEB).hexdigest())

    def run(self, command, cwd, timeout, **options):
        assert timeout > 0
        self.calls.append(command[0])
        *options, action = command[1:]
        if action == "update":
            check_private(options, cwd)
            failed = 100 if self.update_failure else 0
            return subprocess.CompletedProcess(command, failed, "", self.update_failure)
        if self.failure:
            return subprocess.CompletedProcess(command, 100, "", self.failure)
        if command[0] == "apt-get":
            assert command[-2:] == ["download", "dataset-fashion-mnist"]
            if self.outdated and len(command) == 3:
                return subprocess.CompletedProcess(command, 100, "", NO_LISTS)
            if len(command) > 3:
                check_private(command[1:-2], cwd)
            (cwd / "dataset-fashion-mnist_1_all.deb").write_bytes(self.deb)
        else:
            assert command[1] == "-x"
            assert Path(command[2]).read_bytes() == self.deb
            folder = cwd / "tree" / "usr/share/datasets/fashion-mnist"
            folder.mkdir(parents=True)
            for name in self.files:
                (folder / name).write_bytes(whole(name))
            (folder / "README").write_text("not wanted")
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def machine(monkeypatch):
    return FakeMachine(monkeypatch)


def test_the_four_files_and_nothing_else_arrive(machine, tmp_path):
    folder = debian.fetch_fashion_mnist(tmp_path / "cache")
    assert folder == tmp_path / "cache" / "fashion-mnist"
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES)
    assert (folder / NAMES[0]).read_bytes() == whole(NAMES[0])
    assert [p.name for p in folder.parent.iterdir()] == ["fashion-mnist"]
    assert machine.calls == ["apt-get", "dpkg-deb"]


def test_a_second_call_runs_nothing(machine, tmp_path):
    first, second = (debian.fetch_fashion_mnist(tmp_path) for _ in range(2))
    assert first == second
    assert len(machine.calls) == 2


def test_relative_cache_folders_work(machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert debian.fetch_fashion_mnist("cache") == tmp_path / "cache" / "fashion-mnist"


def test_an_incomplete_folder_is_replaced(machine, tmp_path):
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / NAMES[0]).write_bytes(b"half")
    folder = debian.fetch_fashion_mnist(tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES)
    assert (folder / NAMES[0]).read_bytes() == whole(NAMES[0])


@pytest.mark.parametrize("read", [debian.fetch_fashion_mnist, None])
def test_a_damaged_cache_is_fetched_again(machine, tmp_path, capsys, read):
    read = read or (lambda cache: load_images("fashion_mnist", cache_dir=cache))
    read(debian.fetch_fashion_mnist(tmp_path).parent)
    assert len(machine.calls) == 2
    damaged = bytearray(whole(NAMES[0]))
    damaged[-20] ^= 1
    (tmp_path / "fashion-mnist" / NAMES[0]).write_bytes(damaged)
    read(tmp_path)
    assert (tmp_path / "fashion-mnist" / NAMES[0]).read_bytes() == whole(NAMES[0])
    assert "fashion-mnist in the cache is damaged" in capsys.readouterr().out
    assert len(machine.calls) == 4


def test_a_damaged_cache_stays_where_it_cannot_be_fetched_again(machine, tmp_path):
    debian.fetch_fashion_mnist(tmp_path)
    file = tmp_path / "fashion-mnist" / NAMES[0]
    file.write_bytes(b"half")
    machine.failure = machine.update_failure = "E: no network"
    with pytest.raises(ValueError, match=rf"{NAMES[0]} must .* could not be fetched again.*no net"):
        load_images("fashion_mnist", cache_dir=tmp_path)
    assert file.read_bytes() == b"half"


def test_another_package_is_not_opened(machine, tmp_path):
    machine.deb = b"something else"
    received = hashlib.sha256(machine.deb).hexdigest()
    with pytest.raises(RuntimeError, match=rf"must have SHA-256 .* Received: {received}"):
        debian.fetch_fashion_mnist(tmp_path)
    assert machine.calls == ["apt-get"]
    assert list(tmp_path.iterdir()) == []


def test_missing_package_lists_are_fetched_once_into_the_work_folder(machine, tmp_path):
    machine.outdated = True
    folder = debian.fetch_fashion_mnist(tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES)
    assert machine.calls == ["apt-get"] * 3 + ["dpkg-deb"]
    assert [p.name for p in tmp_path.iterdir()] == ["fashion-mnist"]


@pytest.mark.parametrize(
    ("update_failure", "second", "calls"),
    [("", r"exit code 100, 'E: Unable", 3), ("E: no host", r"`apt-get update` gave .*no host", 2)],
)
def test_both_failed_attempts_are_explained(machine, tmp_path, update_failure, second, calls):
    machine.failure, machine.update_failure = f"{NO_LISTS}\nW: also this", update_failure
    with pytest.raises(
        RuntimeError,
        match=r"with the machine's package lists, exit code 100, 'E: Unable to locate.*; "
        rf"with lists of its own, {second}",
    ):
        debian.fetch_fashion_mnist(tmp_path)
    assert len(machine.calls) == calls
    assert list(tmp_path.iterdir()) == []


def test_a_package_without_the_files_is_refused(machine, tmp_path):
    machine.files = NAMES[:3]
    with pytest.raises(OSError, match=r"must unpack to the four files"):
        debian.fetch_fashion_mnist(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["apt-get", "dpkg-deb"])
def test_missing_programs_are_named(machine, tmp_path, monkeypatch, program):
    monkeypatch.setattr(debian.shutil, "which", lambda name: None if name == program else name)
    with pytest.raises(RuntimeError, match=rf"`{program}` must be installed .* no such program"):
        debian.fetch_fashion_mnist(tmp_path)
    assert machine.calls == []


def test_a_download_without_end_is_stopped(machine, tmp_path, monkeypatch):
    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(debian.subprocess, "run", hang)
    with pytest.raises(RuntimeError, match=r"must end within 600 s. Received: it still runs"):
        debian.fetch_fashion_mnist(tmp_path)


def test_the_checksum_is_that_of_the_published_package():
    assert len(debian.DEB_SHA256) == 64
    assert debian.DEB_SHA256.startswith("39e172fe32dd318e")
