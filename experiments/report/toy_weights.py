"""What Lambda did on the toy sets, in numbers: the paper's statement about Fig. 2 (Sec. 4.1).

"Unlabeled examples that are down-weighted the most are near but on the wrong side of the learned
decision boundary."
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from experiments.pages.document import Table
from experiments.pages.statistics import mean_std
from experiments.pages.wording import MISSING, spread_text
from experiments.report.figures_toy import ITERATIONS, wrong_side
from experiments.report.grouping import Method, Setting
from experiments.runs.run_files import Arrays

COLUMNS = (
    "Set, method, iteration", "U wrong, %", "λ at 0, %", "Wrong, lowest tenth, %",
    "Wrong, others, %", "Distance, lowest tenth", "Distance, others", "Seeds",
)  # fmt: skip
NOTES = (
    "The paper: the examples weighted down most are near the learned boundary, on its wrong side. "
    "Lowest tenth: of U by λ, ties by id. Wrong: on the other side of p = 0.5 than the true class. "
    "Distance: median distance to the boundary in the plane. Mean ± sample standard deviation over "
    "seeds. Iteration k: after k Λ-steps and the N θ-steps that follow the last of them.",
)


@dataclass(frozen=True)
class Found:
    """Numbers of one picture: shares in percent, distances in units of the points."""

    wrong: float
    at_zero: float
    wrong_low: float  # these four: NaN where all weights are equal
    wrong_others: float
    distance_low: float  # and where no boundary is in view
    distance_others: float


def found_in(snapshots: Arrays, frame: int) -> Found:
    """Return what one picture of a run shows of the tenth of U with the lowest weights.

    Where all weights are equal there is no such tenth: its numbers are NaN.
    """
    lam, wrong = snapshots["lam"][frame], wrong_side(snapshots, frame)
    low = np.zeros(len(lam), bool)
    low[np.argsort(lam, kind="stable")[: max(len(lam) // 10, 1)]] = True
    distance = distance_to_boundary(snapshots, frame)
    shares = [100 * float(np.mean(x)) for x in (wrong, lam == 0, wrong[low], wrong[~low])]
    distances = [float(np.median(distance[x])) for x in (low, ~low)]
    if np.ptp(lam) == 0:
        return Found(*shares[:2], *[float("nan")] * 4)
    return Found(*shares, *distances)


def distance_to_boundary(snapshots: Arrays, frame: int) -> np.ndarray:
    """Return each unlabeled point's distance to p = 0.5, [|U|]; NaN where that is not in view.

    The boundary is the points where it crosses the lines of the grid, by linear interpolation.
    """
    from scipy.spatial import cKDTree

    x, y, height = snapshots["grid_x"], snapshots["grid_y"], snapshots["probability"][frame] - 0.5
    along_x, along_y = _crossings(x, y, height), _crossings(y, x, height.T)[:, ::-1]
    boundary = np.concatenate([along_x, along_y])
    if not len(boundary):
        return np.full(len(snapshots["unlabeled"]), np.nan)
    return cKDTree(boundary).query(snapshots["unlabeled"])[0]


def _crossings(along, across, height):
    """Return the points (along, across) where `height` [across, along] changes sign."""
    left, right = height[:, :-1], height[:, 1:]
    row, column = np.nonzero((left > 0) != (right > 0))
    before, after = left[row, column], right[row, column]
    share = before / (before - after)
    at = along[column] + share * (along[column + 1] - along[column])
    return np.stack([at, across[row]], axis=1)


def toy_table(settings: Sequence[Setting], names: Sequence[str]) -> Table | None:
    """Return the table of all sets of `names` with pictures of learned weights; None without."""
    rows = [
        row
        for name in names
        for setting in settings
        if setting.dataset == name
        for method in setting.methods
        if method.weighting == "per_example" and not method.is_supervised
        for row in _rows(setting, method)
    ]
    return Table(COLUMNS, tuple(rows), notes=NOTES) if rows else None


def _rows(setting: Setting, method: Method) -> list[tuple[str, ...]]:
    pictures = [run.snapshots for run in method.runs if run.snapshots is not None]
    ends = {int(shown["iterations"][-1]) for shown in pictures}
    rows = []
    for iteration in sorted({*ITERATIONS.get(setting.dataset, ()), *ends}):
        found = [
            astuple(found_in(shown, int(np.argmax(shown["iterations"] == iteration))))
            for shown in pictures
            if iteration in shown["iterations"]
        ]
        if found:
            name = f"{setting.dataset}, {method.label}, {iteration:,}"
            rows.append((name, *map(_text, zip(*found, strict=True)), str(len(found))))
    return rows


def _text(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return spread_text(mean_std(known)) if known else MISSING
