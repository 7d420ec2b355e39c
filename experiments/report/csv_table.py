"""The results as CSV, one line per method, for whoever wants to compute further."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.pages.statistics import mean_std
from experiments.report.comparisons import Comparison, Role, main_error
from experiments.report.grouping import Method, Setting
from experiments.report.tables import coverages, is_marked, raw_error, selected_error, time_shares
from ssl_weighting.data.csv_cells import csv_of

CSV_COLUMNS = (
    *("dataset", "num_labeled", "method", "algorithm", "weighting", "validation_as_labels"),
    *("num_seeds", "seeds", "steps"),
    *("test_error_mean", "test_error_std"),
    *("test_error_best_on_validation_mean", "test_error_best_on_validation_std", "optimistic"),
    *("raw_test_error_last_mean", "raw_test_error_last_std"),
    *("lambda_coverage", "lambda_time_share"),
    *("versus_base", "versus_base_low", "versus_base_high", "versus_base_seeds"),
    *("versus_v_as_labels", "versus_v_as_labels_low", "versus_v_as_labels_high"),
    "versus_v_as_labels_seeds",
    *("versus_supervised", "versus_supervised_low", "versus_supervised_high"),
    "versus_supervised_seeds",
)


def results_csv(settings: Sequence[Setting], comparisons: Sequence[Comparison]) -> str:
    """Return one line per method with unrounded numbers; an empty field where there is none."""
    rows: list[Sequence[object]] = [CSV_COLUMNS]
    for setting in settings:
        for method in setting.methods:
            mine = {item.role: item for item in comparisons if item.method is method}
            rows.append(_csv_row(setting, method, mine))
    return csv_of(rows)


def _csv_row(setting: Setting, method: Method, mine: dict[Role, Comparison]) -> list[object]:
    first = method.runs[0].summary
    return [
        setting.dataset,
        setting.num_labeled,
        method.label,
        method.algorithm,
        method.weighting,
        method.uses_v_as_labels,
        len(method.runs),
        " ".join(str(run.seed) for run in method.runs),
        first.steps,
        *_csv_spread(method.values(main_error)),
        *_csv_spread(method.values(selected_error)),
        is_marked(method),
        *_csv_spread(method.values(raw_error)),
        *(_csv_mean(values) for values in (coverages(method), time_shares(method))),
        *_csv_difference(mine.get(Role.BASE)),
        *_csv_difference(mine.get(Role.LABELS)),
        *_csv_difference(mine.get(Role.SUPERVISED)),
    ]


def _csv_spread(values: dict[int, float]) -> list[float | None]:
    if not values:
        return [None, None]
    spread = mean_std(list(values.values()))
    return [spread.mean, spread.std]


def _csv_mean(values: list[float]) -> float | None:
    return mean_std(values).mean if values else None


def _csv_difference(item: Comparison | None) -> list[float | int | None]:
    if item is None or item.difference is None:
        return [None, None, None, None]
    difference = item.difference
    return [difference.mean, difference.low, difference.high, len(difference.seeds)]
