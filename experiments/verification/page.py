"""The page of `verify_influence`: tables, and a scatter plot for each method."""

from __future__ import annotations

import math

import numpy as np

from experiments.pages.document import (
    Block,
    Bullet,
    Bullets,
    Code,
    Document,
    Heading,
    Lead,
    Paragraph,
    Picture,
    Table,
)
from experiments.pages.plotting import FAINT, INK, draw, series_colour
from experiments.verification.compare import Comparison, Row, soundly
from experiments.verification.predict import PARAMETERS

COLUMNS = (
    "parameters", "method", "error to dense", "Pearson", "Spearman [95 %]", "live targets",
    "shuffled ids", "iterations", "ms", "MB", "solve",
)  # fmt: skip
NOTES = (
    "Error to dense: ||s - s*|| / ||s*|| against numpy's solve with the explicit matrix of the "
    "same curvature and parameters, the largest over seeds. kfac, ekfac, outer_product and "
    "identity replace that matrix; the last layer alone leaves out what the rest would do.",
    "Pearson and Spearman: against retraining with frozen targets; means over seeds; the interval "
    "resamples ids. Live targets: against retraining whose targets follow the net, which Eq. 6 "
    "does not model. ms and MB: the solve and all dot products, compiled, beside what else the "
    "machine did.",
)
NAMES = {"all": "all", "last_layer": "last layer"}
PANEL, PANELS_A_ROW = 1.75, 4


def document(found: list[Comparison], missed: list[str], command: str) -> Document:
    """Return the page.

    Args:
        found: a comparison for each problem; missed: from `compare.misses`; command: as it was run.
    """
    verdict = "Every bound holds." if not missed else f"{len(missed)} bounds are missed."
    lead = (
        "Eq. 6 predicts how the validation loss moves with the weight of one unlabeled example. "
        "Here each prediction is compared with the explicit dense solve, and with the truth: the "
        f"net trained again with that weight a little larger and a little smaller. {verdict}",
    )
    blocks: list[Block] = [Lead(lead)]
    if missed:
        blocks.append(Bullets(tuple(Bullet("Missed.", text) for text in missed)))
    for comparison in found:
        blocks += _section(comparison)
    blocks += [Heading("Command"), Code(command)]
    return Document(
        "Eq. 6 against retraining", ", ".join(c.problem.name for c in found), tuple(blocks)
    )


def table(found: Comparison) -> Table:
    """Return every method's numbers."""
    return Table(COLUMNS, tuple(map(_cells, found.rows)), text_columns=(0, 1, 10), notes=NOTES)


def text_table(found: Comparison) -> str:
    """Return the same for a terminal, in Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *table(found).rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def summary(found: Comparison) -> str:
    """Return in words how the problem was set up and how well training and retraining went."""
    ids = len(found.seeds[0].frozen.changes)
    norm = max(seed.minimum.norm for seed in found.seeds)
    frozen, live = found.sound
    given_up = f" (seeds {found.untrained} were not, and were left out)" if found.untrained else ""
    smallest = min(float(seed.frozen.delta.min()) for seed in found.seeds)
    return (
        f"{found.problem.text} {found.size} parameters, ridge {found.problem.ridge:g}, "
        f"{len(found.seeds)} seeds, {ids} unlabeled ids retrained for each. Trained to a gradient "
        f"of {norm:.0e} or less{given_up}. Retraining is sound (every gradient below 1e-8, two "
        f"steps that agree to 2 %) for {frozen:.1%} of the ids with frozen targets and {live:.1%} "
        f"with live ones; the smallest step in λ was {smallest:.1g}. Other ids are left out."
    )


def _section(found):
    return [
        Heading(found.problem.name),
        Paragraph(summary(found)),
        table(found),
        *[_scatters(found, parameters) for parameters in PARAMETERS],
    ]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        NAMES[row.parameters],
        row.name,
        f"{row.relative_error:.1e}",
        f"{row.pearson:.3f}",
        f"{row.spearman:.3f} [{row.low:.3f}, {row.high:.3f}]",
        f"{row.live:.3f}",
        f"{row.shuffled:.3f}",
        f"{row.iterations:.0f}",
        f"{1e3 * row.seconds:.1f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        ", ".join(row.statuses),
    )


def _scatters(found: Comparison, parameters: str) -> Picture:
    rows = [row for row in found.rows if row.parameters == parameters]
    lines = math.ceil(len(rows) / PANELS_A_ROW)

    def paint(figure):
        grid = figure.subplots(lines, PANELS_A_ROW, squeeze=False)
        for axes in grid.flat[len(rows) :]:
            axes.set_visible(False)
        for axes, row in zip(grid.flat, rows, strict=False):
            _panel(axes, found, row)
        figure.supxlabel("retraining: change of the validation loss with λ, in 1e-4", fontsize=9)
        figure.supylabel("Eq. 6, in 1e-4", fontsize=9)

    return Picture(
        f"{found.problem.name}-{parameters}",
        draw(PANELS_A_ROW * PANEL, lines * (PANEL + 0.25) + 0.3, paint),
        f"{found.problem.name}: Eq. 6 on {NAMES[parameters]} parameters against retraining",
        "A point is an unlabeled example, a colour a seed; the line is equality. Scales of the "
        "vertical axes differ.",
        wide=True,
    )


def _panel(axes, found, row):
    key, ends = (row.parameters, row.name), []
    for place, seed in enumerate(found.seeds):
        predicted, truth = soundly(seed.frozen, seed.predictions[key].scores)
        finite = np.isfinite(predicted)
        x, y = 1e4 * truth[finite], 1e4 * predicted[finite]
        axes.scatter(x, y, s=5, alpha=0.6, color=series_colour(place + 1), linewidths=0)
        ends += [x.min(initial=0), x.max(initial=0)]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=FAINT, linewidth=0.8, zorder=0)
    axes.set_title(row.name, fontsize=8)
    axes.annotate(
        f"ρ = {row.spearman:.3f}", (0.04, 0.96), xycoords="axes fraction", va="top", fontsize=8,
        color=INK,
    )  # fmt: skip
    axes.tick_params(labelsize=7)
