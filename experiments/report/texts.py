"""Tables of single examples: the most harmful and helpful texts, or rows of features, of a run."""

from __future__ import annotations

from experiments.options.kinds import IMAGES, kind_of
from experiments.pages.document import Cell, Table
from experiments.runs.extremes import (
    SIDES,
    WHICH,
    coverage_note,
    has_influences,
    influence_text,
    name_text,
    ranked_in,
    title_of,
)
from experiments.runs.record import RunRecord

MAX_ROWS = 8
MAX_LETTERS = 240
MAX_NAME = 60
COLUMNS = ("λ", "pseudo-label", "true label", "confidence")
LEGEND = (
    f"Examples {WHICH} Beside them the final model's pseudo-label. Long texts are cut in the "
    "middle."
)


def example_tables(run: RunRecord) -> list[Table]:
    """Return the two tables of a run, or none where it was trained on pictures or points.

    Pictures of which a backbone made features stand there by name, with a note on how to see them.
    """
    if run.weights is None or not _is_shown(run):
        return []
    sides = {s: ranked_in(run, s)[:MAX_ROWS] for s in SIDES}
    return [
        _table(run, f"{title_of(run.weights, side)}, seed {run.seed}", rows)
        for side, rows in sides.items()
        if len(rows)
    ]


def _is_shown(run):
    rows_of_features = run.config["config"].get("model") == "features" and "name" in run.weights
    return "text" in run.weights or rows_of_features


def _table(run, title, rows):
    weights = run.weights
    prose = "text" in weights
    first = ("name",) if prose and "name" in weights else ()
    first += ("influence a visit",) if has_influences(weights) else ()
    labels = 1 + len(first) + COLUMNS.index("pseudo-label")
    notes = (coverage_note(weights), _pictures_note(run))
    return Table(
        (title, *first, *COLUMNS),
        tuple(_row(run, int(k), first, prose) for k in rows),
        text_columns=(0, *(1,) * ("name" in first), labels, labels + 1),
        notes=tuple(note for note in notes if note),
        prose=prose,
    )


def _pictures_note(run):
    options = run.config["config"]
    dataset = options.get("dataset", run.summary.dataset)
    if options.get("model") != "features" or kind_of(dataset) is not IMAGES:
        return ""
    return (
        "These are names of pictures: a run on features keeps none itself. To see them, make "
        "the gallery: python -m experiments.make_gallery --run=FOLDER, with the folder of "
        f"{run.name}. Galleries that lie below this report are linked under “Galleries”."
    )


def _row(run, k, first, prose):
    weights = run.weights
    pseudo, truth = int(weights["pseudo_label"][k]), int(weights["true_label"][k])
    tone = "open" if truth < 0 else "good" if pseudo == truth else "bad"
    mark = {"good": "✓ ", "bad": "✗ ", "open": ""}[tone]
    name = name_text(weights, k, MAX_NAME) if "name" in weights else ""
    return (
        _shortened(str(weights["text"][k])) if prose else name,
        *((name,) if "name" in first else ()),
        *((influence_text(weights, k),) if has_influences(weights) else ()),
        f"{weights['lam'][k]:.2f}",
        Cell(mark + run.class_name(pseudo), tone),
        run.class_name(truth),
        f"{weights['confidence'][k]:.2f}",
    )


def _shortened(text):
    text = " ".join(text.split())
    if len(text) <= MAX_LETTERS:
        return text
    half = MAX_LETTERS // 2
    return f"{text[:half].rstrip()} … {text[-half:].lstrip()}"
