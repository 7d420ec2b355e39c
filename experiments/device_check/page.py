"""What `check_device` prints: a table of cases, one of hours, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable

from experiments.device_check import hours
from experiments.device_check.check import Row
from experiments.device_check.hours import Seconds

HEADINGS = ("case", "variant", "verdict", "worst", "where", "s a step", "s a Λ-step", "peak MB")
OF_HOURS = ("table", "row", "cells", "hours a seed, here", "estimate of run_all.sh")
NOTE = (
    "worst: the largest deviation from the recorded trace over what is allowed; above 1 fails. "
    "Times hold the making of batches, which is little here, and no augmentation."
)


def page(rows: list[Row]) -> str:
    """Return the whole output in Markdown."""
    parts = [_table(HEADINGS, map(_cells, rows)), NOTE]
    for name, measured in measured_by_variant(rows).items():
        lines = hours.table(measured)
        if lines:
            cells = (
                (*map(str, line[:3]), *(f"{value:.3g}" for value in line[3:])) for line in lines
            )
            parts += [
                f"Hours of the paper's cells, {name} ({hours.BASIS}):",
                _table(OF_HOURS, cells),
            ]
    return "\n\n".join([*parts, verdict(rows)])


def verdict(rows: list[Row]) -> str:
    """Return in a line whether all passed, else which did not."""
    failed = [f"{row.case} ({row.variant.name})" for row in rows if not row.passed]
    if failed:
        return f"FAIL: {len(failed)} of {len(rows)}: {', '.join(failed)}"
    return f"pass: all {len(rows)} within what is allowed"


def measured_by_variant(rows: list[Row]) -> dict[str, dict[str, Seconds]]:
    """Return variant -> case -> seconds, of the rows that passed and learn weights."""
    found: dict[str, dict[str, Seconds]] = {}
    for row in rows:
        if row.passed and row.played.lambda_seconds is not None:
            times = Seconds(row.played.step_seconds, row.played.lambda_seconds)
            found.setdefault(row.variant.name, {})[row.case] = times
    return found


def _cells(row):
    share = "–" if math.isinf(row.deviation.share) else f"{row.deviation.share:.2g}"
    verdict = "pass" if row.passed else "FAIL"
    times = (None, None, None)
    if row.played:
        times = row.played.step_seconds, row.played.lambda_seconds, row.played.peak_mb
    numbers = ("" if value is None else f"{value:.3g}" for value in times)
    return (row.case, row.variant.name, verdict, share, row.deviation.where, *numbers)


def _table(headings: Iterable[str], lines) -> str:
    lines = [tuple(headings), ["---"] * len(tuple(headings)), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
