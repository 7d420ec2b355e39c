"""Names that people give: what can be shown of them, and which of them look the same."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np

# What programs write where a value is missing: all that pandas reads as missing, in small letters.
MISSING = frozenset(
    (
        *("", "nan", "-nan", "na", "n/a", "<na>", "null", "none", "#na", "#n/a", "#n/a n/a"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
# Of no width, and neither format nor control characters: joiners, fillers, selectors of a variant.
_OF_NO_WIDTH = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0100-\U000e01ef]"
)


def printable(name: str | os.PathLike) -> str:
    """Return a name that every file can hold: bytes that are not UTF-8 become \\udcXX."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def shape_of(name: str) -> str:
    """Return what all names have in common that look like this one.

    Case, composed and decomposed letters, invisible characters, blanks and the ways to write a
    number make no difference.
    """
    visible = "".join(c for c in name if c.isspace() or _is_seen(c))
    shape = " ".join(unicodedata.normalize("NFC", visible.lower()).split())
    return str(Fraction(shape)) if _NUMBER.fullmatch(shape) else shape


def is_blank(text: str) -> bool:
    """Return whether nothing of a text is to be seen."""
    return not any(map(_is_seen, text))


def is_missing(name: str) -> bool:
    """Return whether nothing is to be seen, or a word that stands for a missing value."""
    return shape_of(name) in MISSING


def look_alikes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the first of the different names that look the same as another, with those others."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(shape_of(name), []).append(name)
    return next((tuple(group) for group in groups.values() if len(group) > 1), ())


def first_repeated(names: Callable[[], Iterable[str]]) -> tuple[int, int] | None:
    """Return the places of the first name that is there again, None if all differ.

    Takes eight bytes of memory a name; passes over them twice if there may be such a one.

    Args:
        names: starts a pass over them.
    """
    seen = np.sort(np.fromiter(map(hash, names()), np.int64))
    again = set(seen[1:][seen[1:] == seen[:-1]].tolist())
    first: dict[str, int] = {}
    for place, name in enumerate(names() if again else ()):
        if hash(name) in again and first.setdefault(name, place) != place:
            return first[name], place
    return None


def _is_seen(character):
    if character.isspace() or _OF_NO_WIDTH.match(character):
        return False
    return unicodedata.category(character) not in ("Cc", "Cf")
