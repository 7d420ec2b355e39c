"""The wheel holds the library alone, and serves README's example where the repository is not."""

import csv
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from places import ROOT

import ssl_weighting

FOLDERS = ("ssl_weighting", "third_party", "experiments", "tests")
PACKAGES = (ROOT / "ssl_weighting", ROOT / "third_party" / "ssl_weighting_upstream")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build in a copy: setuptools leaves folders behind, and packs what it finds in them."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in FOLDERS:
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, copy / folder, ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir=wheels", ".", cwd=copy)
    (built,) = (copy / "wheels").iterdir()
    return built


def files(package: Path) -> set[str]:
    found = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(package.parent).as_posix() for path in found}


def test_the_wheel_holds_the_library_and_what_it_is_built_on(wheel):
    metadata = f"ssl_weighting-{ssl_weighting.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    in_metadata = {name for name in names if name.startswith(metadata)}
    assert names - in_metadata == set().union(*map(files, PACKAGES))
    assert {f"{metadata}/METADATA", f"{metadata}/licenses/LICENSE"} < in_metadata


# Runs in the clean environment: where everything comes from, then every module of the wheel.
PROOF = """
import importlib, importlib.util, pkgutil, sys
import ssl_weighting, ssl_weighting_upstream
for package in (ssl_weighting, ssl_weighting_upstream):
    assert package.__file__.startswith(sys.prefix), package.__file__
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
for name in ("experiments", "tests", "third_party"):
    assert importlib.util.find_spec(name) is None, name
for name in ssl_weighting.__all__:
    getattr(ssl_weighting, name)
"""


@pytest.mark.slow
def test_the_wheel_alone_serves_the_readme_example(wheel, tmp_path):
    clean, outside = tmp_path / "clean", tmp_path / "outside"
    outside.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", clean, cwd=outside)
    python = clean / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, wheel, cwd=outside)
    # The dependencies come from this environment. Its own .pth files, through which it finds the
    # repository, are not read: a folder that a .pth file names is only added to the path.
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=outside)
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(own.strip()) / "dependencies.pth").write_text("\n".join(sorted(shared)) + "\n")
    run(python, "-I", "-c", PROOF, cwd=outside)
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(codes) == 2
    for k, code in enumerate(codes):
        (outside / f"example{k}.py").write_text(code)
    printed = run(python, "-I", "example0.py", cwd=outside)
    assert [0 < float(line) < 1 for line in printed.split()] == [True, True]
    run(python, "-I", "example1.py", cwd=outside)
    with open(outside / "weights.csv") as file:
        weights = [float(row["lam"]) for row in csv.DictReader(file)]
    assert len(weights) == 1000 and any(abs(weight - 1) > 1e-3 for weight in weights)
