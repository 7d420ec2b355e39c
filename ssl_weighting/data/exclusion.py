"""Leave examples out of U by name: what a person found useless in the ranking of an earlier run."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable

import numpy as np

from ssl_weighting.data.examples import SPLITS, DataSplits

_SHOWN = 3


def without_examples(splits: DataSplits, exclude: Iterable[str]) -> DataSplits:
    """Return the splits with some examples of U left out; D, V and the test set stay as they are.

    Ids count what is left, in its order.

    Args:
        splits: whose examples have names.
        exclude: names of examples of U that are no example of D, V or the test set.

    Raises:
        ValueError: a name is none of U's, is that of several examples, or of a labeled one; no
            name is given; or nothing would be left.
    """
    unwanted = dict.fromkeys(exclude)
    counts = Counter(splits.unlabeled.names.tolist())
    _check(splits, unwanted, counts)
    keep = np.array([name not in unwanted for name in splits.unlabeled.names], bool)
    if not keep.any():
        raise ValueError(
            f"--exclude must leave examples in U. Received: the names of all {len(keep)}."
        )
    groups = splits.groups
    if groups is not None:
        groups = tuple(group for group, kept in zip(groups, keep, strict=True) if kept)
    return dataclasses.replace(
        splits,
        unlabeled=splits.unlabeled.take(keep),
        groups=groups,
        notes=(*splits.notes, f"{len(unwanted)} examples are excluded from U by name"),
    )


def _check(splits, unwanted, counts) -> None:
    if not unwanted:
        raise ValueError("--exclude must have the name of an example. Received: none.")
    others = {part: getattr(splits, part).names for part in SPLITS if part != "unlabeled"}
    for part, known in others.items():
        if found := [name for name in known if name in unwanted]:
            raise ValueError(
                f"--exclude must name unlabeled examples. Received: {_some(found)} of the {part} "
                "examples. Take them from the list."
            )
    if unknown := [name for name in unwanted if name not in counts]:
        labeled = set(itertools.chain(*others.values()))  # which may stand in U too
        free = [name for name in counts if name not in labeled]
        raise ValueError(
            f"--exclude must name examples of U. Received: {_some(unknown)} that it does not have. "
            f"Its names are like {_listed(free)}. Take the names of a run on the same data and, "
            "with --num_unlabeled, of the same --seed."
        )
    if several := [name for name in unwanted if counts[name] > 1]:
        raise ValueError(
            f"--exclude must have names of one example each. Received: {_some(several)} that "
            "several examples have. Give them different names."
        )


def _some(names) -> str:
    return f"{len(names)} name{'s' if len(names) > 1 else ''} ({_listed(names)})"


def _listed(names) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")
