"""What two runs must share for their errors to be compared, seed by seed; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Circumstances(NamedTuple):
    """What two runs must share for their difference to be the method's alone."""

    devices: int
    precision: str
    source: str
    split: str
    with_v: bool  # V became labels, which changes the split by design
    views: str | None = None  # the paraphrases, "" for word replacement; None: unknown, or no views
    bert: str | None = None  # its weights and vocabulary; None: unknown, or no BERT
    threads: str | None = None  # of `threads_of`


def comparable(a: Any, b: Any, any_u: bool = False) -> list[str]:
    """Return the names of the `circumstances` in which two runs differ; empty: they are a pair.

    Args:
        a, b: anything with `circumstances`, of one seed.
        any_u: whether U may differ, where D, V and the test set are known to be the same.
    """
    one, other = a.circumstances, b.circumstances
    by_design = ("with_v", "split") if one.with_v != other.with_v else ()
    if any_u and a.split_without_u is not None and a.split_without_u == b.split_without_u:
        by_design += ("split",)
    named = zip(one._fields, one, other, strict=True)
    return [n for n, x, y in named if x != y and None not in (x, y) and n not in by_design]


def unlike_pairs(
    runs: Mapping[int, Any], others: Mapping[int, Any], any_u: bool = False
) -> dict[int, list[str]]:
    """Return seed -> in what its two runs differ, for the seeds whose runs are no pair.

    Args:
        runs, others: seed -> run of two methods.
        any_u: as in `comparable`.
    """
    both = [seed for seed in runs if seed in others]
    found = {seed: comparable(runs[seed], others[seed], any_u) for seed in both}
    return {seed: names for seed, names in sorted(found.items()) if names}
