"""A folder is replaced whole, or stays as it was."""

import os

import pytest

from ssl_weighting.data.files import replacing_folder


def write(path, text):
    with replacing_folder(path) as temporary:
        (temporary / "a").write_text(text)


def test_a_new_folder_takes_the_place_of_an_old_one(tmp_path):
    write(tmp_path / "x", "one")
    write(tmp_path / "x", "two")
    assert (tmp_path / "x" / "a").read_text() == "two"
    assert os.listdir(tmp_path) == ["x"]


def test_the_old_one_comes_back_where_the_new_one_cannot_stand_there(tmp_path, monkeypatch):
    write(tmp_path / "x", "one")
    replace = os.replace

    def failing(source, target):
        if "partial-" in os.path.basename(source):
            raise OSError(28, "no space")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="could not write"):
        write(tmp_path / "x", "two")
    assert (tmp_path / "x" / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["x"]
