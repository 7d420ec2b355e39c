"""What the runs of a cell came to; reads run folders and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from experiments.pages.statistics import mean_std, median_of_last
from experiments.paper.cells import VALIDATION, Cell
from experiments.runs.finished import summary_of

# Options that change nothing but the rounding (several devices also BatchNorm's batches), or that
# bring the paper's own strong views of texts: named, but counted.
HARMLESS = (
    "data_dir", "resume", "checkpoint_every", "keep_checkpoints", "log_every", "deterministic",
    "jit", "devices", "precision", "max_memory", "back_translation_dir",
)  # fmt: skip


@dataclasses.dataclass
class Found:
    """The runs of one cell.

    Attributes:
        last: seed -> the cell's metric, median of the last 20 evaluations, in percent.
        best: seed -> test error of the evaluation that is best on V.
        final: texts: seed -> test error of the last evaluation.
        best_on_test: texts: seed -> least test error of all evaluations.
        circumstances: seed -> what runs must share to be a pair: devices, precision, source, split.
        notes: what a reader must know, such as runs that are left out.
        optimistic: whether `best` selects on the V that the weights were learned on.
    """

    last: dict[int, float] = dataclasses.field(default_factory=dict)
    best: dict[int, float] = dataclasses.field(default_factory=dict)
    final: dict[int, float] = dataclasses.field(default_factory=dict)
    best_on_test: dict[int, float] = dataclasses.field(default_factory=dict)
    circumstances: dict[int, dict] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    optimistic: bool = False


def read(cell: Cell, folder: Path) -> Found:
    """Return what the finished runs of a cell say.

    Args:
        cell: with its seeds.
        folder: RESULTS/paper.
    """
    found = Found()
    for seed in cell.seeds:
        run = folder / cell.runs / f"seed_{seed}"
        summary = summary_of(run)
        if not summary:
            continue
        reason = _left_out(cell, run, summary)
        if reason:
            found.notes.append(f"seed {seed} left out: {reason}")
            continue
        found.last[seed] = _metric(cell, run, summary)
        found.circumstances[seed] = _circumstances(run, summary)
        found.optimistic |= bool(summary.get("best_on_validation_is_optimistic"))
        if summary.get("test_error_best_on_validation") is not None:
            found.best[seed] = summary["test_error_best_on_validation"]
        if cell.is_text:
            errors = [line["test_error"] for line in _evaluations(run)]
            found.final[seed], found.best_on_test[seed] = errors[-1], min(errors)
        found.notes += _remarks(run, summary)
    found.notes = _by_upstreams_rule(found) + list(dict.fromkeys(found.notes))
    return found


def _by_upstreams_rule(found):
    """Texts: what UDA's code would report, and the last evaluation, which selects nothing."""
    if not found.final:
        return []
    best = f"best evaluation on the test set {spread(found.best_on_test)}"
    return [
        f"last evaluation {spread(found.final)}",
        f"{best}, SELECTED ON THE TEST SET, as upstream's code does",
    ]


def spread(values: dict[int, float]) -> str:
    """Return "mean ± std (seeds 1-5)" in words, or an empty text."""
    if not values:
        return ""
    result = mean_std(list(values.values()))
    text = f"{result.mean:.2f}" + (f" ± {result.std:.2f}" if result.std is not None else "")
    return f"{text} ({len(values)} seeds)" if len(values) > 1 else f"{text} (1 seed)"


def _left_out(cell, run, summary):
    """Why a finished run does not count, or an empty text."""
    if summary.get("smoke"):
        return "a smoke run"
    departures = _departures(run)
    if departures is None:
        return "no cell.json, not run by run_cell"
    known = HARMLESS + ("bert",) * _is_copy(departures.get("bert"), cell)
    return _in_words({name: value for name, value in departures.items() if name not in known})


def _is_copy(bert, cell):
    """Whether a BERT is a folder, or a hub name with its owner, called like the cell's."""
    return bert is not None and Path(bert).name == cell.options.get("bert")


def _departures(run):
    try:
        return json.loads((run / "cell.json").read_text(encoding="utf-8"))["departures"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _circumstances(run, summary):
    return {
        "devices": summary.get("devices", 1),
        "precision": _departures(run).get("precision"),
        "source": summary.get("source"),
        "split": _config(run).get("split_hash"),
    }


def _remarks(run, summary):
    harmless = _in_words(_departures(run))
    remarks = [f"with {harmless}"] if harmless else []
    if "unofficial copy" in summary.get("source", ""):
        remarks.append(f"NOT COMPARABLE WITH PUBLISHED NUMBERS: {summary['source']}")
    views = "instead of back-translation"
    remarks += [text for text in summary.get("deviations", ()) if text.endswith(views)]
    return [*remarks, *(note for note in _notes(run) if "incomplete copy" in note)]


def _notes(run):
    return _config(run).get("notes", ())


def _config(run):
    try:
        return json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _in_words(options):
    return " ".join(f"--{n}={'(left out)' if v is None else v}" for n, v in options.items())


def _metric(cell, run, summary):
    if cell.metric != VALIDATION:
        return summary["test_error_median20"]
    return median_of_last(_evaluations(run), key="validation_error")


def _evaluations(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["kind"] == "eval"]
