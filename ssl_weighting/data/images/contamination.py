"""Contaminate unlabeled sets in a known way, so that reports can compare the groups.

The paper claims that unlabeled examples differ in worth. Here they do by construction:

    foreign     a share of U shows classes that are none of the task's
    corrupt     a share of U has lost its content: the pixels of an image stand in a random order
    imbalanced  class c of U is thinned out to ratio^(c / (C - 1)), the last to `rate` of the first

D, V and the test set stay clean.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_weighting.data.examples import UNKNOWN, DataSplits, RawDataset

RATES = {"none": 0.0, "foreign": 0.5, "corrupt": 0.3, "imbalanced": 0.1}
KINDS = tuple(RATES)
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
    wanted = round(keep.sum() * rate / (1 - rate))
    if not 0 < wanted <= len(foreign):
        raise ValueError(
            f"`contamination_rate` must leave from 1 to {len(foreign)} foreign examples beside "
            f"{keep.sum()} own ones. Received: {rate}, which needs {wanted}."
        )
    chosen = np.sort(np.random.RandomState([_STREAM, 0]).permutation(len(foreign))[:wanted])
    unknown = np.full(wanted, UNKNOWN, np.int32)
    validation = raw.validation
    if validation is not None:
        validation = validation.take(validation.labels < own)
    return dataclasses.replace(
        raw,
        train=raw.train.take(keep),
        test=raw.test.take(raw.test.labels < own),
        class_names=raw.class_names[:own],
        unlabeled=dataclasses.replace(foreign.take(chosen), labels=unknown),
        validation=validation,
    )


def contaminate(splits: DataSplits, kind: str, rate: float, seed: int) -> DataSplits:
    """Return the splits with U contaminated, and with the group of every unlabeled example.

    Args:
        splits: for `foreign` those of `with_foreign_classes`.
        kind: one of `KINDS`.
        rate: share of corrupt examples, or the last class's size over the first's; in (0, 1).
        seed: chooses the examples.

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
        unlabeled, groups = _corrupt(unlabeled, rate, rng)
    else:
        unlabeled, groups = _imbalanced(unlabeled, splits.class_names, rate, rng)
    return dataclasses.replace(splits, unlabeled=unlabeled, groups=tuple(groups.tolist()))


def _corrupt(unlabeled, rate, rng):
    n = len(unlabeled)
    chosen = np.sort(rng.permutation(n)[: round(rate * n)])
    inputs = unlabeled.inputs.copy()
    pixels = inputs[chosen].reshape(len(chosen), -1, inputs.shape[-1])
    for k in range(len(chosen)):
        pixels[k] = pixels[k][rng.permutation(pixels.shape[1])]
    inputs[chosen] = pixels.reshape(len(chosen), *inputs.shape[1:])
    groups = np.full(n, "clean", dtype="<U7")
    groups[chosen] = "corrupt"
    return dataclasses.replace(unlabeled, inputs=inputs), groups


def _imbalanced(unlabeled, class_names, rate, rng):
    last = max(len(class_names) - 1, 1)
    keep = []
    for c in range(len(class_names)):
        rows = np.flatnonzero(unlabeled.labels == c)
        rng.shuffle(rows)
        keep.append(rows[: max(1, round(len(rows) * rate ** (c / last)))])
    unlabeled = unlabeled.take(np.sort(np.concatenate(keep)))
    return unlabeled, np.array(class_names)[unlabeled.labels]
