"""How FixMatch's code deals rows out to batches and devices, so that each sees a mix of kinds.

Upstream: google-research/fixmatch at d4985a1; the behaviour matched and the differences are listed
in README.md. A permutation is given as an order: row k of the result is row order[k].
"""

from __future__ import annotations

import numpy as np


def group_order(batch: int, num_batches: int) -> np.ndarray:
    """Swap group i of batch 0 with group i of batch i (MixMatch, ReMixMatch).

    Each batch is cut into `num_batches` groups, as equal as can be, the last ones larger: a batch
    of 64 among three into 21, 21, 22.

    Args:
        batch: rows of each batch.
        num_batches: batches, one below the other.

    Returns:
        [batch * num_batches] int64; its own inverse.
    """
    small, larger = divmod(batch, num_batches)
    sizes = [small + (k >= num_batches - larger) for k in range(num_batches)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    order = np.arange(batch * num_batches).reshape(num_batches, batch)
    for k in range(1, num_batches):
        group = slice(starts[k], starts[k + 1])
        order[[0, k], group] = order[[k, 0], group]
    return order.reshape(-1)


def interleave_order(size: int, groups: int) -> np.ndarray:
    """Deal rows out in turn: every `groups`-th row from the first, then from the second, ...

    Contiguous slices then hold roughly the same mix of labeled, weak and strong rows (FixMatch,
    UDA; upstream groups = 2 mu + 1, and each device takes one slice).

    Args:
        size: number of rows, a multiple of `groups`.
        groups: n.

    Returns:
        [size] int64: place j size / n + i takes row i n + j. `np.argsort` gives the inverse.

    Raises:
        ValueError: if `size` is no multiple of `groups`.
    """
    if groups < 1 or size % groups:
        raise ValueError(
            f"`size` must be a multiple of `groups`. Received: size={size}, groups={groups}"
        )
    return np.arange(size).reshape(-1, groups).T.reshape(-1)
