"""The tables of the report: results per setting (Tables 1 and 2 of the paper), paired differences,
and data sources with the hashes of their splits.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.pages.document import Cell, Table
from experiments.pages.wording import (
    MISSING,
    error_text,
    interval_text,
    left_out,
    share_text,
    signed,
    unique,
)
from experiments.report.comparisons import SMALLEST_EFFECT, Comparison, Verdict, main_error
from experiments.report.grouping import Method, Setting
from experiments.runs.record import RunRecord

RESULT_COLUMNS = (
    "Method",
    "Test error, %",
    "Best on V, %",
    "Without EMA, %",
    "Seeds",
    "λ coverage",
    "Time on Λ",
)
DAGGER = "† Optimistic: λ was learned on the V that chose the checkpoint, or V was trained on."
READING = (
    "Test error: median of the last 20 evaluations, the number that is compared; where the steps "
    "are exact solutions (--inner=solve), the last evaluation. Best on V: the "
    "evaluation with the least validation error. Without EMA: the last evaluation, with the raw "
    "parameters. Mean ± sample standard deviation over seeds (one seed has no deviation). λ "
    "coverage: share of unlabeled examples whose λ was updated. Time on Λ: share of the training "
    "time.",
    "Paired differences: test error of the method minus that of the reference, same seed, in "
    "percentage points; negative is better. Two-sided 95 % t-intervals, not corrected for the "
    "number of comparisons. Undecided: the interval includes zero and more than "
    f"{SMALLEST_EFFECT:g} points on one side; more seeds would tell.",
)
DIFFERENCE_COLUMNS = (
    "Method against reference",
    "Difference, points",
    "95 % interval",
    "Reading",
    "Seeds",
)
TONES = {
    Verdict.BETTER: "good",
    Verdict.WORSE: "bad",
    Verdict.EQUAL: "",
    Verdict.UNDECIDED: "open",
    Verdict.ONE_SEED: "",
    Verdict.NO_PAIR: "",
}


def raw_error(run: RunRecord) -> float | None:
    """Return the last error without EMA; None if it was never measured."""
    return run.summary.raw_test_error_last


def selected_error(run: RunRecord) -> float | None:
    """Return the test error of the checkpoint that is best on V."""
    return run.summary.test_error_best_on_validation


def is_optimistic(method: Method) -> bool:
    """Return whether the V that chose the checkpoint of any run had also taught it something."""
    return any(run.summary.best_on_validation_is_optimistic for run in method.runs)


def results_table(setting: Setting) -> Table:
    """Return one row per method: errors, seeds, coverage of U by Λ-updates, share of time on Λ."""
    marked = any(is_marked(method) for method in setting.methods)
    return Table(
        RESULT_COLUMNS,
        tuple(_result_row(method) for method in setting.methods),
        notes=(DAGGER,) if marked else (),
    )


def is_marked(method: Method) -> bool:
    """Return whether the selected error of the row carries the dagger."""
    return is_optimistic(method) and bool(method.values(selected_error))


def _result_row(method: Method) -> tuple[str, ...]:
    selected = error_text(list(method.values(selected_error).values()))
    coverage, share = coverages(method), time_shares(method)
    return (
        method.label,
        error_text(list(method.values(main_error).values())),
        f"{selected} †" if is_marked(method) else selected,
        error_text(list(method.values(raw_error).values())),
        str(len(method.runs)),
        share_text(coverage),
        share_text(share),
    )


def coverages(method: Method) -> list[float]:
    """Return the shares of U whose λ was updated, in [0, 1], one per run that learned λ."""
    # A base algorithm visits no λ: a dash says that better than "0.0 %".
    if not method.is_weighted:
        return []
    return list(method.values(lambda run: run.summary.coverage).values())


def time_shares(method: Method) -> list[float]:
    """Return the shares of training time spent on Λ, in [0, 1], one per run that learned λ."""
    if not method.is_weighted:
        return []
    return list(method.values(lambda run: run.summary.lambda_share).values())


def differences_table(comparisons: Sequence[Comparison]) -> Table:
    """Return paired differences with 95 % t-intervals; negative favours the method."""
    notes = [
        f"{item.method.label} against {item.reference.label}: {left_out(item.unlike)}."
        for item in comparisons
        if item.unlike
    ]
    rows = tuple(_difference_row(item) for item in comparisons)
    return Table(DIFFERENCE_COLUMNS, rows, text_columns=(0, 3), notes=tuple(notes))


def _difference_row(item: Comparison) -> tuple[str | Cell, ...]:
    difference = item.difference
    return (
        f"{item.method.label} against {item.reference.label}",
        signed(difference.mean) if difference else MISSING,
        interval_text(difference),
        Cell(item.reading, TONES[item.verdict]),
        str(len(difference.seeds)) if difference else "0",
    )


def sources_table(settings: Sequence[Setting]) -> Table:
    """Return where the data came from, how much of it, and the hash of every split by seed."""
    rows = []
    for setting in settings:
        for source in unique([run.source for run in setting.runs]):
            runs = [run for run in setting.runs if run.source == source]
            rows.append(
                (
                    setting.dataset,
                    source,
                    f"{setting.num_labeled:,}",
                    _distinct([run.summary.val_size for run in runs]),
                    _distinct([run.summary.num_unlabeled for run in runs]),
                    _hashes(runs),
                )
            )
    return Table(
        ("Data set", "Source", "Labels", "|V|", "|U|", "Split hash by seed"),
        tuple(rows),
        text_columns=(0, 1, 5),
        notes=(
            "First 12 characters of each hash; equal hashes mean the very same split. +V: with V "
            "added to the labels.",
        ),
    )


def _distinct(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(set(numbers)))


def _hashes(runs: Sequence[RunRecord]) -> str:
    texts = []
    for seed in sorted({run.seed for run in runs}):
        mine = [run for run in runs if run.seed == seed]
        plain = [_short(run) for run in mine if not run.summary.validation_as_labels]
        with_v = [_short(run) for run in mine if run.summary.validation_as_labels]
        parts = unique(plain) + [f"{value} (+V)" for value in unique(with_v) if value not in plain]
        texts.append(f"seed {seed}: {', '.join(parts)}")
    return ";\n".join(texts)


def _short(run: RunRecord) -> str:
    return run.config["split_hash"][:12]
