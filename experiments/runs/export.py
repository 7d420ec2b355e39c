"""The ranking of a run's unlabeled examples as a table for people and for their other tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from experiments.runs.example_weights import read_example_weights
from experiments.runs.extremes import (
    SIDES,
    coverage_note,
    has_influences,
    initial_lambda,
    ranked,
    scored,
)
from experiments.runs.record import RunRecord, read_run
from experiments.runs.run_files import Arrays
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.files import write_atomically

FORMATS = ("plain", "spotlight")
_COLUMNS = ("id", "lam", "visits")  # of every export
_MISSING = ("name", "source", "influence_mean", "influence_error", "suspect")  # in older runs


class Choice(NamedTuple):
    """Which examples: all, or the most extreme of one side, or those of a small λ."""

    side: str = ""  # one of `SIDES`
    count: int = 0  # of that side
    below: float | None = None  # λ


class Ranking(NamedTuple):
    """A finished run and the columns of its example_weights.parquet."""

    run: RunRecord
    weights: Arrays


def read_ranking(folder: Path) -> Ranking:
    """Return what a finished run knows of its unlabeled examples.

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
    weights = read_example_weights(path)
    if not scored(weights).any():
        raise ValueError(
            "--run must have learned weights of unlabeled examples. Received: "
            f"{folder}, in which no Λ-step visited any (--weighting={run.summary.weighting})"
        )
    return Ranking(run, weights)


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
    weights, found = ranking.weights, []
    if missing := [name for name in _MISSING if name not in weights]:
        found.append(f"The run is of an earlier version, which recorded no {', '.join(missing)}.")
    if not has_influences(weights):
        found.append("The ranking is by λ: no influence a visit is known.")
    elif unknown := int((np.isnan(weights["influence_mean"]) & (weights["visits"] > 0)).sum()):
        found.append(
            f"The influence of {unknown:,} visited examples is unknown: the run began in an "
            "earlier version. They stand behind all others."
        )
    if note := coverage_note(weights):
        found.append(note)
    return found


def chosen(ranking: Ranking, choice: Choice) -> np.ndarray:
    """Return the rows of the examples that are asked for, in order of the ranking.

    Without a choice all rows of U, the most harmful first and the unvisited last. The most extreme
    are at most as many as there are on their side; they and those below a λ are visited and not
    labeled.
    """
    weights = ranking.weights
    if choice.side:
        rows = ranked(weights, initial_lambda(ranking.run), choice.side)
        return rows[: choice.count]
    rows = _order(weights)
    if choice.below is None:
        return rows
    return rows[(scored(weights) & (weights["lam"] < choice.below))[rows]]


def _order(weights) -> np.ndarray:
    unvisited = weights["visits"] == 0
    if has_influences(weights):
        return np.lexsort((-weights["influence_mean"], unvisited))  # NaN last
    influence = weights.get("influence", np.zeros(len(unvisited)))
    return np.lexsort((-influence, weights["lam"], unvisited))


def table(ranking: Ranking, rows: np.ndarray, form: str = "plain") -> dict[str, Any]:
    """Return the columns of the export, each in the order of `rows`.

    Classes are given by name. `is_harmful_issue` and `harmful_score` are `suspect` and its score as
    cleanlab has them: the score is in [0, 1] and small where the example is surely harmful,
    P(Z > mean / error) of a normal Z; NaN where there is no error.

    Args:
        ranking: of `read_ranking`.
        rows: of `chosen`.
        form: one of `FORMATS`; "spotlight" adds the path of each picture, where these are files.

    Raises:
        ValueError: the folder of the pictures is not there.
    """
    weights = ranking.weights
    columns = {name: weights[name][rows] for name in ("name", "source") if name in weights}
    columns |= {name: weights[name][rows] for name in _COLUMNS}
    known = [name for name in _MISSING[2:] if name in weights]
    columns |= {name: weights[name][rows] for name in known}
    if "suspect" in known:
        columns |= {
            "is_harmful_issue": columns["suspect"],
            "harmful_score": _score(columns["influence_mean"], columns["influence_error"]),
        }
    for name in ("pseudo_label", "true_label"):
        labels = [ranking.run.class_name(int(label)) for label in weights[name][rows]]
        columns[name] = np.array(labels, object)
    beside = [name for name in ("confidence", "loss", "group", "text") if name in weights]
    columns |= {name: weights[name][rows] for name in beside}
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


def write_keep_list(path: Path, ranking: Ranking, rows: np.ndarray) -> int:
    """Write the names of U without those of `rows`, one a line, in order of id; return how many.

    Raises:
        ValueError: the run knows no names, or one that does not fit on a line.
        OSError: it cannot be written.
    """
    weights = ranking.weights
    if "name" not in weights:
        raise ValueError(
            "--keep_list needs the names of examples, which runs of earlier versions did not "
            "record. Leave it out, or train again"
        )
    kept = np.delete(weights["name"], rows)
    for name in kept:
        if "\n" in name or "\r" in name:
            raise ValueError(
                f"--keep_list must have names of one line each. Received: {name!r}. Rename it"
            )
    write_atomically(path, "".join(f"{name}\n" for name in kept))
    return len(kept)


def side_of(flag: str) -> str:
    """Return the side that --worst or --best asks for."""
    return SIDES[("worst", "best").index(flag)]
