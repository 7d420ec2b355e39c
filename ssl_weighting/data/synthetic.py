"""The toy sets of Fig. 1 (`linear`) and Fig. 2 (`circles`, `moons`), Sec. 4.1 of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.numbers import check_whole

# Standard deviation of the noise. The paper gives none; these leave the classes apart, so that
# there is a ground truth to find, and ten labels too few to find it.
DEFAULT_NOISE = {"linear": 0.4, "circles": 0.1, "moons": 0.12}
NAMES = tuple(DEFAULT_NOISE)

_MARGIN = 0.1  # of `linear`: half the width of the strip between the classes
_INNER_RADIUS = 0.5  # of `circles`; the outer one is 1


@dataclass(frozen=True)
class SyntheticConfig:
    """Which toy set, how large, how noisy.

    Args:
        name: one of `NAMES`.
        num_labeled, val_size, num_unlabeled: sizes of D, V, U (defaults: Sec. 4.1).
        num_test: size of the test set, large enough for errors of a tenth of a percent.
        noise: standard deviation before scaling; None for the set's default. For `linear`, how far
            points spread away from the margin, so that its classes never touch.
        scale: factor on all coordinates, positive.
        seed: of every random choice, from 0.

    Raises:
        ValueError: if a value is out of its range.
    """

    name: str
    num_labeled: int = 10
    val_size: int = 30
    num_unlabeled: int = 1000
    num_test: int = 10000
    noise: float | None = None
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.name not in NAMES:
            raise ValueError(
                f"`name` must be one of {', '.join(NAMES)}. Received: name={self.name!r}."
            )
        for size, least in zip(_SIZES, (2, 0, 1, 2), strict=True):
            check_whole(size, getattr(self, size), least)
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise ValueError(
                "`noise` must be finite and not negative, or None for the set's default. "
                f"Received: noise={self.noise}."
            )
        if not 0 < self.scale < math.inf:
            raise ValueError(f"`scale` must be finite and positive. Received: scale={self.scale}.")
        check_whole("seed", self.seed, 0, 2**32 - 1)


_SIZES = ("num_labeled", "val_size", "num_unlabeled", "num_test")


def load_synthetic(config: SyntheticConfig) -> DataSplits:
    """Make a toy set: two classes, balanced in every part, points [n, 2] float32.

    One pool per class is made and dealt at random to the parts, so that the labeled points are a
    random choice (5 and 5 by default), not evenly spaced ones. D, U, V share no point.

    Args:
        config: what to make.

    Returns:
        The splits; `unlabeled.labels` hold the true classes, for reports.
    """
    noise = DEFAULT_NOISE[config.name] if config.noise is None else config.noise
    rng = np.random.default_rng(config.seed)
    sizes = [_halves(getattr(config, size)) for size in _SIZES]
    pools = _MAKERS[config.name](np.sum(sizes, axis=0), noise, rng)
    for pool in pools:
        rng.shuffle(pool)
    parts = []
    for counts in sizes:
        dealt = [pool[:count] for pool, count in zip(pools, counts, strict=True)]
        pools = [pool[count:] for pool, count in zip(pools, counts, strict=True)]
        parts.append(_mixed(dealt, config.scale, rng))
    labeled, validation, unlabeled, test = parts
    source = f"synthetic {config.name}, noise {noise:g}, scale {config.scale:g}, seed {config.seed}"
    return DataSplits(config.name, labeled, unlabeled, validation, test, ("0", "1"), source)


def _linear(counts, noise, rng) -> list[np.ndarray]:
    """Points on both sides of the line x + y = 0, none nearer to it than the margin."""
    normal = np.array([1.0, 1.0]) / math.sqrt(2)
    along = np.array([1.0, -1.0]) / math.sqrt(2)
    pools = []
    for side, count in zip((-1.0, 1.0), counts, strict=True):
        distance = side * (_MARGIN + np.abs(rng.normal(0.0, noise, (count, 1))))
        pools.append(distance * normal + rng.uniform(-1.0, 1.0, (count, 1)) * along)
    return pools


def _circles(counts, noise, rng) -> list[np.ndarray]:
    """Class 0 on the unit circle, class 1 on the circle inside."""
    from sklearn.datasets import make_circles

    return _by_class(
        *make_circles(tuple(counts), noise=noise, factor=_INNER_RADIUS, random_state=_state(rng))
    )


def _moons(counts, noise, rng) -> list[np.ndarray]:
    """Two interleaved half circles."""
    from sklearn.datasets import make_moons

    return _by_class(*make_moons(tuple(counts), noise=noise, random_state=_state(rng)))


_MAKERS = {"linear": _linear, "circles": _circles, "moons": _moons}


def _state(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))


def _by_class(points: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    return [points[labels == c] for c in (0, 1)]


def _halves(size: int) -> tuple[int, int]:
    return size - size // 2, size // 2


def _mixed(points: list[np.ndarray], scale: float, rng: np.random.Generator) -> Examples:
    """Join the classes in random order, so that ids tell nothing about them."""
    labels = np.repeat(np.arange(2, dtype=np.int32), [len(p) for p in points])
    order = rng.permutation(len(labels))
    inputs = (scale * np.concatenate(points)).astype(np.float32)
    return Examples(inputs[order], labels[order])
