"""Get the 70,000 images of Fashion-MNIST out of Debian's package, without installing it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ssl_weighting.data.images.idx import find_idx, read_idx_set

PACKAGE = "dataset-fashion-mnist"
# Of version 0.0~git20200523.55506a9-1.
DEB_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
INSTALLED_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where the package puts its files
CACHE_FOLDER = "fashion-mnist"

_SECONDS = 600  # 31 MB: a slower mirror is given up


def fetch_fashion_mnist(cache_dir: str | os.PathLike) -> Path:
    """Download and unpack Debian's Fashion-MNIST into `cache_dir`/fashion-mnist.

    Needs `apt-get` and `dpkg-deb`, no root. Where the machine's package lists are missing or old,
    fresh ones are fetched into a folder of their own. The package is checked against its SHA-256
    before it is opened; the folder appears complete or not at all; a whole one is left alone.

    Args:
        cache_dir: folder for downloaded data; made if missing.

    Returns:
        The folder with the four .gz files.

    Raises:
        RuntimeError: if a program is missing, the download fails or the package is another one.
        OSError: if the package cannot be unpacked or the cache cannot be written.
    """
    cache = Path(cache_dir).absolute()
    target = cache / CACHE_FOLDER
    if find_idx(target):
        problem = damage_of(target)
        if not problem:
            return target
        print(f"{CACHE_FOLDER} in the cache is damaged ({problem}); fetched again", flush=True)
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise RuntimeError(
                f"`{program}` must be installed to fetch {PACKAGE}. Received: no such program. "
                "Put the four IDX files of Fashion-MNIST into a folder and name it as `data_dir`."
            )
    cache.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as work:
        ready = _unpack(_download(Path(work)), Path(work))
        if target.exists():  # an incomplete or a damaged one
            target.rename(Path(work, "old"))
        ready.rename(target)
    return target


def damage_of(folder: Path) -> str:
    """Return what is wrong with the four files in a folder, "" if they are whole."""
    try:
        read_idx_set(find_idx(folder))
    except ValueError as error:
        return str(error)
    return ""


def _download(work: Path) -> Path:
    """Return the checked .deb file."""
    package, first = _apt_download(work, [])
    if package is None:
        package, second = _download_with_own_lists(work)
    if package is None:
        raise RuntimeError(
            f"`apt-get download {PACKAGE}` must succeed. Received: with the machine's package "
            f"lists, {first}; with lists of its own, {second}. Check the network and the Debian "
            "sources that apt knows, or name a folder with the IDX files as `data_dir`."
        )
    received = hashlib.sha256(package.read_bytes()).hexdigest()
    if received != DEB_SHA256:
        raise RuntimeError(
            f"{package.name} must have SHA-256 {DEB_SHA256}. Received: {received}. Another "
            "version or a damaged file; name a folder with the IDX files as `data_dir` instead."
        )
    return package


def _download_with_own_lists(work: Path) -> tuple[Path | None, str]:
    """As `_apt_download`, after an `apt-get update` that touches nothing outside `work`."""
    lists, cache = work / "lists", work / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    done = _run(["apt-get", *options, "update"], work)
    if done.returncode:
        return None, f"`apt-get update` gave {_outcome(done)}"
    return _apt_download(work, options)


def _apt_download(work: Path, options: list[str]) -> tuple[Path | None, str]:
    """Return (.deb file or None, what happened)."""
    done = _run(["apt-get", *options, "download", PACKAGE], work)
    packages = sorted(work.glob("*.deb"))
    complete = done.returncode == 0 and len(packages) == 1
    return packages[0] if complete else None, _outcome(done)


def _unpack(package: Path, work: Path) -> Path:
    """Return a folder with only the four .gz files of `package`."""
    tree, ready = work / "tree", work / "ready"
    done = _run(["dpkg-deb", "-x", str(package), str(tree)], work)
    files = find_idx(tree / INSTALLED_FOLDER.relative_to("/"))
    if done.returncode or files is None:
        # Not a RuntimeError: the package is the right one, so the fault is this machine's.
        raise OSError(
            f"{package.name} must unpack to the four files of Fashion-MNIST. Received: exit code "
            f"{done.returncode}, {_last_line(done)!r}. Try again with more free disk space."
        )
    ready.mkdir()
    for file in files.values():
        shutil.move(file, ready / file.name)
    return ready


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"`{' '.join(command)}` must end within {_SECONDS} s. Received: it still runs. "
            "Check the network."
        ) from error


def _outcome(done: subprocess.CompletedProcess) -> str:
    return f"exit code {done.returncode}, {_last_line(done)!r}"


def _last_line(done: subprocess.CompletedProcess) -> str:
    # apt's errors start with "E:"; its last line may be a warning about something else.
    lines = done.stderr.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("E:")), lines[-1])
