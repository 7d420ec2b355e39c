"""Tables of single examples: the most down- and up-weighted texts of a run."""

from __future__ import annotations

from experiments.pages.document import Cell, Table
from experiments.runs.extremes import SIDES, WHICH, weighted_in
from experiments.runs.record import RunRecord

MAX_TEXTS = 8
MAX_LETTERS = 240
COLUMNS = ("λ", "pseudo-label", "true label", "confidence")
LEGEND = (
    f"Texts {WHICH} Beside them the final model's pseudo-label. Long ones are cut in the middle."
)


def text_tables(run: RunRecord) -> list[Table]:
    """Return the two tables of a run, or none where its examples are no texts."""
    if run.weights is None or "text" not in run.weights:
        return []
    sides = {s: weighted_in(run, s)[:MAX_TEXTS] for s in SIDES}
    return [
        Table(
            (f"{title}, seed {run.seed}", *COLUMNS),
            tuple(_row(run, int(k)) for k in sides[side]),
            text_columns=(0, 2, 3),
            prose=True,
        )
        for side, title in SIDES.items()
        if len(sides[side])
    ]


def _row(run, k):
    weights = run.weights
    pseudo, truth = int(weights["pseudo_label"][k]), int(weights["true_label"][k])
    tone = "open" if truth < 0 else "good" if pseudo == truth else "bad"
    mark = {"good": "✓ ", "bad": "✗ ", "open": ""}[tone]
    return (
        _shortened(str(weights["text"][k])),
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
