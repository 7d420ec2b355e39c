"""How long a cell of the paper's tables takes on the device that played the large cases."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

from experiments.device_check.cases import BERT, CASES, FIXMATCH, UDA
from experiments.options.presets import DEFAULT_INNER_STEPS, INNER_STEPS
from experiments.options.text_recipes import TEXT
from experiments.paper import estimates
from experiments.paper.cell import TRAIN, Cell
from experiments.paper.cells import cells

BASIS = (
    "seconds a step of uda_paper for UDA, of fixmatch_paper an image for the rest, of bert a "
    "multiply-add for texts; Lambda-steps with them, evaluations of texts too, those of images not"
)


class Seconds(NamedTuple):
    """What a theta-step and a Lambda-step of a case took."""

    step: float
    lambda_step: float


class Line(NamedTuple):
    """Cells that take equally long: a row of a table, all columns that are alike."""

    table: str
    row: str
    cells: int
    hours: float  # of one seed, on this device
    estimate: float  # as `run_all.sh --profile=paper --dry_run` prints it


def table(measured: Mapping[str, Seconds]) -> list[Line]:
    """Return the hours of all cells whose case was measured.

    Args:
        measured: name of a case -> `Seconds`.
    """
    found = []
    for cell in cells():
        hours = hours_of(cell, measured) if cell.program == TRAIN else None
        if hours is not None:
            known = estimates.text_hours if cell.is_text else estimates.hours
            found.append(Line(cell.table, cell.row, 1, hours, known(cell.options)))
    groups = itertools.groupby(sorted(found, key=_kind), key=_kind)
    lines = [list(group) for _, group in groups]
    return [group[0]._replace(cells=len(group)) for group in lines]


def hours_of(cell: Cell, measured: Mapping[str, Seconds]) -> float | None:
    """Return the hours of one seed of a cell; None where its case was not measured."""
    options = cell.options
    algorithm = options["algorithm"]
    case = BERT if cell.is_text else UDA if algorithm == "uda" else FIXMATCH
    if case not in measured:
        return None
    step, lambda_step = measured[case]
    if cell.is_text:
        seconds = estimates.text_products(options) * step / _products_of_a_bert_step()
        steps = estimates.TEXTS[algorithm][0]
    else:
        steps = estimates.steps_of(options)
        images = estimates.images_of_a_step({"algorithm": "uda" if case == UDA else "fixmatch"})
        seconds = steps * step * estimates.images_of_a_step(options) / images
    if options["weighting"] != "fixed":
        seconds += steps / _inner_steps(cell) * lambda_step
    return seconds / 3600


def _products_of_a_bert_step():
    """Return the multiply-adds of a step of case `BERT`, counted as `text_products` does."""
    _, batch, ratio, passes = estimates.TEXTS["uda"]
    (tokens,) = CASES[BERT].shape
    forward = estimates.products(*CASES[BERT].bert, tokens)
    return batch * (1 + ratio * passes) * (1 + estimates.BACKWARD) * forward


def _inner_steps(cell):
    if "inner_steps" in cell.options:
        return cell.options["inner_steps"]
    if cell.is_text:
        return TEXT["inner_steps"]
    return INNER_STEPS["paper"].get(cell.options["algorithm"], DEFAULT_INNER_STEPS)


def _kind(line):
    return (line.table, line.row, line.hours, line.estimate)
