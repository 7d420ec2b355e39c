"""Whole files: what was there stays until the new one is whole; somebody's own stays for good."""

import errno

import pytest

from experiments.pages.files import write_pages
from experiments.report.report import write_report
from experiments.study.page import write_study
from ssl_weighting.data.files import replacing, write_atomically
from ssl_weighting.data.texts.back_translation import write_originals


class Killed(BaseException):
    pass


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), Killed()])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, call, fault):
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def fail(*_):
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(f"os.{call}", fail)
        with pytest.raises((OSError, Killed)) as caught:
            write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    if isinstance(fault, OSError):
        assert f"could not write {path}" in str(caught.value)
        assert caught.value.errno == errno.ENOSPC
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_two_processes_that_write_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "a", tag="1-") as one, replacing(tmp_path / "a", tag="2-") as two:
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / "a").read_text() == "1" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"could not write .*file/a.md"):
        write_atomically(tmp_path / "file" / "a.md", "")


WRITERS = {
    "report.html": lambda out: write_report(out / "no_runs", out),
    "report.md": lambda out: write_report(out / "no_runs", out),
    "results.csv": lambda out: write_report(out / "no_runs", out),
    "README.md": lambda out: write_study([], {}, out),
    "unsup_in/originals.txt": lambda out: write_originals(out, ["a", "b"]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_somebody_s_own_file_is_not_replaced(tmp_path, name):
    (tmp_path / "no_runs").mkdir()
    WRITERS[name](tmp_path)
    WRITERS[name](tmp_path)  # an earlier one of ours is
    (tmp_path / name).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(ValueError, match=rf"{name} .*must .* Received: another"):
        WRITERS[name](tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_only_an_earlier_document_s_files_are_deleted(tmp_path):
    own = tmp_path / "figures" / "holiday.png"
    write_atomically(own, b"mine")
    first = {"families/a.md": "![](../figures/a.png)", "figures/a.png": b"",
             "README.md": "# Title\n[a](families/a.md)"}  # fmt: skip
    for files in (first, {"README.md": "# Title\n"}):
        write_pages(tmp_path, files, {"README.md": "# Title"}, ("figures/*.png", "families/*.md"))
        found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
        assert found == {*files, "figures/holiday.png"}
