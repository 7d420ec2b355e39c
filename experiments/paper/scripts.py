"""Write experiments/cells/*.sh from the list of cells.

python -m experiments.paper.scripts
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from experiments.paper import estimates
from experiments.paper.cells import BENCHMARK, Cell, cells
from ssl_weighting.data.files import write_atomically

FOLDER = Path(__file__).resolve().parent.parent / "cells"
WIDTH = 100  # of a line of a script


def hours_of(cell: Cell) -> float | None:
    """Return the estimated GPU hours of one seed; None for what is not trained."""
    if cell.program == BENCHMARK:
        return None
    return (estimates.text_hours if cell.is_text else estimates.hours)(cell.options)


def hours_text(hours: float) -> str:
    """Return hours as people say them."""
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def time_text(cell: Cell) -> str:
    """Return the expected time in words, with what the estimate rests on."""
    one = hours_of(cell)
    if one is None:
        return "about 1 h; an estimate, not measured: from the paper's 18 s for one serial call"
    seeds = len(cell.seeds)
    basis = estimates.TEXT_BASIS if cell.is_text else estimates.BASIS
    total = f"{seeds} seeds x {hours_text(one)} h = " if seeds > 1 else "1 seed = "
    return f"{total}{hours_text(seeds * one)} h of GPU; {basis}"


def paper_text(cell: Cell) -> str:
    """Return the paper's number in words, with how it was chosen."""
    if cell.program == BENCHMARK:
        return f"{cell.row} ({cell.rule})"
    if cell.printed is None:
        kind = "not in the paper" if cell.table == "Extra" else "a curve without a number"
        return f"{kind} ({cell.metric}, %)"
    return f"{cell.printed} % {cell.metric} ({cell.rule})"


def arguments(cell: Cell) -> list[str]:
    """Return what the script's command says after the program."""
    options = [f"--{name}={value}" for name, value in cell.options.items()]
    if cell.program == BENCHMARK:
        return options
    shared = [] if cell.runs == cell.name else [f"--runs={cell.runs}"]
    seeds = ",".join(map(str, cell.seeds))
    return [f"--cell={cell.name}", *shared, f"--seeds={seeds}", *options]


def module_of(cell: Cell) -> str:
    """Return the module of the cell's program."""
    return f"experiments.{cell.program}"


def text(cell: Cell) -> str:
    """Return the script of a cell."""
    fields = [
        ("Table", cell.table),
        ("Row", cell.row),
        ("Column", cell.column),
        ("Paper", paper_text(cell)),
        ("Time", time_text(cell)),
        *(("Note", note) for note in cell.notes),
        *(
            [("Runs", f"shared with {cell.runs}: the same options")]
            if cell.runs != cell.name
            else []
        ),
    ]
    header = [line for name, value in fields for line in _wrapped(f"# {name + ':':<9}", value)]
    header.append(f"# Command:  python -m {module_of(cell)} {shlex.join(arguments(cell))}")
    program = f'exec "$(dirname -- "${{BASH_SOURCE[0]}}")/../python.sh" -m {module_of(cell)} \\'
    lines = ["#!/usr/bin/env bash", *header, "", program]
    return "\n".join([*lines, *_filled([*map(shlex.quote, arguments(cell)), '"$@"'])]) + "\n"


def _wrapped(start: str, value: str) -> list[str]:
    lines, line = [], start
    for word in value.split():
        if len(line) + 1 + len(word) > WIDTH and line.strip("# "):
            lines.append(line)
            line = "#" + " " * (len(start) - 1)
        line += " " + word
    return [*lines, line]


def _filled(words: list[str]) -> list[str]:
    lines = [" "]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append(" ")
        lines[-1] += f" {word}"
    return lines


def write(folder: Path = FOLDER) -> int:
    """Write every script, remove scripts of no cell, and return how many there are."""
    wanted = {f"{cell.name}.sh": text(cell) for cell in cells()}
    for path in folder.glob("*.sh"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        write_atomically(folder / name, content)
        (folder / name).chmod(0o755)
    return len(wanted)


if __name__ == "__main__":
    sys.stdout.write(f"{write()} scripts in {FOLDER.name}/\n")
