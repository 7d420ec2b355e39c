"""Suite madam: one update of Lambda against |U|; the sparse update must not depend on |U|."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import tensorflow as tf

from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio
from experiments.benchmarks.suite import Case, Options
from ssl_weighting.madam import MAdam
from ssl_weighting.weight_store import WeightStore

# So many different batches that at |U| = 10^7 their rows are spread over the whole table, far more
# of it than a core's own cache holds.
NUM_BATCHES = 1024


def cases(options: Options) -> dict[str, Case]:
    """Return the rows sparse_|U| and dense_|U| for every |U| in `options.sizes`."""
    return {
        f"{kind.__name__.lower()}_{label(size)}": Case(
            {"num_unlabeled": size, "batch": options.unlabeled_batch},
            functools.partial(_make, kind, size, options.unlabeled_batch),
        )
        for size in options.sizes
        for kind in (Sparse, Dense)
    }


def ratios(timings: dict[str, Timing], peaks: dict, options: Options) -> dict[str, Ratio]:
    """Return largest over smallest |U|, and dense over sparse at the largest."""
    del peaks
    small, large = label(min(options.sizes)), label(max(options.sizes))
    sparse, dense = f"sparse_{large}", f"dense_{large}"
    pairs = {
        f"sparse_{large}_over_{small}": (sparse, f"sparse_{small}"),
        f"dense_{large}_over_sparse_{large}": (dense, sparse),
    }
    return {
        name: cpu_ratio(*(timings[row] for row in pair))
        for name, pair in pairs.items()
        if timings.keys() >= {*pair}
    }


def label(size: int) -> str:
    """Return "1e7" for powers of ten, else the digits."""
    zeros = len(str(size)) - 1
    return f"1e{zeros}" if size == 10**zeros else str(size)


class Sparse:
    """One call: `WeightStore.update` on the next random batch, as the trainer makes it."""

    def __init__(self, size: int, batch: int):
        rng = np.random.default_rng(0)
        self.store = WeightStore(size, "per_example", MAdam())
        batches = [rng.choice(size, batch, replace=False) for _ in range(NUM_BATCHES)]
        gradient = rng.normal(size=[NUM_BATCHES, batch]).astype(np.float32)
        self.turns = itertools.cycle(
            [(tf.constant(i), tf.constant(g)) for i, g in zip(batches, gradient, strict=True)]
        )
        self.update = tf.function(self.store.update)

    def __call__(self) -> None:
        """Take one step."""
        self.update(*next(self.turns))


class Dense:
    """One call: the same M-Adam given a gradient for all of U, zero outside one batch."""

    def __init__(self, size: int, batch: int):
        rng = np.random.default_rng(0)
        self.store = WeightStore(size, "per_example", MAdam())
        gradient = np.zeros(size, np.float32)
        gradient[rng.choice(size, batch, replace=False)] = rng.normal(size=batch)
        self.gradient = tf.constant(gradient)
        self.update = tf.function(lambda g: self.store.optimizer.apply([g], [self.store.lam]))

    def __call__(self) -> None:
        """Take one step."""
        self.update(self.gradient)


def _make(kind, size, batch, tiny):
    return kind(batch if tiny else size, batch)
