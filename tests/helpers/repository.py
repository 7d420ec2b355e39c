"""What belongs to this repository: by git, or in an exported archive by its .gitignore."""

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def repository_files(root: Path = ROOT) -> tuple[str, ...]:
    """Return the paths of all that belongs to the repository, also of what is not yet added."""
    names = listed_by_git(root) if (root / ".git").exists() else None
    found = walked(root) if names is None else names
    return tuple(sorted(name for name in found if os.path.lexists(root / name)))


def listed_by_git(root: Path) -> list[str] | None:
    """Return what git lists, None where git is missing or refuses."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        output = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return [os.fsdecode(name) for name in output.split(b"\0") if name]


def walked(root: Path) -> Iterator[str]:
    """Yield what an exported archive holds, without what its .gitignore names."""
    lines = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [".git", *(line.rstrip("/") for line in lines if line and line[0] != "#")]

    def kept(names: list[str]) -> list[str]:
        return [name for name in names if not any(fnmatchcase(name, i) for i in ignored)]

    for folder, folders, files in os.walk(root):
        folders[:] = kept(folders)
        yield from (Path(folder, name).relative_to(root).as_posix() for name in kept(files))
