"""From what features are asked for to the file that holds them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.assemble.backbones import (
    ImageBackbone,
    TextBackbone,
    image_backbone,
    text_backbone,
)
from experiments.assemble.feature_sets import FeatureSet, FolderSet, Pile, StoredSet
from experiments.assemble.text_data import augmentation, encoder_for, layout_of
from experiments.options.extraction import Extraction
from experiments.options.kinds import TEXTS, kind_of
from ssl_weighting.data.class_profile import greedy_rows
from ssl_weighting.data.copies import row_digests
from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.features.extraction import (
    Part,
    extract,
    forget_chunks,
    is_made,
    record,
    write_features,
)
from ssl_weighting.data.files import write_atomically
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.picture_folder import PictureFolder
from ssl_weighting.data.keyed_random import example_keys, uniform
from ssl_weighting.data.splits import with_fewer_tests
from ssl_weighting.data.texts.augmentation import augmented_tokens
from ssl_weighting.data.texts.by_name import load_texts
from ssl_weighting.data.texts.tokens import TextEncoder, TokenCache

_FORMAT = 1  # raise it when the same recipe means other features
_BATCH = 32  # images in the net at once
_STREAM = 2**33  # of random numbers; batches of runs use the first ones, texts 2**32


class Work(NamedTuple):
    """What is to be done: a set, its parts, and all else that the features depend on."""

    source: StoredSet | FolderSet | Pile
    parts: list[Part]
    recipe: dict
    side: int = 0  # to which images are resized

    def digest(self) -> str:
        """Return the SHA-256 of all of it, in hexadecimal."""
        return hashlib.sha256(f"{self.recipe_text()} {self.source.digest()}".encode()).hexdigest()

    def recipe_text(self) -> str:
        """Return the recipe as it stands in the file."""
        return json.dumps({"format": _FORMAT, **self.recipe}, sort_keys=True)


def make_features(
    asked: Extraction, out: Path, cache_dir: str | None, say: Callable[[str], object] = print
) -> bool:
    """Write the file of features; return False where it was there already.

    Args:
        asked: of what, by what.
        out: the file.
        cache_dir: where prepared data lies; None: nothing of it is kept.
        say: told what is done, one line each.

    Raises:
        OSError, ValueError: something cannot be read, written or made; says what.
    """
    work = plan(asked, cache_dir)

    def arrays(made):
        if made.skipped:
            rows = [("name", "problem"), *made.skipped]
            write_atomically(out.with_name(f"{out.stem}.skipped.csv"), csv_of(rows))
        return made.arrays

    made = make(work, work.digest(), out, arrays, say)
    for line in (made.source, *made.notes) if made else ():
        say(line)
    return made is not None


def plan(asked: Extraction, cache_dir: str | None) -> Work:
    """Return what is to be done for the features.

    Raises:
        OSError, ValueError: as `make_features`.
    """
    return (_text_work if kind_of(asked.config.dataset) is TEXTS else _image_work)(asked, cache_dir)


def make(
    work: Work,
    digest: str,
    out: Path,
    arrays: Callable[[FeatureSet], dict[str, np.ndarray]],
    say: Callable[[str], object] = print,
) -> FeatureSet | None:
    """Write the file of features and return the set; None where it was there already.

    Args:
        work: what is to be done.
        digest: of all that the file depends on; `work.digest()` reads all inputs.
        out: the file.
        arrays: the set -> what the file shall hold.
        say: told what is wrong with earlier chunks.

    Raises:
        OSError, ValueError: as `make_features`.
    """
    chunks = out.with_name(f"{out.name}.parts")
    if is_made(out, digest):
        forget_chunks(chunks)
        return None
    records = extract(work.parts, digest, chunks, say)
    made = work.source.finished(records)
    del records
    write_features(out, arrays(made), digest, work.recipe_text())
    forget_chunks(chunks)
    return made


def _image_work(asked, cache_dir):
    config = asked.config
    kind, _, path = config.dataset.partition(":")
    if kind == "folder":
        backbone = image_backbone(asked.backbone, config.image_size, None)
        pictures = PictureFolder(path, backbone.side, backbone.channels, config.on_error)
        _check_clean_test_set(pictures, asked.views)
        source = FolderSet(pictures)
    else:
        raw = smaller(load_images(config.dataset, config.data_dir or None, None, cache_dir), asked)
        side = max(raw.train.inputs.shape[1:3])
        source, backbone = StoredSet(raw), image_backbone(asked.backbone, config.image_size, side)
    return image_work(source, backbone, asked)


def image_work(
    source: StoredSet | FolderSet | Pile, backbone: ImageBackbone, asked: Extraction
) -> Work:
    """Return what is to be done for the images of `source`."""
    encode = ImageEncoder(backbone, asked.views, asked.config.flip, asked.config.seed)
    parts = [
        _part(name, np.arange(size), _views(name, source, asked), backbone.width, source, encode)
        for name, size in source.sizes.items()
    ]
    recipe = {"backbone": backbone.recipe, "views": encode.recipe}
    return Work(source, parts, recipe, backbone.side)


def _check_clean_test_set(pictures, views):
    """Make sure that no test set is held out of examples of which there are views alone.

    Raises:
        ValueError: it would be.
    """
    if views and not {"unlabeled", "test"} & set(pictures.sizes):
        raise ValueError(
            "--views must be 0 for a folder without unlabeled/ and test/, whose test set is taken "
            f"from the training set. Received: --views={views}. Add one of the two folders"
        )


def _text_work(asked, cache_dir):
    config = asked.config
    backbone, encoder = text_backbone(asked.backbone), encoder_for(config)
    cache = TokenCache(Path(cache_dir) / "tokens" if cache_dir else None)
    raw = tokens_of(asked, cache_dir)
    inputs, recipe = {}, ""
    if asked.views:
        name = "train" if raw.unlabeled is None else "unlabeled"
        inputs[name], recipe = with_copies(raw.parts[name], encoder, cache, asked)
    tokens = {name: one.inputs for name, one in raw.parts.items()}
    return token_work(StoredSet(raw, inputs), tokens, backbone, asked, recipe)


def tokens_of(asked: Extraction, cache_dir: str | None) -> RawDataset:
    """Return the texts that features are asked of, tokenised."""
    config = asked.config
    cache = TokenCache(Path(cache_dir) / "tokens" if cache_dir else None)
    texts = load_texts(
        config.dataset, config.data_dir or None, cache_dir, layout_of(config), config.on_error
    )
    encode = functools.partial(cache.encode, encoder_for(config))
    return smaller(texts.tokenised(encode), asked)


def with_copies(
    one: Examples, encoder: TextEncoder, cache: TokenCache, asked: Extraction
) -> tuple[np.ndarray, str]:
    """Return tokens [n, 1 + K, L] of texts and of their strong views, and what made these."""
    method = augmentation(asked.config)
    copies = augmented_tokens(one.texts, encoder, cache, method, asked.views)
    tokens = np.concatenate([one.inputs[:, np.newaxis], copies], axis=1)
    return tokens, f"{asked.views} of {method.recipe}"


def token_work(
    source: StoredSet | Pile,
    tokens: Mapping[str, np.ndarray],
    backbone: TextBackbone,
    asked: Extraction,
    recipe: str,
) -> Work:
    """Return what is to be done for texts whose tokens, by part, are [n, L]."""

    def encode(tokens, rows, views):
        del rows, views
        found = backbone(tokens.reshape(-1, tokens.shape[-1]))
        return found.reshape(*tokens.shape[:-1], -1)

    parts = []
    for name, one in tokens.items():
        # Texts of like length together: the net skips padding that all of a chunk have.
        order = np.argsort((one != 0).sum(axis=1), kind="stable")
        views = _views(name, source, asked)
        parts.append(_part(name, order, views, backbone.width, source, encode))
    return Work(source, parts, {"backbone": backbone.recipe, "views": recipe})


def smaller(raw: RawDataset, asked: Extraction) -> RawDataset:
    """Return the set with as many training, unlabeled and test examples as are asked for."""
    raw = with_fewer_tests(raw, asked.config.num_test)
    if not asked.num_train:
        return raw
    rng, parts = np.random.RandomState(0), {}
    rows = greedy_rows(raw.train.labels, raw.class_names, asked.num_train, rng, "num_train")
    parts["train"] = raw.train.take(np.sort(rows))
    if raw.unlabeled is not None:
        rows = rng.permutation(len(raw.unlabeled.labels))[: asked.num_train]
        parts["unlabeled"] = raw.unlabeled.take(np.sort(rows))
    return dataclasses.replace(raw, **parts)


def _views(name, source, asked):
    """Return the views of a part: U's have them, which is the training set where there is none."""
    part = "unlabeled" if "unlabeled" in source.sizes else "train"
    return 1 + asked.views if asked.views and name == part else 0


def _part(name, order, views, width, source, encode):
    shape = (views, width) if views else (width,)

    def make(rows):
        records = np.zeros(len(rows), record(shape))
        inputs, records["problem"] = source.inputs(name, rows)
        read = records["problem"] == ""
        if read.any():
            records["x"][read] = encode(inputs, rows[read], views)
            records["content"][read] = row_digests(inputs)
        return records

    return Part(name, order, max(views, 1), shape, make)


class ImageEncoder:
    """Images as they are stored -> features of them or of their views.

    The random numbers of a view depend on (seed, row, view) alone.

    Args:
        backbone: makes the features.
        views: K, strong views beside the weak one.
        flip: whether images may be mirrored.
        seed: of the views.
    """

    def __init__(self, backbone: ImageBackbone, views: int, flip: bool, seed: int):
        self._backbone, self._seed = backbone, seed
        a = Augmentation.fixmatch(flip)
        self.recipe = f"{views} of {a.name}, flip {flip}, seed {seed}" if views else ""
        compiled = functools.partial(tf.function, autograph=False)
        self._clean = compiled(lambda images: self._net(clean_view(images)))
        self._weak = compiled(functools.partial(self._view, a.weak, a.weak_draws, 0))
        self._strong = compiled(functools.partial(self._view, a.strong, a.strong_draws, 1))

    def __call__(self, images: np.ndarray, rows: np.ndarray, views: int) -> np.ndarray:
        """Return features float32, [n, width], or [n, views, width], first of the weak view.

        Args:
            images: [n, H, W, C] uint8.
            rows: [n] int64, of the images in their part.
            views: 0: of the images themselves.
        """
        shape = (views, self._backbone.width) if views else (self._backbone.width,)
        found = np.zeros([len(images), *shape], np.float32)
        for start in range(0, len(images), _BATCH):
            part, ids = images[start : start + _BATCH], rows[start : start + _BATCH]
            # One shape, one compilation: the last batch is filled up and cut again.
            missing = _BATCH - len(part)
            filled = tf.constant(np.concatenate([part, np.repeat(part[:1], missing, axis=0)]))
            ids = tf.constant(np.concatenate([ids, np.repeat(ids[:1], missing)]), tf.int64)
            found[start : start + _BATCH] = self._batch(filled, ids, views)[: len(part)]
        return found

    def _batch(self, images, ids, views):
        if not views:
            return self._clean(images).numpy()
        copies = [tf.fill(ids.shape, tf.constant(k, tf.int64)) for k in range(views)]
        weak = self._weak(images, ids, copies[0])
        return np.stack([weak, *(self._strong(images, ids, k) for k in copies[1:])], axis=1)

    def _view(self, augment, draws, kind, images, ids, copies):
        with tf.device("CPU:0"):  # where views of training batches are made: the same bits
            keys = example_keys(self._seed, _STREAM, ids, copies, kind)
            views = augment(images, uniform(keys, draws))
        return self._net(views)

    def _net(self, views):
        """Return the features of views [n, H, W, C] in [-1, 1], of any size, grey or colour."""
        side, channels = self._backbone.side, self._backbone.channels
        if views.shape[3] != channels:
            grey = channels == 1
            views = tf.image.rgb_to_grayscale(views) if grey else tf.repeat(views, 3, axis=3)
        if tuple(views.shape[1:3]) != (side, side):
            # Averaging when shrinking, as Pillow does.
            views = tf.image.resize(views, [side, side], "bicubic", antialias=True)
            views = tf.clip_by_value(views, -1.0, 1.0)
        return self._backbone.net(views)
