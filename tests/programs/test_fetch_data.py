"""The program that fetches data: what it prints, its exit code, and that it needs no TensorFlow."""

import subprocess
import sys

import pytest
from absl import app, flags
from places import ROOT

from experiments import fetch_data
from ssl_weighting.data.examples import UnavailableError


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Returns main with its own flags and no way to any network or installed package."""
    values = flags.FlagValues()
    fetch_data.define_flags(values)
    monkeypatch.setattr(fetch_data.flags, "FLAGS", values)
    monkeypatch.setattr(fetch_data.debian, "INSTALLED_FOLDER", tmp_path / "not installed")

    def run(**chosen):
        values(["fetch_data", *(f"--{name}={value}" for name, value in chosen.items())])
        return fetch_data.main(["fetch_data"])

    return run


def test_digits_need_nothing(program, tmp_path, capsys):
    assert program(dataset="digits", cache=tmp_path) == 0
    assert capsys.readouterr().out.startswith("data: scikit-learn's 1,797 digits")


def test_failed_package_is_told_and_the_next_source_tried(program, monkeypatch, tmp_path, capsys):
    def fetch(cache):
        raise RuntimeError(f"no package for {cache}")

    def load(dataset, cache_dir):
        raise UnavailableError(f"`{dataset}` must be available in one of three ways.")

    monkeypatch.setattr(fetch_data.debian, "fetch_fashion_mnist", fetch)
    monkeypatch.setattr(fetch_data, "load_images", load)
    assert program(dataset="fashion_mnist", cache=tmp_path) == 3
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        f"data: no package for {tmp_path}",
        "data: `fashion_mnist` must be available in one of three ways.",
    ]


@pytest.mark.parametrize("error", [FileNotFoundError("a file"), ValueError("damaged")])
def test_only_a_set_without_source_has_the_exit_code_3(
    program, monkeypatch, tmp_path, capsys, error
):
    def load(dataset, cache_dir):
        raise error

    monkeypatch.setattr(fetch_data, "load_images", load)
    assert program(dataset="mnist", cache=tmp_path) == 1
    assert capsys.readouterr().err == f"data: {error}\n"


def test_an_unusable_cache_is_an_error_not_a_traceback(program, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert program(dataset="fashion_mnist", cache=tmp_path / "file" / "below") == 1
    assert "file" in capsys.readouterr().err


def test_the_cache_can_be_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("SSL_WEIGHTING_CACHE", "somewhere/else")
    values = flags.FlagValues()
    fetch_data.define_flags(values)
    values(["fetch_data"])
    assert values.cache == "somewhere/else"


def test_unknown_names_list_the_known_ones(program):
    with pytest.raises(flags.IllegalFlagValueError, match=r"fashion_mnist\|mnist\|digits"):
        program(dataset="cifar100")
    with pytest.raises(app.UsageError, match="Unknown arguments: now"):
        fetch_data.main(["fetch_data", "now"])


def test_no_tensorflow_is_started():
    code = "import sys, experiments.fetch_data; print('tensorflow' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
