"""A disk that is full at any moment stops a run with a sentence; with room it ends the same."""

import contextlib
import os
import shutil
import subprocess

import pytest
import runs
from runs import MOONS, Workshop

from experiments import make_report
from experiments.compare_runs import differences

OPTIONS = MOONS | {"checkpoint_every": 4, "keep_checkpoints": 2}


@pytest.fixture(scope="module")
def workshop():
    return Workshop()


@pytest.fixture(scope="module")
def unbroken(workshop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    runs.run(folder, workshop, **OPTIONS)
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Yield a function: kilobytes -> a disk of that size; files stay when it is resized."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting a tmpfs needs root")

    def sized(kilobytes):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)
        return disk

    yield sized
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_at_any_moment(workshop, unbroken, small_disk, capsys):
    """A little more room each time: each file of a run is the one that does not fit any more."""
    told = set()
    for room in (4, 8, 12, *range(16, 2000, 24)):
        folder = small_disk(room) / "run"
        try:
            runs.run(folder, workshop, **OPTIONS)
        except OSError as error:
            told.add(str(error).split(": ")[0].replace(str(folder), ""))
            assert "No space left on device" in str(error)
        else:
            break
    assert differences(unbroken, folder) == []
    files = ("config.json", "metrics.jsonl", "checkpoint")
    assert all(any(name in text for text in told) for name in files), told


@pytest.mark.slow
def test_a_report_on_a_full_disk_is_one_line(unbroken, small_disk, monkeypatch, capsys):
    disk = small_disk(64)
    arguments = [f"--runs={unbroken.parent}", f"--out={disk}"]
    with contextlib.suppress(SystemExit):
        runs.call(make_report, monkeypatch, *arguments)
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "could not write" in error[0] and "No space left" in error[0]
    small_disk(20_000)
    runs.call(make_report, monkeypatch, *arguments)
    assert (disk / "report.html").exists()
    page = (disk / "report.html").read_text()
    used = shutil.disk_usage(disk).used // 1024
    small_disk(used + 4)
    with pytest.raises(SystemExit):
        runs.call(make_report, monkeypatch, *arguments)
    assert (disk / "report.html").read_text() == page
    assert not [name for name in os.listdir(disk) if name.startswith("partial-")]
