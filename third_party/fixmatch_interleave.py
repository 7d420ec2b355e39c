"""How FixMatch's code deals rows out to batches and devices, so that each sees a mix of kinds.

Upstream: google-research/fixmatch at d4985a1; the behaviour matched and the differences are listed
in README.md. A permutation is given as an order: row k of the result is row order[k].
"""

from __future__ import annotations

import numpy as np


def group_order(batch: int, num_batches: int) -> np.ndarray:
    """Swaps group i of batch 0 with group i of batch i (MixMatch, ReMixMatch).

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


def turn_order(rows: int, num_groups: int) -> np.ndarray:
    """Deals rows out in turn: every `num_groups`-th row from the first, then from the second, ...

    Each slice of the result holds roughly the same mix of labeled, weak and strong rows (FixMatch,
    UDA; upstream num_groups = 2 mu + 1, and each device takes one slice).

    Args:
      rows: in all.
      num_groups: divides `rows`.

    Returns:
      [rows] int64: place j rows / num_groups + i takes row i num_groups + j. `np.argsort` gives the
      inverse.

    Raises:
      ValueError: if `num_groups` does not divide `rows`.
    """
    if num_groups < 1 or rows % num_groups:
        raise ValueError(
            "`num_groups` must be at least 1 and divide the rows. "
            f"Received: num_groups={num_groups} for {rows} rows."
        )
    return np.arange(rows).reshape(-1, num_groups).T.reshape(-1)
