"""Which views of a batch one of several processes passes through the network, and needs to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ssl_weighting.theta.devices import Devices, row_order


def rows_read(
    passes: Sequence[Sequence[str]], sizes: Mapping[str, int], batch: int, devices: Devices
) -> dict[str, np.ndarray]:
    """Return the rows of each view that the devices of this process have in their slices.

    Args:
        passes: the views that each forward pass of a theta-step joins, in their order; of an
            algorithm's `passes`.
        sizes: view -> its rows in a batch.
        batch: B, by which `devices.divided` interleaves.
        devices: of all processes.

    Returns:
        View -> int64 rows, increasing; of a view that no pass has, none.
    """
    read = {name: [] for name in sizes}
    first = devices.worker * devices.local
    for names in passes:
        ends = np.cumsum([sizes[name] for name in names])
        slices = np.split(row_order(int(ends[-1]), batch, devices.count), devices.count)
        mine = np.concatenate(slices[first : first + devices.local])
        for name, end in zip(names, ends, strict=True):
            within = mine - (end - sizes[name])
            read[name].append(within[(within >= 0) & (mine < end)])
    none = np.zeros([0], np.int64)
    return {name: np.unique(np.concatenate([none, *rows])) for name, rows in read.items()}
