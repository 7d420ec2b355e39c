"""IMDb's movie reviews as UDA and the paper use them (Sec. 4.2), from the folder or from TFDS."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ssl_weighting_upstream.uda_text_augment import clean_review

from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.data.images import archives, tfds_source
from ssl_weighting.data.texts.raw import RawTexts, Texts

CLASS_NAMES = ("pos", "neg")  # in upstream's order
TFDS_NAME = "imdb_reviews/plain_text"
FOLDER = "aclImdb"
SHORTEST = 500  # bytes of a cleaned review without label; shorter ones are dropped
SIZES = {"train/pos": 12_500, "train/neg": 12_500, "train/unsup": 50_000,
         "test/pos": 12_500, "test/neg": 12_500}  # fmt: skip
KEPT = 69_972  # training reviews, and unlabeled ones that are long enough (Sec. 4.2's |U|)

# The 20 labeled reviews of UDA's release, in its order: (class, file, SHA-256 of the review). TFDS
# keeps no file names, so there the hash finds them.
LABELED = tuple(
    (CLASS_NAMES[k % 2], *line.split())
    for k, line in enumerate(
        """
        9716_10  01641a969991e8518266cec454dc97d69eded6760f007c2c2b49d28ae8cc77ec
        9851_1   7799d1a38fef504729e392a6d4531bfad353bfa1f8c85fbf8cf27d707b39a314
        839_7    54b7c73adada72f541e4f632756009317774b875b7023c6a01b71e6a63d1f45b
        4681_4   2b67b899cb01fd259a2d2a55bea6ea483527988e3de9a9efccb20ffbf239539e
        1047_8   d0cb3251403e34c030f3c6c6bbcf854e0547ce54103e69c02e3ef94eac487fbb
        3386_2   4224bc1d170edc7f23dbb221741dc561af6d69b864f1423f11f2ee0afad7414c
        1612_10  1b79795927b6bca767b2f7b1c5df168334b29dd166f8c533766b499485d6fcf2
        6068_4   46a9936214a0e109dbcd35ae98f34b3c8a203fb20b5503227fcac938e8eb68c9
        6836_9   2b84cb17cbff4ac3ff6b590b1e59c47e3f10ebe760578de46d02dd7af7452fcf
        11186_2  931fad50085161477ef7115fd31a5538cd131f07fa494555678af8c3235eda6a
        12323_10 550b16022877a2990f0f4e1acfb522c6ec0ccd90243b4669ceef809ea7bcf193
        362_3    3823f0d842db40e5428e0f779623ceeb961781d87e5f3fc086e9b451bdf7d1ad
        8710_7   73c9b8b98d7a8f08abea1b9325ef17f21a93dc8c9adea6a0ffff43146cb5b307
        135_4    281604b6940f02d9fbea8cf29d1fd0d97814dff531f9edf3917e78d8146344ee
        2659_8   893af452a242fa2ed01445da2bc898c47d571c4addcf56bc0ba52b63caadecb3
        2461_4   e6232d3ee65676c4c8761a17668f45a2ea8ce333e3805f03df288788a6dfecb4
        1404_10  3579efd01ed7d672ecb1a35091cb8afd15aeef8f44a9c55b340fa3178efffafe
        3728_1   abc355b2ef9246295e9dbab058fffa6a1be6ad9df6ce139bea9015df1358a8dc
        4722_8   3bac6a2d34c048927f33673699d3ad79600382f489f7e4c32b61e0d0457cbdcb
        11575_1  5f890543ed681d2323f715a1037a3ef3c7b43e67dbf9b2dc8b7d07d6a3043649
        """.strip().splitlines()
    )
)


class Review(NamedTuple):
    """A review as its source has it."""

    text: str
    name: str  # file name without .txt; "" from TFDS
    digest: str  # SHA-256 of its UTF-8 bytes


def load_imdb(
    data_dir: str | os.PathLike | None = None, cache_dir: str | os.PathLike | None = None
) -> RawTexts:
    """Return IMDb with UDA's cleaning, length filter and 20 labeled reviews.

    Within a class reviews are ordered by their hash, so that the folder and TFDS, which has no
    names, give the same ids. DEVIATION: upstream's order is a list that comes with it; its first 20
    entries are kept, and paraphrases in its order are found by their originals (`Paraphrases`).

    Args:
        data_dir: folder `aclImdb` or the one that holds it, or one that TFDS prepared; then no
            other source is tried. None for TFDS, prepared or by download.
        cache_dir: folder for downloaded data.

    Raises:
        FileNotFoundError: if no source has the set.
        ValueError: if files are damaged, or all are there and the length filter keeps another
            number than 69,972.
    """
    archives.check_folder(data_dir)
    folder = None if data_dir is None else _find_folder(Path(data_dir))
    if folder is not None:
        return prepare(read_folder(folder), f"folder {FOLDER}")
    return prepare(*_from_tfds(data_dir, cache_dir))


def prepare(parts: Mapping[str, list[Review]], source: str) -> RawTexts:
    """Return the set out of its five parts (the keys of `SIZES`)."""
    ordered = {part: sorted(parts[part], key=lambda r: (r.digest, r.name)) for part in SIZES}
    # Upstream measures the cleaned text with blanks at its ends; stripped first, one more goes.
    cleaned = {part: [clean_review(r.text) for r in ordered[part]] for part in SIZES}
    unlabeled = [text for text in cleaned["train/unsup"] if len(text.encode()) >= SHORTEST]
    notes = _check_counts(parts, len(unlabeled))
    train, test = (
        _labeled(cleaned[f"{side}/neg"], cleaned[f"{side}/pos"]) for side in ("train", "test")
    )
    return RawTexts(
        "imdb",
        train,
        test,
        CLASS_NAMES,
        f"imdb: {source}",
        unlabeled=Texts.unlabeled([text.strip() for text in unlabeled]),
        labeled_rows=_labeled_rows(ordered),
        notes=notes,
    )


def read_folder(folder: Path) -> dict[str, list[Review]]:
    """Return the reviews of aclImdb/{train,test}/{pos,neg,unsup}/ID_RATING.txt.

    Raises:
        FileNotFoundError: if one of the five folders is missing or empty.
        ValueError: if a file is not UTF-8.
    """
    parts = {
        part: [_read(file) for file in sorted((folder / part).glob("*.txt"))] for part in SIZES
    }
    empty = [part for part, reviews in parts.items() if not reviews]
    if empty:
        raise FileNotFoundError(
            f"{FOLDER} must have reviews in {', '.join(SIZES)}. Received: none in "
            f"{', '.join(empty)}. Unpack aclImdb_v1.tar.gz again."
        )
    return parts


def read_tfds(folder: Path) -> dict[str, list[Review]]:
    """Return the reviews of a set that TFDS prepared; its class 0 is neg.

    Raises:
        ValueError: if the set has other splits or features.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    splits, features = set(builder.info.splits), set(builder.info.features)
    if not ({"train", "test", "unsupervised"} <= splits and {"text", "label"} <= features):
        raise ValueError(
            f"{folder} must hold splits `train`, `test` and `unsupervised` with features `text` "
            f"and `label`. Received: splits {sorted(splits)}, features {sorted(features)}."
        )
    parts: dict[str, list[Review]] = {part: [] for part in SIZES}
    for split in ("train", "test", "unsupervised"):
        for batch in builder.as_dataset(split=split, batch_size=1000).as_numpy_iterator():
            for text, label in zip(batch["text"], batch["label"], strict=True):
                parts[_part_of(split, int(label))].append(_review(text, ""))
    return parts


def _part_of(split: str, tfds_label: int) -> str:
    return "train/unsup" if split == "unsupervised" else f"{split}/{('neg', 'pos')[tfds_label]}"


def _from_tfds(data_dir, cache_dir) -> tuple[dict[str, list[Review]], str]:
    if data_dir is not None:
        prepared = tfds_source.find_prepared(TFDS_NAME, data_dir)
        if prepared is None:
            raise FileNotFoundError(
                f"`data_dir` must be or hold the folder {FOLDER}, or hold a TFDS folder "
                f"{TFDS_NAME}/<version>. Received: data_dir={os.fspath(data_dir)!r}, which has "
                "neither."
            )
        return tfds_source.read_whole(prepared, _named)
    try:
        return tfds_source.read_cached(TFDS_NAME, cache_dir, _named)
    except (ConnectionError, ImportError) as error:
        raise UnavailableError(
            "`imdb` must be available in one of two ways. Received: no `data_dir`, and TFDS "
            f"failed ({error}). Either (1) unpack aclImdb_v1.tar.gz and name its folder "
            f"{FOLDER} as `data_dir`, or (2) connect to the network so that TFDS can download "
            "the set."
        ) from error


def _named(folder: Path) -> tuple[dict[str, list[Review]], str]:
    return read_tfds(folder), f"TFDS folder, version {folder.name}"


def _find_folder(folder: Path) -> Path | None:
    found = (place for place in (folder, folder / FOLDER) if (place / "train" / "pos").is_dir())
    return next(found, None)


def _read(file: Path) -> Review:
    try:
        return _review(file.read_bytes(), file.stem)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} must be UTF-8. Received: {error}. Unpack aclImdb_v1.tar.gz again."
        ) from error


def _review(content: bytes, name: str) -> Review:
    content = content.strip()  # as TFDS does
    return Review(content.decode("utf-8"), name, hashlib.sha256(content).hexdigest())


def _labeled(neg: list[str], pos: list[str]) -> Texts:
    labels = np.repeat(np.array([1, 0], np.int32), [len(neg), len(pos)])
    return Texts(tuple(text.strip() for text in (*neg, *pos)), labels)


def _labeled_rows(ordered: Mapping[str, list[Review]]) -> np.ndarray:
    """Return [20] int64, where the reviews of `LABELED` are in the training set."""
    rows, missing = [], []
    start = {"neg": 0, "pos": len(ordered["train/neg"])}
    for label, name, digest in LABELED:
        reviews = ordered[f"train/{label}"]
        found = (k for k, r in enumerate(reviews) if name == r.name or digest == r.digest)
        if (place := next(found, None)) is None:
            missing.append(f"{label}/{name}")
        else:
            rows.append(start[label] + place)
    if missing:
        raise ValueError(
            "`imdb` must have the 20 labeled reviews of the release. Received: without train/"
            f"{', train/'.join(missing)}. Get the set again."
        )
    return np.array(rows)


def _check_counts(parts: Mapping[str, list[Review]], num_unlabeled: int) -> tuple[str, ...]:
    """Return the number of reviews in words; refuse a whole set of other texts."""
    found = {part: len(reviews) for part, reviews in parts.items()}
    kept = found["train/neg"] + found["train/pos"] + num_unlabeled
    counts = f"{kept:,} training and unlabeled reviews of at least {SHORTEST} bytes"
    if found == SIZES:
        if kept != KEPT:
            raise ValueError(
                f"`imdb` must keep {KEPT:,} reviews by the length filter. Received: {kept:,} out "
                "of all 75,000. The texts differ from the original ones; get the set again."
            )
        return (f"IMDb: all 100,000 reviews; {counts}, as in the paper",)
    short = [f"{part} has {found[part]:,} of {size:,}" for part, size in SIZES.items()
             if found[part] != size]  # fmt: skip
    return (
        f"IMDb: an incomplete copy, {sum(found.values()):,} of 100,000 reviews "
        f"({'; '.join(short)}); {counts} instead of {KEPT:,}",
    )
