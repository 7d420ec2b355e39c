"""The page that sets our cells beside the paper's numbers, upstream's and the peers'."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.pages.statistics import paired_difference
from experiments.pages.wording import left_out
from experiments.paper import found, others
from experiments.paper.cell import IMDB
from experiments.paper.cells import BENCHMARK, Cell, cells
from experiments.paper.numbers import CITED, NEUMANN_OVER_EXACT, SECONDS
from experiments.paper.scripts import paper_text
from experiments.runs.pairs import unlike_pairs

TITLE = "# Ours beside the paper and others"
NOT_RUN = "not run"
NOT_OURS = "cited, not ours to run"
LEGEND = (
    "Errors in %, mean ± standard deviation over seeds. Beside each number stands how it was "
    "selected. Ours: the median of the last 20 evaluations; *best on V*: the test error at the "
    "evaluation with the least validation error, marked (optimistic) where the weights were "
    "learned on the same V. *Minus fixed weights*: the cell's errors minus those of the same base "
    "algorithm with fixed weights, over the seeds that both have, with the two-sided 95 % "
    "t-interval; below 0 the cell is better. Numbers of others are as published: other "
    "splits, |V|, recipes and selection rules. A run on texts has 20 evaluations in all: its "
    "median is over the whole run, and beside it stand its last evaluation and, since upstream's "
    "numbers are selected so, its best on the test set. A dash: no such number (FixMatch's README "
    "prints none). Smoke runs and runs with other options than their cell's are left out."
)
HEADINGS = (
    "row", "column", "ours, median of last 20", "ours, best on V", "paper",
    "upstream README", "same method elsewhere", "best elsewhere", "minus fixed weights",
)  # fmt: skip
_ROW_OF_SECONDS = {
    "per-example gradients, serial": "engine_gradients_serial_graph",
    "per-example gradients, ours": "engine_gradients_layerwise_graph",
    "exact inverse, last layer": "lambda_step_exact",
    "identity": "lambda_step_identity",
}


def page(out: Path) -> str:
    """Return the comparison in Markdown.

    Args:
        out: results folder; runs lie in OUT/paper.
    """
    everything = cells()
    by_name = {cell.name: cell for cell in everything}
    lines = [TITLE, "", LEGEND]
    for table in dict.fromkeys(cell.table for cell in everything if cell.program != BENCHMARK):
        lines += ["", f"## {table}", "", _line(HEADINGS), _line(("---",) * len(HEADINGS))]
        if table == "Table 2":
            lines += map(_line, _cited())
        members = [cell for cell in everything if cell.table == table]
        lines += [_line(entries(cell, by_name, out / "paper")) for cell in members]
    return "\n".join([*lines, "", "## Sec. 4.4", "", *_seconds(out / "paper"), ""])


def _cited():
    """Yield the rows of Table 2 that the paper takes from others."""
    for (who, longest), number in CITED.items():
        column = f"IMDb, 25,000 labels, {longest}"
        yield (who, column, NOT_OURS, "-", f"{number} % test error (cited)", *("-",) * 4)


def summary(out: Path) -> str:
    """Return the comparison for a terminal: a line for each cell that has runs, left out or not."""
    everything = [cell for cell in cells() if cell.program != BENCHMARK]
    by_name = {cell.name: cell for cell in everything}
    lines, empty = [], 0
    for cell in everything:
        ours = found.read(cell, out / "paper")
        empty += not ours.last
        text = NOT_RUN
        if ours.last:
            gain = _gain(cell, by_name, out / "paper", ours)
            paired = f"; minus fixed weights {gain}" if gain != "-" else ""
            text = f"{found.spread(ours.last)}, paper {paper_text(cell)}{paired}"
        if ours.last or ours.notes:
            lines.append("; ".join([f"{cell.name}: {text}", *ours.notes]))
    return "\n".join([*lines, f"{len(everything) - empty} cells have runs, {empty} are not run"])


def entries(cell: Cell, by_name: dict[str, Cell], folder: Path) -> tuple[str, ...]:
    """Return the entries of a cell's line, in order of `HEADINGS`."""
    ours = found.read(cell, folder)
    last = found.spread(ours.last) or NOT_RUN
    if ours.last and cell.metric != found.VALIDATION:
        best = found.spread(ours.best) + (" (optimistic)" if ours.optimistic else "")
    else:
        best = "-"
    last = "; ".join([f"{last} {cell.metric}" if ours.last else last, *ours.notes])
    return (
        cell.row,
        cell.column,
        last,
        best,
        paper_text(cell),
        *_elsewhere(cell),
        _gain(cell, by_name, folder, ours),
    )


def _elsewhere(cell):
    """Return upstream's README, the best peer with the same base algorithm, the best of all."""
    algorithm = cell.options["algorithm"]
    if cell.table == "Table 1":
        _, dataset, labels, *_ = cell.name.split("_")
        column = dataset, int(labels)
        readme = others.readme(algorithm, *column)
    elif cell.table == "Table 2":
        column = IMDB, cell.options["num_labeled"]
        readme = others.text_readme(algorithm, cell.options["max_len"])
    else:
        return ("-",) * 3
    groups = others.peers(*column, algorithm), others.peers(*column)
    words = (str(group[0]) if group else "-" for group in groups)
    return "; ".join(map(str, readme)) or "-", *words


def _gain(cell, by_name, folder, ours):
    if not cell.base:
        return "-"
    base = found.read(by_name[cell.base], folder)
    unlike = unlike_pairs(ours.runs, base.runs)
    alike = {seed: error for seed, error in ours.last.items() if seed not in unlike}
    without = f" ({left_out(unlike)})" if unlike else ""
    paired = paired_difference(alike, base.last)
    if paired is None:
        return f"-{without}"
    if paired.low is None:
        return f"{paired.mean:+.2f} (1 seed, no interval){without}"
    interval = f"[{paired.low:+.2f}, {paired.high:+.2f}], {len(paired.seeds)} seeds"
    return f"{paired.mean:+.2f} {interval}{without}"


def _seconds(folder):
    try:
        text = (folder / "sec44_running_time.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError):
        return [f"Running times: {NOT_RUN}."]
    if any(row.get("smoke") for row in rows):
        return [f"Running times: {NOT_RUN} (only a smoke run)."]
    ours = {row["name"]: row["seconds_median"] for row in rows if "name" in row}
    lines = [_line(("what", "ours, median, s", "paper, mean of 20, s")), _line(("---",) * 3)]
    for what, seconds in SECONDS.items():
        own = ours.get(_ROW_OF_SECONDS[what])
        lines.append(_line((what, NOT_RUN if own is None else f"{own:.3g}", f"{seconds:g}")))
    ratio = rows[-1].get("ratios", {}).get("neumann_over_exact")
    own = NOT_RUN if ratio is None else f"{ratio:.2f}, 20 terms"
    return [*lines, _line(("Neumann ÷ exact", own, f"{NEUMANN_OVER_EXACT}, terms not stated"))]


def _line(entries):
    return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"
