"""What stands in a folder of pictures: its parts, its classes and its files; junk left out."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ssl_weighting.data.images.picture import SUFFIXES
from ssl_weighting.data.names import look_alikes, printable

PARTS = ("unlabeled", "validation", "test")  # names that no class beside them may have
_TORCHVISION = {"train": "train", "val": "validation"} | {part: part for part in PARTS}
# What systems leave in folders, in lower case.
_JUNK = (
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found",
    "system volume information",
)  # fmt: skip
_ALIKE = {
    "unlabeled": r"(un|no|non|not|without)label(l?ed|s)?|unsup(ervised)?",
    "validation": r"val(id(at(e|ion))?)?|dev(el(opment)?)?|eval(uat(e|ion))?",
    "test": r"test(s|ing)?|hold(ing)?out",
    "train": r"train(ing)?|labell?ed",
}
_ENDINGS = r"(set|data|dataset|examples|files|folder|images?|imgs?|pictures?|split)?"
# Pictures that people have and that are not read; other files beside pictures are none.
_OTHER_PICTURES = (
    ".avif", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe", ".pbm", ".pgm", ".ppm",
    ".tga", ".tif", ".tiff",
)  # fmt: skip


class Found(NamedTuple):
    """A file that should be a picture."""

    path: Path
    problem: str  # why it must not be opened; "" where it may


def find_parts(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return part -> folder (train, validation, test, unlabeled) and the names of the classes.

    Either the classes stand in `root` itself, beside the other parts, or, as torchvision's sets
    have it, in root/train, beside root/val and root/test.

    Raises:
        ValueError: a name is not UTF-8 or looks like that of a part, a picture lies beside the
            folders of the classes, or there is no class.
    """
    names = subfolders(root, root)
    others = [name for name in names if name not in PARTS]
    torchvision = "train" in names and set(names) <= set(_TORCHVISION)
    if torchvision:
        parts = {_TORCHVISION[name]: root / name for name in names}
        if {"val", "validation"} <= set(names):
            raise ValueError(f"{root} must have one of val and validation. Received: both.")
    else:
        _check_names(root, root, others)
        parts = {"train": root} | {name: root / name for name in names if name in PARTS}
    base = parts["train"]
    classes = tuple(others) if base == root else tuple(subfolders(root, base))
    if base != root:
        _check_names(root, base, classes)
    for part, folder in parts.items():
        if part != "unlabeled":
            _check_loose(folder)
    if not classes:
        raise ValueError(
            f"{base} must have one sub-folder per class. Received: {names}. "
            f"Put the images of each class into {base}/<class>/."
        )
    if same := look_alikes(classes):
        raise ValueError(
            f"{base} must have classes whose names look different. Received: {list(same)}. Rename "
            "one, or put their images together."
        )
    return parts, classes


def subfolders(root: Path, folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted, without junk.

    Raises:
        ValueError: a name is not UTF-8, or a link leads out of `root`, to it or nowhere.
    """
    inside = Path(os.path.realpath(root))
    found = [entry for entry in _entries(folder) if entry.is_dir() or _is_lost(entry)]
    for entry in found:
        if problem := _link_problem(entry, inside, (inside,)):
            raise ValueError(
                f"{printable(str(entry))} must stay inside {root}. Received: {problem}. "
                "Copy the images into the folder."
            )
        if printable(entry.name) != entry.name:
            raise ValueError(
                f"The name of a class must be UTF-8. Received: {printable(str(entry))}. Rename it."
            )
    return [entry.name for entry in found]


def files_below(root: Path, folder: Path, nested: bool = False) -> list[Found]:
    """Return the files in `folder`, sorted, without junk; those that cannot be opened say why.

    Args:
        root: links may not lead out of it.
        folder: where to look.
        nested: whether its sub-folders are searched too; else they count as files.
    """
    inside = Path(os.path.realpath(root))
    return sorted(_walk(inside, folder, nested, (Path(os.path.realpath(folder)),)))


def is_picture(path: Path) -> bool:
    """Return whether the name says that a file is a picture, of a kind that is read or not."""
    return path.suffix.lower() in (*SUFFIXES, *_OTHER_PICTURES)


def _walk(inside: Path, folder: Path, nested: bool, trail: tuple[Path, ...]) -> Iterable[Found]:
    for entry in _entries(folder):
        problem = _link_problem(entry, inside, trail)
        if printable(entry.name) != entry.name:
            problem = "a name that is not UTF-8"
        if entry.is_dir() and not problem:
            if nested:
                yield from _walk(inside, entry, nested, (*trail, Path(os.path.realpath(entry))))
                continue
            problem = "a folder; the pictures of a class lie side by side"
        yield Found(entry, problem)


def _entries(folder: Path) -> list[Path]:
    def is_junk(name):
        return name.startswith(".") or name.casefold() in _JUNK

    return sorted(entry for entry in folder.iterdir() if not is_junk(entry.name))


def _is_lost(entry: Path) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)


def _link_problem(entry: Path, inside: Path, trail: tuple[Path, ...]) -> str:
    """Return why a link must not be followed, "" where it may, or where there is none."""
    if not entry.is_symlink():
        return ""
    try:
        real = Path(os.path.realpath(entry, strict=True))
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})"
    if not real.is_relative_to(inside):
        return "a link out of the folder"
    around = any(folder.is_relative_to(real) for folder in trail)
    return "a link to a folder that it lies in" if around else ""


def _check_names(root: Path, folder: Path, names: Iterable[str]) -> None:
    """Refuse classes whose names look like those of parts: nobody would see the mistake.

    Parts stand in `root`, wherever the classes do.
    """
    for name in names:
        if meant := _meant(name):
            advice = "put its classes in its place, or use train/, val/ and test/ alone"
            advice = advice if meant == "train" else f"rename it to {meant}, in {root}"
            raise ValueError(
                f"{folder} must have one sub-folder per class, and {root} parts by the names "
                f"{', '.join(PARTS)}. Received: {name}. If it is no class, {advice}; if it is one, "
                f"give it another name, such as class_{name}."
            )


def _meant(name: str) -> str:
    """Return the part whose name a class's looks like, "" if none."""
    letters = re.sub(r"[^a-z]", "", name.casefold())
    for part, pattern in _ALIKE.items():
        if re.fullmatch(f"({pattern}){_ENDINGS}", letters):
            return part
    # Misspelt; short words have too many neighbours.
    letters = re.sub(f"{_ENDINGS}$", "", letters)
    return next(iter(difflib.get_close_matches(letters, ("unlabeled", "validation"), 1, 0.85)), "")


def _check_loose(folder: Path) -> None:
    loose = [entry.name for entry in _entries(folder) if entry.is_file() and is_picture(entry)]
    if loose:
        raise ValueError(
            f"{folder} must have its images in sub-folders, one per class. Received: {len(loose)} "
            f"beside them, such as {printable(loose[0])}. Move them into <class>/ or unlabeled/."
        )
