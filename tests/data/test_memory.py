"""Memory that there is, by files of the system made up here; refusals before it is taken."""

import math
import os

import numpy as np
import pytest
from memory_limits import limit_memory

from experiments.assemble import build
from ssl_weighting.data import example_table, memory
from ssl_weighting.data.array_files import size_of_npz
from ssl_weighting.data.images import folders, npz
from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.npz import load_npz
from ssl_weighting.data.memory import TooLargeError, available, machine_memory, require
from tests.helpers.raw_sets import make_raw


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 1,000 pages of 1,024 bytes; its control groups are made in the folder."""
    sizes = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 1024}
    monkeypatch.setattr(os, "sysconf", sizes.get)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    (tmp_path / "proc" / "self").mkdir(parents=True)
    return tmp_path


def tell(machine, groups, meminfo="MemTotal: 1000 kB\nMemAvailable:  600 kB\n"):
    (machine / "proc" / "self" / "cgroup").write_text(groups)
    (machine / "proc" / "meminfo").write_text(meminfo)


def group(folder, limit, used, cached, files=memory._V2):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files[0]).write_text(f"{limit}\n")
    (folder / files[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{files[2]} {cached}\nunevictable 0\n")


def test_without_limits_it_is_what_the_machine_has_free(machine):
    tell(machine, "0::/\n")
    assert (machine_memory(), available()) == (1_024_000, 600 * 1024)


def test_where_the_system_does_not_tell_it_is_all_of_it(machine):
    assert (machine_memory(), available()) == (1_024_000, 1_024_000)


def test_a_group_of_version_2_counts_with_those_above_it(machine):
    tell(machine, "0::/jobs/mine\n")
    group(machine / "jobs" / "mine", "max", 10, 0)
    group(machine / "jobs", 300_000, 250_000, 20_000)
    assert (machine_memory(), available()) == (300_000, 70_000)
    group(machine / "jobs" / "mine", 90_000, 50_000, 5_000)
    assert (machine_memory(), available()) == (90_000, 45_000)
    group(machine / "jobs" / "other", 1, 1, 0)  # not ours
    assert available() == 45_000


def test_a_group_of_version_1_counts_with_those_above_it(machine):
    tell(machine, "9:name=systemd:/\n4:cpu,memory:/jobs/mine\n0::/\n")
    base = machine / "memory"
    group(base, 9223372036854771712, 10**9, 0, memory._V1)
    group(base / "jobs" / "mine", 200_000, 150_000, 30_000, memory._V1)
    assert (machine_memory(), available()) == (200_000, 80_000)


def test_a_container_sees_its_group_at_the_root_under_the_machines_path(machine):
    tell(machine, "4:memory:/docker/0f1e\n")
    group(machine / "memory", 100_000, 60_000, 1_000, memory._V1)
    assert available() == 41_000


def test_a_group_that_has_used_more_than_its_limit_leaves_nothing(machine):
    tell(machine, "0::/\n")
    group(machine, 1_000, 1_500, 0)
    assert available() == 0


def test_addresses_that_ulimit_leaves_count(machine, monkeypatch):
    tell(machine, "0::/\n")
    (machine / "proc" / "self" / "statm").write_text("50 20 1 1 0 9 0\n")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 1024}.get)
    limits = {"most": 150 * 1024}
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (limits["most"], -1))
    assert available() == 100 * 1024
    limits["most"] = 40 * 1024
    assert available() == 0
    limits["most"] = memory.resource.RLIM_INFINITY
    assert available() == 600 * 1024
    (machine / "proc" / "self" / "statm").unlink()
    limits["most"] = 7 * 1024
    assert available() == 7 * 1024


def test_what_fits_is_required_in_silence_and_the_rest_refused_in_words(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**40, "SC_PAGE_SIZE": 1}.get)
    limit_memory(monkeypatch, tmp_path, 7_100_000_000, used=1_000, cached=1_000)
    require(7_100_000_000, "All of it", "Take less")
    message = (
        r"The images need about 24.6 GB of memory. Received: 7.1 GB free. "
        r"Use --source=stream, which keeps them on disk, or a smaller --image_size\."
    )
    with pytest.raises(TooLargeError, match=message):
        require(24.6e9, "The images", f"{memory.STREAM}, or a smaller --image_size")


def test_images_below_large_are_copied_and_others_are_not():
    assert 4 < memory.need_of_images(example_table.LARGE - 1) / example_table.LARGE < 5
    assert 1.2 < memory.need_of_images(example_table.LARGE) / example_table.LARGE < 2.2


def test_a_file_of_arrays_is_refused_before_it_is_read(monkeypatch, tmp_path):
    path, x = tmp_path / "own.npz", np.zeros((30, 4, 4, 1), np.uint8)
    x[:, 0, 0, 0] = np.arange(30)
    np.savez_compressed(path, x_train=x, y_train=np.arange(30) % 3)
    size = size_of_npz(path)
    assert 0 <= size - (x.nbytes + 30 * 8) < 512  # two headers
    need = math.ceil(memory.need_of_images(size))
    limit_memory(monkeypatch, tmp_path, need)
    assert len(load_npz(path).train) == 24
    limit_memory(monkeypatch, tmp_path, need - 1)
    monkeypatch.setattr(npz, "read_npz", None)
    with pytest.raises(TooLargeError, match=r"The images of own.npz need .* --source=stream"):
        load_npz(path)


def test_a_file_of_arrays_is_weighed_with_the_size_that_its_images_get(monkeypatch, tmp_path):
    path, x = tmp_path / "own.npz", np.zeros((30, 4, 4, 1), np.uint8)
    x[:, :, :, 0] = np.arange(30)[:, None, None]
    np.savez(path, x_train=x, y_train=np.arange(30) % 3)
    size = size_of_npz(path)
    limit_memory(monkeypatch, tmp_path, math.ceil(memory.need_of_images(size)))
    assert len(load_npz(path, 4).train) == 24
    need = math.ceil(size + memory.need_of_images(30 * 8 * 8))
    limit_memory(monkeypatch, tmp_path, need)
    assert load_npz(path, 8).train.inputs.shape == (24, 8, 8, 1)
    limit_memory(monkeypatch, tmp_path, need - 1)
    with pytest.raises(TooLargeError, match=r"The images of own.npz need"):
        load_npz(path, 8)


def test_a_folder_is_refused_after_its_first_picture(monkeypatch, tmp_path):
    from PIL import Image

    for k in range(6):
        folder = tmp_path / "set" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), k, np.uint8)).save(folder / f"{k}.png")
    size = 6 * 4 * 4
    need = math.ceil(memory.need_of_images(size)) + size  # each picture and all of them
    limit_memory(monkeypatch, tmp_path, need)
    assert len(load_folder(tmp_path / "set").train) == 4
    limit_memory(monkeypatch, tmp_path, need - 1)
    monkeypatch.setattr(folders, "own_dataset", None)
    with pytest.raises(TooLargeError, match=r"The 6 images of .* --source=stream.*--image_size"):
        load_folder(tmp_path / "set")


def test_the_copy_of_u_is_refused_before_it_is_made(monkeypatch, tmp_path):
    images = np.zeros((10, 4, 4, 1), np.uint8)
    limit_memory(monkeypatch, tmp_path, 2 * images.nbytes)
    build._check_memory(images)
    limit_memory(monkeypatch, tmp_path, 2 * images.nbytes - 1)
    with pytest.raises(TooLargeError, match="The unlabeled inputs, as TensorFlow has them"):
        build._check_memory(images)
    build._check_memory(example_table.ArrayTable(images))  # is not copied
    monkeypatch.setattr(example_table, "LARGE", images.nbytes)
    build._check_memory(images)


def test_the_last_small_set_is_kept_and_a_large_one_is_not(monkeypatch):
    read = []
    load = build._once(lambda *asked: read.append(asked) or make_raw((4, 4)))
    first = load("a", None)
    assert load("a", None) is first and load("b", None) is not first
    assert load("a", None) is not first and len(read) == 3
    monkeypatch.setattr(example_table, "LARGE", 10)
    large = load("c", None)
    assert load("c", None) is not large and read[3:] == [("c", None)] * 2
