"""What a cell of the paper's tables is; `cells.py` lists them all."""

from __future__ import annotations

import dataclasses
from typing import TypedDict

from experiments.paper.numbers import Printed
from experiments.runs.run_files import Object, Text

FIVE, THREE = (1, 2, 3, 4, 5), (1, 2, 3)
TEST, VALIDATION = "test error", "validation error"
TRAIN, BENCHMARK = "run_cell", "benchmark"  # programs of experiments/
FIXED, LEARNED = {"weighting": "fixed"}, {"weighting": "per_example"}
IMDB = "imdb"


class CellNote(TypedDict):
    """The fields of cell.json: where a command departed from the paper's cell."""

    cell: Text
    departures: Object | None  # null: it was no cell of the paper's


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table, or one curve of a figure.

    Attributes:
        name: of its script; `runs` of its run folders, shared by cells with the same options.
        table, row, column: its place in the paper.
        options: of the program, beside those that seeds and folders need.
        printed: the paper's number; None where a figure shows a curve without one.
        metric: what the number is.
        seeds: the runs that it is the mean of; () for the benchmark.
        rule: how the paper chose its number.
        base: name of the cell with fixed weights that it is paired with.
        notes: what the paper leaves open and what we do.
        program: which of experiments/ it calls.
    """

    name: str
    table: str
    row: str
    column: str
    options: dict[str, object]
    printed: Printed | None = None
    metric: str = TEST
    seeds: tuple[int, ...] = FIVE
    rule: str = ""
    base: str = ""
    notes: tuple[str, ...] = ()
    program: str = TRAIN
    runs: str = ""

    @property
    def family(self) -> str:
        """First part of the name: table1, table2, table3, fig3, fig4, sec44, extra."""
        return self.name.split("_")[0]

    @property
    def is_text(self) -> bool:
        """Whether its data are texts."""
        return self.options.get("dataset") == IMDB
