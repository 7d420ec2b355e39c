"""The ranking of a run's unlabeled examples as a table for people and for their other tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from experiments.runs.example_weights import read_blocks, read_example_weights
from experiments.runs.extremes import (
    SIDES,
    Extremes,
    coverage_text,
    has_influences,
    initial_lambda,
    scored,
)
from experiments.runs.record import RunRecord, read_run
from experiments.runs.run_files import Arrays
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import replacing

FORMATS = ("plain", "spotlight")
_COLUMNS = ("id", "lam", "visits")  # of every export
_MISSING = ("name", "source", "influence_mean", "influence_error", "suspect")  # in older runs


class Choice(NamedTuple):
    """Which examples: all, or the most extreme of one side, or those of a small λ."""

    side: str = ""  # one of `SIDES`
    count: int = 0  # of that side
    below: float | None = None  # λ


class Overview(NamedTuple):
    """What there is to say of all of U."""

    total: int = 0
    visited: int = 0
    scored: int = 0
    unknown: int = 0  # visited examples whose influence a visit is not known
    recorded: bool = False  # whether influences a visit are known of any
    rising: bool = True  # whether the file is in order of id
    last: int = -1  # id
    columns: frozenset[str] = frozenset()

    def with_block(self, block: Arrays) -> Overview:
        """Return the overview that takes in the next block too."""
        visited = block["visits"] > 0
        ids = np.concatenate([[self.last], block["id"]])
        unknown = visited & np.isnan(block.get("influence_mean", np.zeros(1)))
        return self._replace(
            total=self.total + len(visited),
            visited=self.visited + int(visited.sum()),
            scored=self.scored + int(scored(block).sum()),
            unknown=self.unknown + int(unknown.sum()),
            recorded=self.recorded or has_influences(block),
            rising=self.rising and bool((np.diff(ids) > 0).all()),
            last=int(ids[-1]),
        )


class Ranking(NamedTuple):
    """A finished run and the columns of its example_weights.parquet of the chosen examples."""

    run: RunRecord
    weights: Arrays  # in the order of the ranking
    overview: Overview
    path: Path  # of the file


def read_ranking(folder: Path, choice: Choice) -> Ranking:
    """Return what a finished run knows of the unlabeled examples that are asked for.

    Without a choice these are all, the most harmful first and the unvisited last. The most extreme
    are at most as many as there are on their side; they and those below a λ are visited and not
    labeled. For the most extreme the file is read in blocks, twice, and only they are kept; for
    everything else there must be memory for all of U.

    Raises:
        ValueError: the run is not there, not finished, damaged, or learned no weights.
    """
    run = read_run(folder, arrays=False)
    if run is None:
        raise ValueError(f"--run must be the folder of a finished run. Received: {folder}")
    path = folder / "example_weights.parquet"
    if not path.exists():
        raise ValueError(
            f"--run must have {path.name}, as runs have that train on unlabeled examples. "
            f"Received: {folder}"
        )
    overview, extremes = Overview(), Extremes(initial_lambda(run), choice.side, choice.count)
    for block in read_blocks(path, {"id", *Extremes.columns}):
        overview = overview.with_block(block)
        if choice.side:
            extremes.add(block)
    if not overview.scored:
        raise ValueError(
            "--run must have learned weights of unlabeled examples. Received: "
            f"{folder}, in which no Λ-step visited any (--weighting={run.summary.weighting})"
        )
    if choice.side and overview.rising:
        weights = _rows_of(read_blocks(path), extremes.rows())
    else:
        weights = read_example_weights(path)
        rows = _chosen(weights, choice, extremes)
        weights = {name: values[rows] for name, values in weights.items()}
    return Ranking(run, weights, overview._replace(columns=frozenset(weights)), path)


def _rows_of(blocks, rows) -> Arrays:
    """Return the columns of some rows, in the order of `rows`."""
    parts, first, order = [], 0, np.argsort(rows)
    for block in blocks:
        size = len(block["id"])
        some = rows[order]
        some = some[(some >= first) & (some < first + size)] - first
        parts.append({name: values[some] for name, values in block.items()})
        first += size
    places = np.argsort(order)
    return {k: np.concatenate([part[k] for part in parts])[places] for k in parts[0]}


def _chosen(weights, choice, extremes) -> np.ndarray:
    if choice.side:
        again = Extremes(extremes.lambda_init, choice.side, choice.count)
        again.add(weights)
        return again.rows()
    rows = _order(weights)
    if choice.below is None:
        return rows
    return rows[(scored(weights) & (weights["lam"] < choice.below))[rows]]


def check_out(path: Path) -> None:
    """Check that a table is written over nothing but an earlier one.

    Raises:
        ValueError: something else is there.
    """
    if path.exists() and not (path.is_file() and _is_export(path)):
        raise ValueError(
            "--out must be a new file, or an earlier export that is replaced. Received: "
            f"--out={path}, which holds something else"
        )


def _is_export(path) -> bool:
    """Return whether a table was exported, or is empty; a run's own has more columns."""
    columns = set(_columns_in(path))
    exported = set(_COLUMNS) <= columns and "last_influence" not in columns
    return exported or not path.stat().st_size


def _columns_in(path) -> list[str]:
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(10_000).rstrip("\n").split(",")
    try:
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(path).names
    except (ImportError, *DAMAGE):
        return []


def remarks(ranking: Ranking) -> list[str]:
    """Return what a reader of the ranking must know, one sentence each."""
    about, found = ranking.overview, []
    if missing := [name for name in _MISSING if name not in about.columns]:
        found.append(f"The run is of an earlier version, which recorded no {', '.join(missing)}.")
    if not about.recorded:
        found.append("The ranking is by λ: no influence a visit is known.")
    elif about.unknown:
        found.append(
            f"The influence of {about.unknown:,} visited examples is unknown: the run began in an "
            "earlier version. They stand behind all others."
        )
    if note := coverage_text(about.visited, about.total):
        found.append(note)
    return found


def _order(weights) -> np.ndarray:
    unvisited = weights["visits"] == 0
    if has_influences(weights):
        return np.lexsort((-weights["influence_mean"], unvisited))  # NaN last
    influence = weights.get("influence", np.zeros(len(unvisited)))
    return np.lexsort((-influence, weights["lam"], unvisited))


def table(ranking: Ranking, form: str = "plain") -> dict[str, Any]:
    """Return the columns of the export.

    Classes are given by name. `is_harmful_issue` and `harmful_score` are `suspect` and its score as
    cleanlab has them: the score is in [0, 1] and small where the example is surely harmful,
    P(Z > mean / error) of a normal Z; NaN where there is no error.

    Args:
        ranking: of `read_ranking`.
        form: one of `FORMATS`; "spotlight" adds the path of each picture, where these are files.

    Raises:
        ValueError: the folder of the pictures is not there.
    """
    weights = ranking.weights
    known = [name for name in _MISSING[2:] if name in weights]
    names = [*(name for name in ("name", "source") if name in weights), *_COLUMNS, *known]
    columns = {name: weights[name] for name in names}
    if "suspect" in known:
        columns |= {
            "is_harmful_issue": columns["suspect"],
            "harmful_score": _score(columns["influence_mean"], columns["influence_error"]),
        }
    for name in ("pseudo_label", "true_label"):
        labels = [ranking.run.class_name(int(label)) for label in weights[name]]
        columns[name] = np.array(labels, object)
    beside = [name for name in ("confidence", "loss", "group", "text") if name in weights]
    columns |= {name: weights[name] for name in beside}
    return columns | (_pictures(ranking, columns) if form == "spotlight" else {})


def _score(mean, error) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isnan(error), np.nan, ndtr(-np.where(mean == 0, 0, mean / error)))


def _pictures(ranking, columns) -> dict[str, np.ndarray]:
    kind, _, path = str(ranking.run.config["config"].get("dataset")).partition(":")
    if kind != "folder" or "name" not in columns:
        return {}
    if not os.path.isdir(path):
        raise ValueError(
            "--format=spotlight must find the pictures of the run. Received: a run of "
            f"--dataset=folder:{path}, which is not there. Start it where the run was started"
        )
    places = [os.path.abspath(os.path.join(path, name)) for name in columns["name"]]
    return {"image": np.array(places, object)}


def write_keep_list(path: Path, ranking: Ranking) -> int:
    """Write the names of U without the chosen, one a line, in order of id; return how many.

    Raises:
        ValueError: the run knows no names, or one that does not fit on a line.
        OSError: it cannot be written.
    """
    if "name" not in ranking.weights:
        raise ValueError(
            "--keep_list needs the names of examples, which runs of earlier versions did not "
            "record. Leave it out, or train again"
        )
    kept, gone = 0, ranking.weights["id"]
    blocks = read_blocks(ranking.path, {"id", "name"})
    if not ranking.overview.rising:
        blocks = [read_example_weights(ranking.path, {"name"})]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        for block in blocks:
            names = block["name"][~np.isin(block["id"], gone)]
            for name in names:
                if "\n" in name or "\r" in name:
                    raise ValueError(
                        f"--keep_list must have names of one line each. Received: {name!r}. "
                        "Rename it"
                    )
            file.writelines(f"{name}\n" for name in names)
            kept += len(names)
    return kept


def side_of(flag: str) -> str:
    """Return the side that --worst or --best asks for."""
    return SIDES[("worst", "best").index(flag)]
