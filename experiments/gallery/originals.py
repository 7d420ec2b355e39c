"""What people see of an example: a small picture or a text, of the data set as it was before.

A run on features of a backbone is shown as the pictures or texts that the features were made of,
which are found by name; a run on a folder as its files, which are larger than what the net saw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.gallery.rows import Part, Rows
from experiments.options.config import Config
from experiments.options.kinds import FEATURE_ROWS, KINDS, TEXTS, kind_of
from experiments.pages.wording import plural
from ssl_weighting.data.images.folders import find_files
from ssl_weighting.data.images.picture import read_picture
from ssl_weighting.data.names import printable

SIDE = 96  # of a thumbnail, pixels at most
STRIP = 24  # height of a row of features
_BACKBONE = KINDS["features"].model
_CHUNK = 256  # files whose pictures are in memory at once
_RANGE = 2.5  # standard deviations at which the colours of a strip end


class Pictures(NamedTuple):
    """Small pictures in the order of the page's examples."""

    side: int  # pixels of the longer side of the largest
    pictures: Iterator[np.ndarray]  # [h, w] or [h, w, 3] uint8


def kind_of_page(config: Config) -> str:
    """Return what the page shows: images, texts or features."""
    return kind_of(config.dataset).rows


def texts_of(rows: Rows, cache_dir: str | None = None) -> list[str] | None:
    """Return the texts of all examples, None where they are none.

    Raises:
        OSError, ValueError: they cannot be read any more.
    """
    config = rows.config
    if kind_of(config.dataset) is not TEXTS:
        return None
    if config.model != _BACKBONE:
        return [str(text) for part in rows.parts for text in part.examples.texts]
    from experiments.assemble.text_data import layout_of
    from ssl_weighting.data.texts.by_name import load_texts
    from ssl_weighting.data.texts.rotten_tomatoes import load_plots

    where = config.data_dir or None
    raw = load_texts(config.dataset, where, cache_dir, layout_of(config), config.on_error)
    tokens = raw.tokenised(lambda texts: np.ones((len(texts), 1), np.int32))
    found = {}
    for one in tokens.parts.values():
        found |= dict(zip(one.names, one.texts, strict=True))
    if config.contamination == "foreign":
        plots = load_plots()
        found |= dict(zip(plots.names, plots.texts, strict=True))
    shown = [found[name] for name in _known(rows.names, found, config)]
    for row, twin in _twins(rows, cache_dir).items():
        shown[row] = twin
    return shown


def _twins(rows, cache_dir) -> dict[int, np.ndarray | str]:
    """Return row -> the twin whose features the run had in the place of a corrupt example's own."""
    config = rows.config
    if config.contamination != "corrupt" or config.model != _BACKBONE:
        return {}
    from experiments.assemble.contaminants import shown_twins

    of_u = rows.names[: len(rows.parts[0].examples)]
    groups, known = rows.record.weights["group"], shown_twins(config, cache_dir)
    named = enumerate(zip(of_u, groups, strict=True))
    return {row: known[name] for row, (name, group) in named if group == "corrupt"}


def pictures_of(rows: Rows, cache_dir: str | None = None) -> Pictures:
    """Return a small picture of each example.

    Raises:
        OSError, ValueError: they cannot be read any more; some only when they are looked at.
    """
    config = rows.config
    if kind_of(config.dataset) is FEATURE_ROWS:
        return Pictures(SIDE, strips(rows.parts))
    kind, _, path = config.dataset.partition(":")
    spoilt = config.contamination == "corrupt" and config.model != _BACKBONE
    same = spoilt or config.smoke
    if kind == "folder" and not same:
        return Pictures(SIDE, thumbs_of_files(path, rows.names, config))
    if (config.model == _BACKBONE or config.image_size) and not same:
        side, thumbs = thumbs_of_names(rows.names, config, cache_dir)
        twins = _twins(rows, cache_dir)
        shown = (thumb(twins[k]) if k in twins else one for k, one in enumerate(thumbs))
        return Pictures(side, shown)
    images = [part.examples.inputs for part in rows.parts]
    return Pictures(_side(images[0]), map(thumb, itertools.chain(*images)))


def thumbs_of_names(names: Sequence[str], config: Config, cache_dir: str | None = None) -> Pictures:
    """Return the pictures that an image set calls `names`, as large as they are there."""
    from ssl_weighting.data.images.by_name import load_images

    raw = load_images(config.dataset, config.data_dir or None, None, cache_dir, config.on_error)
    parts = raw.parts.values()
    places = {name: (one, row) for one in parts for row, name in enumerate(one.names)}
    chosen = [places[name] for name in _known(names, places, config)]
    return Pictures(_side(raw.train.inputs), (thumb(one.inputs[row]) for one, row in chosen))


def _side(images):
    return min(max(images.shape[1:3]), SIDE)


def thumbs_of_files(path: str, names: Sequence[str], config: Config) -> Iterator[np.ndarray]:
    """Yield the pictures in files that are called `names` below a folder, made small."""
    root, parts, _ = find_files(path, config.on_error)
    files = {
        printable(str(file.path.relative_to(root))): Path(file.path)
        for pairs in parts.values()
        for file, _ in pairs
    }
    known = [files[name] for name in _known(names, files, config)]
    for first in range(0, len(known), _CHUNK):
        yield from _thumbs(known[first : first + _CHUNK])


def _thumbs(paths):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: thumb(read_picture(path)), paths))


def thumb(image: np.ndarray) -> np.ndarray:
    """Return an image [H, W], [H, W, 1] or [H, W, 3] uint8 in its proportions, `SIDE` at most."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if max(image.shape[:2]) <= SIDE:
        return image
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(small)


def strips(parts: Sequence[Part]) -> Iterator[np.ndarray]:
    """Yield a strip [STRIP, SIDE, 3] of each row of features: blue below the mean, red above.

    Neighbours are averaged where there are more features than pixels. Mean and standard deviation
    are those of all examples of the page.
    """
    rows = np.concatenate([part.examples.inputs.reshape(len(part.examples), -1) for part in parts])
    rows = rows.astype(np.float64)
    deviation = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    size = rows.shape[1]
    cuts = np.arange(min(size, SIDE)) * size // min(size, SIDE)
    means = np.add.reduceat(rows, cuts, axis=1) / np.diff([*cuts, size])
    # A mean of several varies less: all strips use their colours fully.
    means /= np.where(means.std() > 0, means.std(), 1.0)
    columns = np.arange(SIDE) * len(cuts) // SIDE
    for row in means:
        yield np.broadcast_to(_colours(row[columns]), (STRIP, SIDE, 3))


def _colours(values):
    """Return [d, 3] uint8: white at 0, the blue and the vermilion of the report's plots at ends."""
    share = np.clip(np.abs(values) / _RANGE, 0, 1)[:, np.newaxis]
    ends = np.where(values[:, np.newaxis] < 0, (0, 114, 178), (213, 94, 0))
    return np.rint(245 + share * (ends - 245)).astype(np.uint8)


def _known(names, found, config):
    """Return the names, all of which must be found."""
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"--run must find its data as it was: {config.dataset.partition(':')[0]} has no "
            f"{printable(missing[0])} any more ({plural(len(missing), 'example')} in all). Put "
            "the data back"
        )
    return names
