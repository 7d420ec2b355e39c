"""Which examples of U helped and harmed most: one rule for tiles, tables, exports and files."""

from __future__ import annotations

import numpy as np

from experiments.runs.record import RunRecord
from experiments.runs.run_files import Arrays

HALF = 0.5  # of U: a ranking that covers less says so

SIDES = ("down", "up")
_TITLES = {
    True: {"down": "Most harmful", "up": "Most helpful"},
    False: {"down": "Most down-weighted", "up": "Most up-weighted"},
}

WHICH = (
    "whose mean influence a visit raised and lowered the validation loss most, with its standard "
    "error; in runs that did not record it, whose λ ended furthest below and above its initial "
    "value. Labeled ones, which may stand in U too, are left out."
)


def scored(weights: Arrays) -> np.ndarray:
    """Return [|U|] bool: whose λ was updated, but for labeled examples that stand in U too.

    The label of those is known: their λ tells nothing about a pseudo-label.

    Args:
        weights: columns of example_weights.parquet; an older run's say of none that it is labeled.
    """
    visited = weights["visits"] > 0
    return visited & ~weights["labeled"] if "labeled" in weights else visited


def has_influences(weights: Arrays) -> bool:
    """Return whether a run recorded influences a visit; earlier versions did not."""
    return "influence_mean" in weights and bool(np.isfinite(weights["influence_mean"]).any())


def title_of(weights: Arrays, side: str) -> str:
    """Return what the examples of one side are called, as `ranked` finds them."""
    return _TITLES[has_influences(weights)][side]


def ranked(
    weights: Arrays, lambda_init: float, side: str, by_influence: bool | None = None
) -> np.ndarray:
    """Return the rows of the `scored` examples of one side, the most extreme first.

    By mean influence a visit; the harmful are the side "down". A run that recorded none is ranked
    by λ, furthest from where it began, and of equal λ (many lie at a bound) by the accumulated
    influence, where there is one. Rows decide between what is equal.

    Args:
        weights: as in `scored`.
        lambda_init: λ that all began with.
        side: one of `SIDES`.
        by_influence: whether the run recorded them; None: as `weights` say.
    """
    sign = 1 if side == "down" else -1
    if has_influences(weights) if by_influence is None else by_influence:
        influence = sign * weights["influence_mean"]
        rows = np.flatnonzero(scored(weights) & (influence > 0))
        return rows[np.argsort(-influence[rows], kind="stable")]
    moved = sign * (np.float32(lambda_init) - weights["lam"]) > 0
    rows = np.flatnonzero(scored(weights) & moved)
    influence = weights["influence"][rows] if "influence" in weights else np.zeros(len(rows))
    return rows[np.lexsort((-sign * influence, sign * weights["lam"][rows]))]


class Extremes:
    """The first of what `ranked` returns of a whole U, found in one pass over its blocks.

    Args:
        lambda_init, side: as of `ranked`.
        count: how many.
    """

    columns = ("visits", "labeled", "lam", "influence", "influence_mean")  # that are looked at

    def __init__(self, lambda_init: float, side: str, count: int):
        self.lambda_init, self.side, self.count = lambda_init, side, count
        self.rows_seen, self.recorded = 0, False
        # Whether influences were recorded is known at the end alone.
        self._best: dict[bool, dict[str, np.ndarray]] = {}

    def add(self, block: Arrays) -> None:
        """Take in the next block, `columns` of it and others, [n] each."""
        size = len(block["visits"])
        some = {name: np.asarray(block[name]) for name in self.columns if name in block}
        some["row"] = np.arange(self.rows_seen, self.rows_seen + size)
        self.rows_seen += size
        self.recorded |= has_influences(some)
        for by_influence in (True, False) if "influence_mean" in some else (False,):
            best = self._best.get(by_influence)
            # What was found before stands first, as its rows do.
            both = {k: np.concatenate([best[k], v]) for k, v in some.items()} if best else some
            kept = ranked(both, self.lambda_init, self.side, by_influence)[: self.count]
            self._best[by_influence] = {k: v[kept] for k, v in both.items()}

    def rows(self) -> np.ndarray:
        """Return the rows of all that was added, the most extreme first."""
        return self._best[self.recorded]["row"]


def ranked_in(run: RunRecord, side: str) -> np.ndarray:
    """Return `ranked` of a finished run."""
    return ranked(run.weights, initial_lambda(run), side)


def initial_lambda(run: RunRecord) -> float:
    """Return the λ that all examples of a finished run began with."""
    return run.config["config"].get("lambda_init", 1.0)


def coverage_note(weights: Arrays) -> str:
    """Return a warning where less than half of U was ever visited; "" else."""
    return coverage_text(int((weights["visits"] > 0).sum()), len(weights["visits"]))


def coverage_text(visited: int, total: int) -> str:
    """Return what `coverage_note` says where `visited` of `total` examples were."""
    if visited >= HALF * total:
        return ""
    return (
        f"Only {visited:,} of {total:,} examples of U were visited ({visited / total:.0%}): the "
        "ranking is of these, and says nothing of the others. Train for more Λ-steps, or with a "
        "larger --lambda_batch."
    )


def influence_text(weights: Arrays, row: int) -> str:
    """Return mean influence ± standard error of a row, "" in runs that recorded none."""
    if not has_influences(weights):
        return ""
    mean, error = weights["influence_mean"][row], weights["influence_error"][row]
    if np.isnan(mean):
        return "unknown"
    return f"{mean:+.2g} ± {error:.1g}" if np.isfinite(error) else f"{mean:+.2g} (one visit)"


def name_text(weights: Arrays, row: int, limit: int) -> str:
    """Return the name of a row, of a long one the end: there paths differ."""
    name = " ".join(str(weights["name"][row]).split())
    return name if len(name) <= limit else f"…{name[1 - limit :]}"
