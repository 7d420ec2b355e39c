"""How well the influences of single runs agree with retraining: docs/study/agreement.csv.

One line a run, measured by `python -m experiments.measure_agreement`, or elsewhere by other means.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.study.rows import Key, read_rows, rows_text
from ssl_weighting.data.files import write_atomically

FILE = "agreement.csv"
_QUANTILE = 1.959963984540054  # of the normal distribution, 97.5 %


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Spearman's correlation of Eq. 6 with retraining, over sampled ids of one run's U."""

    family: str
    method: str
    seed: int
    ids: int  # how many examples were retrained
    spearman: float
    low: float  # 95 % interval over ids
    high: float
    commit: str  # of the code that measured; "" if unknown

    @property
    def key(self) -> Key:
        """Whose influences they are."""
        return self.family, self.method, self.seed


def agreement_of(scores: np.ndarray, truth: np.ndarray) -> tuple[int, float, float, float]:
    """Return (n, Spearman's correlation, low, high) of two [n] vectors.

    The 95 % interval is Fisher's z with the variance (1 + r^2 / 2) / (n - 3) that Bonett and Wright
    (2000) give for ranks.

    Raises:
        ValueError: fewer than four pairs, values that are not finite, or one side is constant.
    """
    from scipy import stats

    if len(scores) != len(truth) or len(scores) < 4:
        raise ValueError(
            "`scores` and `truth` must have the same length, at least 4. Received: "
            f"{len(scores)} and {len(truth)}"
        )
    if not (np.isfinite(scores).all() and np.isfinite(truth).all()):
        raise ValueError("`scores` and `truth` must be finite. Received: values that are not")
    if np.ptp(scores) == 0 or np.ptp(truth) == 0:
        raise ValueError("`scores` and `truth` must vary. Received: one value for all")
    r = float(np.clip(stats.spearmanr(scores, truth).statistic, -1.0, 1.0))
    with np.errstate(divide="ignore"):  # r = 1: the interval is that point
        z = float(np.arctanh(r))
    half = _QUANTILE * math.sqrt((1 + r * r / 2) / (len(scores) - 3))
    return len(scores), r, math.tanh(z - half), math.tanh(z + half)


def read_agreements(path: Path | str) -> dict[Key, Agreement]:
    """Read the record; {} if there is none yet.

    Raises:
        RunError: as `read_rows`.
    """
    return read_rows(path, Agreement)


def record(path: Path | str, found: Iterable[Agreement]) -> Mapping[Key, Agreement]:
    """Put lines into the record, in the place of earlier ones of the same runs; return all.

    Raises:
        RunError: the record cannot be read.
        OSError: it cannot be written.
    """
    lines = read_agreements(path) | {one.key: _rounded(one) for one in found}
    write_atomically(Path(path), rows_text(lines.values(), Agreement))
    return lines


def _rounded(one):
    """Four digits: more than a correlation over some hundred ids is worth."""
    digits = {name: round(float(getattr(one, name)), 4) for name in ("spearman", "low", "high")}
    return dataclasses.replace(one, **digits)
