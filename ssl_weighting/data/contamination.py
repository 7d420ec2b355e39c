"""Contaminate unlabeled sets in a known way, so that reports can compare the groups.

The paper claims that unlabeled examples differ in worth. Here they do by construction:

    foreign     a share of U is of none of the task's classes
    corrupt     a share of U has lost its content: the pixels of an image stand in a random order,
                the words of a text are drawn from those of all texts
    imbalanced  class c of U is thinned out to ratio^(c / (C - 1)), the last to `rate` of the first

D, V and the test set stay clean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import UNKNOWN, DataSplits, Examples, RawDataset

RATES = {"none": 0.0, "foreign": 0.5, "corrupt": 0.3, "imbalanced": 0.1}
KINDS = tuple(RATES)
Spoil = Callable[[Examples, np.random.RandomState], Examples]
_STREAM = 4  # apart from the streams of `splits`


def with_foreign_classes(raw: RawDataset, rate: float) -> RawDataset:
    """Make the second half of the classes foreign: their images are unlabeled ones of no class.

    Args:
        raw: the set, with at least four classes.
        rate: share of foreign examples in U, in (0, 1), at most what there are.

    Returns:
        The set of the first half of the classes, with further unlabeled images.

    Raises:
        ValueError: if there are too few classes or foreign images, or the set brings unlabeled
            ones.
    """
    own = len(raw.class_names) // 2
    if own < 2 or raw.unlabeled is not None:
        raise ValueError(
            "`contamination` foreign needs a set of at least four classes without unlabeled "
            f"examples of its own. Received: {raw.name} with {len(raw.class_names)} classes."
        )
    keep = raw.train.labels < own
    foreign = raw.train.take(~keep)
    validation = raw.validation
    if validation is not None:
        validation = validation.take(validation.labels < own)
    return dataclasses.replace(
        raw,
        train=raw.train.take(keep),
        test=raw.test.take(raw.test.labels < own),
        class_names=raw.class_names[:own],
        unlabeled=_foreign(foreign, keep.sum(), rate),
        validation=validation,
    )


def with_foreign_examples(raw: RawDataset, foreign: Examples, rate: float) -> RawDataset:
    """Add examples from elsewhere, which are of no class, to the unlabeled ones.

    Args:
        raw: the set, all of whose classes stay.
        foreign: such examples, with names that the set has not.
        rate: share of foreign examples in U, in (0, 1), at most what there are.

    Raises:
        ValueError: there are too few.
    """
    own = len(raw.train) + (0 if raw.unlabeled is None else len(raw.unlabeled))
    added = _foreign(foreign, own, rate)
    return dataclasses.replace(
        raw, unlabeled=added if raw.unlabeled is None else raw.unlabeled.joined(added)
    )


def _foreign(pool, own, rate) -> Examples:
    """Return so many of `pool`, always the same, that they are a share `rate` beside `own`."""
    wanted = round(own * rate / (1 - rate))
    if not 0 < wanted <= len(pool):
        raise ValueError(
            f"`contamination_rate` must leave from 1 to {len(pool)} foreign examples beside "
            f"{own} own ones. Received: {rate}, which needs {wanted}."
        )
    chosen = np.sort(np.random.RandomState([_STREAM, 0]).permutation(len(pool))[:wanted])
    return dataclasses.replace(pool.take(chosen), labels=np.full(wanted, UNKNOWN, np.int32))


def shuffled_pixels(images: Examples, rng: np.random.RandomState) -> Examples:
    """Return images [n, H, W, C] whose pixels stand in a random order."""
    pixels = loaded(images.inputs).reshape(len(images), -1, images.inputs.shape[-1])
    found = [image[rng.permutation(pixels.shape[1])] for image in pixels]
    inputs = np.reshape(found, images.inputs.shape).astype(images.inputs.dtype)
    return dataclasses.replace(images, inputs=inputs)


def random_words(texts: Sequence[str]) -> list[str]:
    """Return texts of as many words, each drawn from the words of all texts as often as they occur.

    The draw for a text depends on its place alone.
    """
    words = [text.split() for text in texts]
    every = [word for text in words for word in text]
    found = []
    for row, own in enumerate(words):
        drawn = np.random.RandomState([_STREAM, row]).randint(len(every), size=len(own))
        found.append(" ".join(every[k] for k in drawn))
    return found


def contaminate(
    splits: DataSplits, kind: str, rate: float, seed: int, spoil: Spoil = shuffled_pixels
) -> DataSplits:
    """Return the splits with U contaminated, and with the group of every unlabeled example.

    Args:
        splits: for `foreign` those of `with_foreign_classes`.
        kind: one of `KINDS`.
        rate: share of corrupt examples, or the last class's size over the first's; in (0, 1).
        seed: chooses the examples.
        spoil: (chosen examples, random numbers) -> what they are without their content.

    Raises:
        ValueError: if `kind` is unknown, or a rate leaves nothing.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind!r}.")
    if kind == "none":
        return splits
    if not 0 < rate < 1:
        raise ValueError(f"`rate` must be in (0, 1). Received: rate={rate}")
    rng = np.random.RandomState([_STREAM, seed])
    unlabeled = splits.unlabeled
    if kind == "foreign":
        groups = np.where(unlabeled.labels == UNKNOWN, "foreign", "own")
    elif kind == "corrupt":
        unlabeled, groups = _corrupt(unlabeled, rate, rng, spoil)
    else:
        unlabeled, groups = _imbalanced(unlabeled, splits.class_names, rate, rng)
    return dataclasses.replace(splits, unlabeled=unlabeled, groups=tuple(groups.tolist()))


def _corrupt(unlabeled, rate, rng, spoil):
    unlabeled = unlabeled.loaded()  # what is spoilt is in no table
    n = len(unlabeled)
    chosen = np.sort(rng.permutation(n)[: round(rate * n)])
    spoilt = spoil(unlabeled.take(chosen), rng)
    arrays = {}
    for name in ("inputs", "views"):
        if getattr(unlabeled, name) is not None:
            arrays[name] = getattr(unlabeled, name).copy()
            arrays[name][chosen] = getattr(spoilt, name)
    groups = np.full(n, "clean", dtype="<U7")
    groups[chosen] = "corrupt"
    return dataclasses.replace(unlabeled, **arrays), groups


def _imbalanced(unlabeled, class_names, rate, rng):
    last = max(len(class_names) - 1, 1)
    keep = []
    for c in range(len(class_names)):
        rows = np.flatnonzero(unlabeled.labels == c)
        rng.shuffle(rows)
        keep.append(rows[: max(1, round(len(rows) * rate ** (c / last)))])
    unlabeled = unlabeled.take(np.sort(np.concatenate(keep)))
    return unlabeled, np.array(class_names)[unlabeled.labels]
