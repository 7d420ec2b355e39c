"""How much there is of a user's data, and how large it is: what --recipe=own goes by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.options.config import Config
from experiments.options.kinds import FEATURE_ROWS, TEXTS, Kind
from ssl_weighting.data.features.by_name import load_features
from ssl_weighting.data.images.by_name import MEMORY, STREAM, check_images, load_images
from ssl_weighting.data.images.folders import find_files
from ssl_weighting.data.images.picture import PictureError, read_picture
from ssl_weighting.data.memory import TooLargeError
from ssl_weighting.data.packed.manifest import ENCODED, read_manifest
from ssl_weighting.data.packed.npz_source import NpzSource
from ssl_weighting.data.packed.packed_set import read_labels
from ssl_weighting.data.texts.by_name import load_texts
from ssl_weighting.data.texts.csv_rows import Layout

_SAMPLE = 40  # pictures, or one in so many texts, by which sizes are told
_TEST_SHARE = 5  # of a set without a test part, one labeled example in five is held out
_PIECES = 1.5  # of a word, and two more of a text


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of a set.

    Attributes:
        train: labeled training examples of each class.
        unlabeled, validation, test: examples of these parts.
        size: of an example: features, the larger side of a picture, tokens of a text.
        files: whether pictures are read from files.
    """

    train: tuple[int, ...]
    unlabeled: int
    validation: int
    test: int
    size: float
    files: bool = False


def counts_of(options: Mapping[str, Any], kind: Kind) -> Counts:
    """Return the counts of the set that a command line names.

    Of a folder its files are counted, readable or not, copies too; of a pack, copies too.

    Args:
        options: that are given.
        kind: of the set.

    Raises:
        OSError, ValueError: the set is not there, or damaged.
    """
    config = {**vars(Config()), **options}
    dataset, _, path = config["dataset"].partition(":")
    on_error, data_dir = config["on_error"], config["data_dir"] or None
    if dataset == "folder":
        check_images(config["dataset"], data_dir)
        return _of_folder(path, on_error)
    if dataset == "packed":
        check_images(config["dataset"], data_dir)
        return _of_pack(path)
    if kind is TEXTS:
        columns = ("text_column", "label_column", "id_column", "delimiter")
        layout = Layout(*(config[name] for name in columns))
        raw = load_texts(config["dataset"], data_dir, None, layout, on_error)
        words = np.mean([len(text.split()) for text in raw.train.texts])
        return _of_set(raw, min(config["max_len"], _PIECES * words + 2))
    if kind is FEATURE_ROWS:
        raw = load_features(config["dataset"])
        return _of_set(raw, raw.train.inputs.shape[1])
    if dataset == "npz" and config["source"] == STREAM:
        check_images(config["dataset"], data_dir)
        return _of_npz(path)
    try:
        raw = load_images(config["dataset"], data_dir, source=MEMORY)
    except TooLargeError:
        if config["source"] == MEMORY:
            raise
        return _of_npz(path)
    return _of_set(raw, max(raw.train.inputs.shape[1:3]))


def _of_set(raw, size):
    sizes = [0 if part is None else len(part) for part in (raw.unlabeled, raw.validation, raw.test)]
    train = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    return Counts(tuple(train.tolist()), *sizes, float(size))


def _of_folder(path, on_error):
    _, parts, classes = find_files(path, on_error)
    labels = [label for _, label in parts["train"]]
    rows = {part: len(pairs) for part, pairs in parts.items()}
    return _of_rows(labels, len(classes), rows, _side(parts["train"]), files=True)


def _of_pack(path):
    manifest = read_manifest(path)
    labels, files = read_labels(path, "train"), manifest.store == ENCODED
    side = float(max(manifest.shape[:2]))
    return _of_rows(labels, len(manifest.class_names), manifest.rows, side, files)


def _of_npz(path):
    """Return counts of a file that is not read into memory, copies too."""
    source = NpzSource(path)
    labels, side = source.labels("train"), float(max(source.shape()[:2]))
    return _of_rows(labels, len(source.class_names), source.parts, side, files=False)


def _of_rows(labels, classes, rows, side, files):
    """Return the counts of a set whose test part, where it has none, is yet to be held out."""
    train, test = np.bincount(labels, minlength=classes), rows.get("test", 0)
    if not test:
        held = np.maximum(1, train // _TEST_SHARE)
        train, test = train - held, int(held.sum())
    sizes = [rows.get(part, 0) for part in ("unlabeled", "validation")]
    return Counts(tuple(train.tolist()), *sizes, test, side, files)


def _side(files):
    """Return the median of the larger sides of some pictures, spread over the files."""
    sides = []
    for file, _ in files[:: max(1, len(files) // _SAMPLE)]:
        try:
            sides.append(max(read_picture(file.path).shape[:2]))
        except PictureError:  # told when all are read
            continue
    return float(np.median(sides)) if sides else 0.0
