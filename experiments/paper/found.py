"""What the runs of a cell came to; reads run folders and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from experiments.options.effects import effect_of
from experiments.options.entry import RESULT
from experiments.pages.statistics import mean_std, median_of_last
from experiments.paper.cell import VALIDATION, Cell, CellNote
from experiments.runs.record import RunRecord, read_run
from experiments.runs.run_files import RunError, read_object


@dataclasses.dataclass
class Found:
    """The runs of one cell.

    Attributes:
        cell: whose they are.
        runs: seed -> run that counts.
        notes: what a reader must know, such as runs that are left out.
    """

    cell: Cell
    runs: dict[int, RunRecord] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def values(self, get: Callable[[RunRecord], float | None]) -> dict[int, float]:
        """Return seed -> value of the runs that have it."""
        found = {seed: get(run) for seed, run in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    @property
    def last(self) -> dict[int, float]:
        """Seed -> the cell's metric, median of the last 20 evaluations, in percent."""
        if self.cell.metric != VALIDATION:
            return self.values(lambda run: run.summary.test_error_median20)
        return self.values(lambda run: median_of_last(run.evals, key="validation_error"))

    @property
    def best(self) -> dict[int, float]:
        """Seed -> test error of the evaluation that is best on V."""
        return self.values(lambda run: run.summary.test_error_best_on_validation)

    @property
    def optimistic(self) -> bool:
        """Whether `best` selects on the V that the weights were learned on."""
        return any(run.summary.best_on_validation_is_optimistic for run in self.runs.values())


def read(cell: Cell, folder: Path) -> Found:
    """Return what the finished runs of a cell say.

    Args:
        cell: with its seeds.
        folder: RESULTS/paper.
    """
    found = Found(cell)
    for seed in cell.seeds:
        path = folder / cell.runs / f"seed_{seed}"
        try:
            run = read_run(path, arrays=False)
            if run is None:
                continue
            departures = _departures(path)
            reason = _left_out(cell, run, departures)
        except RunError as error:
            reason = str(error)
        if reason:
            found.notes.append(f"seed {seed} left out: {reason}")
            continue
        found.runs[seed] = run
        found.notes += _remarks(run, departures)
    texts = _by_upstreams_rule(found) if cell.is_text and found.runs else []
    found.notes = texts + list(dict.fromkeys(found.notes))
    return found


def _by_upstreams_rule(found):
    """Return what UDA's code would report of texts, and the last evaluation."""
    last = found.values(lambda run: run.evals[-1]["test_error"])
    best = found.values(lambda run: min(line["test_error"] for line in run.evals))
    return [
        f"last evaluation {spread(last)}",
        f"best evaluation on the test set {spread(best)}, SELECTED ON THE TEST SET, as upstream's "
        "code does",
    ]


def spread(values: dict[int, float]) -> str:
    """Return "mean ± std (seeds 1-5)" in words, or an empty text."""
    if not values:
        return ""
    result = mean_std(list(values.values()))
    text = f"{result.mean:.2f}" + (f" ± {result.std:.2f}" if result.std is not None else "")
    return f"{text} ({len(values)} seeds)" if len(values) > 1 else f"{text} (1 seed)"


def _left_out(cell, run, departures):
    """Return why a finished run does not count, or an empty text."""
    if run.summary.smoke:
        return "a smoke run"
    if departures is None:
        return "no cell.json, not run by run_cell"
    return _in_words({n: v for n, v in departures.items() if not _is_harmless(n, v, cell)})


def _is_harmless(name, value, cell):
    """Return whether a departure counts: it rounds, keeps, or brings what the cell is of.

    Such are the data and the paper's own strong views; a BERT only if it is called like the cell's.
    """
    return effect_of(name) != RESULT and (name != "bert" or _is_copy(value, cell))


def _is_copy(bert, cell):
    """Return whether a BERT is a folder, or a hub name with its owner, called like the cell's."""
    return bert is not None and Path(bert).name == cell.options.get("bert")


def _departures(folder):
    path = folder / "cell.json"
    return read_object(path, CellNote).get("departures") if path.exists() else None


def _remarks(run, departures):
    harmless = _in_words(departures)
    remarks = [f"with {harmless}"] if harmless else []
    if "unofficial copy" in run.summary.source:
        remarks.append(f"NOT COMPARABLE WITH PUBLISHED NUMBERS: {run.summary.source}")
    views = "instead of back-translation"
    remarks += [text for text in run.summary.deviations or () if text.endswith(views)]
    notes = run.config.get("notes") or ()
    return [*remarks, *(note for note in notes if "incomplete copy" in note)]


def _in_words(options):
    return " ".join(f"--{n}={'(left out)' if v is None else v}" for n, v in options.items())
