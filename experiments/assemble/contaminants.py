"""Features of what a contaminated U holds beside its own examples: corrupt twins, foreign texts.

They are made once for all seeds, of every example that any seed may choose.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from experiments.assemble.backbone_sets import BackboneSet, features_folder, made_arrays
from experiments.assemble.backbones import image_backbone, text_backbone
from experiments.assemble.feature_sets import Pile
from experiments.assemble.features import (
    Work,
    image_work,
    smaller,
    token_work,
    tokens_of,
    with_copies,
)
from experiments.assemble.text_data import encoder_for
from experiments.options.config import Config
from experiments.options.extraction import Extraction, extraction_of
from experiments.options.kinds import TEXTS, kind_of
from ssl_weighting.data.contamination import (
    Spoil,
    random_words,
    shuffled_pixels,
    with_foreign_examples,
)
from ssl_weighting.data.examples import UNKNOWN, Examples
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.texts.raw import Texts
from ssl_weighting.data.texts.rotten_tomatoes import load_plots
from ssl_weighting.data.texts.tokens import TokenCache

_SHUFFLES = 4  # keeps the random numbers of pixels' places apart


def twins(config: Config, cache_dir: str | None) -> Spoil:
    """Return (examples, random numbers) -> the features of their corrupt twins, by name.

    Of an image the twin has its pixels in another order, of a text as many words, drawn from the
    words of all training texts. Strong views are those of the twin.

    Args:
        config: with a --backbone.
        cache_dir: where prepared data lies; None: nothing of it is kept.

    Raises:
        OSError, ValueError: as `backbone_set`.
    """
    asked = extraction_of(config)
    of_texts = kind_of(config.dataset) is TEXTS
    pile = _pile(_text_twins if of_texts else _image_twins, asked, cache_dir)
    places = {name: row for row, name in enumerate(pile.names)}

    def spoil(examples, rng):
        del rng
        found = pile.take(np.array([places[name] for name in examples.names], np.int64))
        return dataclasses.replace(found, labels=examples.labels)

    return spoil


def shown_twins(config: Config, cache_dir: str | None) -> dict[str, np.ndarray | str]:
    """Return name -> the image [H, W, C] uint8 or the text that an example's corrupt twin is.

    Args:
        config, cache_dir: as of `twins`.

    Raises:
        OSError, ValueError: as `twins`.
    """
    asked = extraction_of(config)
    if kind_of(config.dataset) is TEXTS:
        one = _candidates(tokens_of(asked, cache_dir))
        return dict(zip(one.names, random_words(one.texts), strict=True))
    _, spoilt = _shuffled(asked, cache_dir)
    return dict(zip(spoilt.names, spoilt.inputs, strict=True))


def with_foreign_texts(
    config: Config, raw: BackboneSet, rate: float, cache_dir: str | None
) -> BackboneSet:
    """Return the set with sentences of films' plots, which are of no class, among the unlabeled.

    Raises:
        OSError, ValueError: as `load_plots`, `backbone_set` and `with_foreign_examples`.
    """
    foreign = _pile(_plots, extraction_of(config), cache_dir)
    texts = load_plots()
    known = dict(zip(texts.names, texts.texts, strict=True))
    mixed = with_foreign_examples(raw, foreign, rate)
    return dataclasses.replace(mixed, texts={**raw.texts, **known})


# The runs of a family read them once.
@functools.lru_cache(maxsize=1)
def _pile(plan, asked: Extraction, cache_dir: str | None) -> Examples:
    with features_folder(cache_dir) as folder:
        _, arrays, _ = made_arrays(plan(asked, cache_dir), Path(asked.backbone).name, folder)
    x, names = arrays["x_unlabeled"], arrays["names_unlabeled"].astype(object)
    views = None
    if x.ndim == 3:
        x, views = np.ascontiguousarray(x[:, 0]), np.ascontiguousarray(x[:, 1:])
    return Examples(x, np.full(len(x), UNKNOWN, np.int32), names=names, views=views)


def _image_twins(asked, cache_dir) -> Work:
    title, spoilt = _shuffled(asked, cache_dir)
    side = max(spoilt.inputs.shape[1:3])
    backbone = image_backbone(asked.backbone, asked.config.image_size, side)
    return image_work(Pile(title, spoilt.inputs, spoilt.names), backbone, asked)


def _shuffled(asked, cache_dir) -> tuple[str, Examples]:
    config = asked.config
    if config.dataset.startswith("folder:"):
        raise ValueError(
            "--contamination=corrupt with --backbone needs images that one file or a built-in name "
            f"holds. Received: --dataset={config.dataset}. Use npz:PATH, or leave out --backbone"
        )
    raw = smaller(load_images(config.dataset, config.data_dir or None, None, cache_dir), asked)
    spoilt = shuffled_pixels(_candidates(raw), np.random.RandomState([_SHUFFLES, 0]))
    return f"{raw.name}, shuffled", spoilt


def _text_twins(asked, cache_dir) -> Work:
    raw = tokens_of(asked, cache_dir)
    examples = _candidates(raw)
    twin = Texts.unlabeled(random_words(examples.texts), tuple(examples.names))
    return _text_work(f"{raw.name}, random words", twin, asked, cache_dir)


def _plots(asked, cache_dir) -> Work:
    return _text_work("plots of films", load_plots(), asked, cache_dir)


def _candidates(raw) -> Examples:
    """Return all examples that may be in U."""
    return raw.train if raw.unlabeled is None else raw.train.joined(raw.unlabeled)


def _text_work(title, texts, asked, cache_dir) -> Work:
    encoder = encoder_for(asked.config)
    cache = TokenCache(Path(cache_dir) / "tokens" if cache_dir else None)
    one = texts.tokenised(functools.partial(cache.encode, encoder))
    inputs, recipe = one.inputs, ""
    if asked.views:
        inputs, recipe = with_copies(one, encoder, cache, asked)
    pile, tokens = Pile(title, inputs, one.names), {"unlabeled": one.inputs}
    return token_work(pile, tokens, text_backbone(asked.backbone), asked, recipe)
