"""Curves over training: test error, the distribution of λ, and the differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.pages.plotting import (
    BLUE,
    FAINT,
    INK,
    VERMILLION,
    clean,
    draw,
    series_colour,
    series_dash,
    wrapped,
)
from experiments.pages.wording import interval_text, signed
from experiments.report.comparisons import Comparison, Verdict
from experiments.report.grouping import Method, Setting
from experiments.runs.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 3
MAX_BINS = 64
LONGEST_OF_TWO = 40  # characters of a label, beside which another one has place


def learning_curves(setting: Setting) -> bytes:
    """Draw test error (EMA weights) against the step: mean over seeds, every seed thin."""

    labels = [method.label for method in setting.methods]
    columns = 2 if len(labels) > 1 and max(map(len, labels)) <= LONGEST_OF_TWO else 1

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for position, method in enumerate(setting.methods):
            _curve(axes, method, position)
        axes.set(xlabel="training step", ylabel="test error, %")
        axes.set_title(clean(setting.title), loc="left")
        axes.grid(axis="y")
        axes.set_ylim(0.0, _ceiling(setting))
        axes.margins(x=0.02)
        figure.legend(loc="outside lower left", ncols=columns)

    rows = math.ceil(len(labels) / columns)
    return draw(6.2, 3.5 + 0.22 * rows, paint)


def _ceiling(setting: Setting) -> float:
    """Return the upper end of the error axis.

    The first quarter of training may leave the picture, so that methods that end close together
    stay apart.
    """
    runs = [run.evals for run in setting.runs]
    late = [line["test_error"] for lines in runs for line in lines[len(lines) // 4 :]]
    return max(1.1 * max(late), 0.1)


def _curve(axes: Axes, method: Method, position: int) -> None:
    colour, dash = series_colour(position), series_dash(position)
    for run in method.runs:
        steps = [line["step"] for line in run.evals]
        errors = [line["test_error"] for line in run.evals]
        if len(method.runs) > 1:
            axes.plot(steps, errors, color=colour, linewidth=0.7, alpha=0.35)
    steps, errors = mean_curve([run.evals for run in method.runs])
    marker = "o" if len(steps) == 1 else None
    label = clean(f"{method.label} ({len(method.runs)})")
    axes.plot(steps, errors, color=colour, linestyle=dash, linewidth=2, marker=marker, label=label)


def mean_curve(
    runs: Sequence[Sequence[Mapping[str, Any]]], key: str = "test_error"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over runs at the steps that every run evaluated.

    Args:
        runs: evaluation lines of each run.
        key: the value to average.

    Returns:
        (steps [S] int64, means [S] float64).
    """
    by_step = [{line["step"]: line[key] for line in lines} for lines in runs]
    steps = sorted(set.intersection(*(set(values) for values in by_step)))
    means = [np.mean([values[step] for values in by_step]) for step in steps]
    return np.asarray(steps, np.int64), np.asarray(means, np.float64)


def has_histograms(run: RunRecord) -> bool:
    """Return whether the run logged λ histograms, with some example in them."""
    return any(_is_counted(line) for line in run.evals)


def _is_counted(line: Mapping[str, Any]) -> bool:
    histogram = line.get("lam_histogram")
    return histogram is not None and sum(histogram["counts"]) > 0


def lambda_heatmaps(method: Method) -> bytes:
    """Draw the share of U in each λ bin (colour) against the training step; a panel per seed.

    Lines on top: median, 5 % and 95 % quantile of λ, where they were logged.
    """
    runs = [run for run in method.runs if has_histograms(run)][:MAX_PANELS]

    def paint(figure: Figure) -> None:
        from matplotlib.colors import LogNorm

        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        norm = LogNorm(vmin=1e-3, vmax=1.0)
        for axes, run in zip(panels, runs, strict=True):
            image = _heatmap(axes, run, norm)
            axes.set_title(f"seed {run.seed}", loc="left")
            axes.locator_params(axis="x", nbins=3)
            axes.set_xlabel("training step")
        panels[0].set_ylabel("λ")
        bar = figure.colorbar(image, ax=list(panels), pad=0.01, label="share of U")
        bar.set_ticks([1e-3, 1e-2, 1e-1, 1.0], labels=["≤ 0.1 %", "1 %", "10 %", "100 %"])

    return draw(6.6, 2.7, paint)


def _heatmap(axes: Axes, run: RunRecord, norm: Any) -> Any:
    lines = [line for line in run.evals if _is_counted(line)]
    histograms = [line["lam_histogram"] for line in lines]
    edges = common_edges([histogram["edges"] for histogram in histograms])
    shares = np.stack([rebin(h["edges"], h["counts"], edges) for h in histograms], axis=1)
    steps = [line["step"] for line in lines]
    shares = np.maximum(shares, norm.vmin)  # an empty bin takes the darkest colour
    image = axes.pcolormesh(_boundaries(steps), edges, shares, norm=norm, cmap="cividis")
    axes.set_facecolor(image.cmap(0.0))  # beyond this run's bins there is no example either
    for place, dash in ((1, (0, (2, 2))), (3, "-"), (5, (0, (2, 2)))):
        points = [
            (line["step"], line["lam_quantiles"][place])
            for line in run.lambdas
            if len(line.get("lam_quantiles") or ()) == 7
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color="white", linestyle=dash, linewidth=1.2)
    axes.set_xlim(_boundaries(steps)[0], _boundaries(steps)[-1])
    return image


def common_edges(all_edges: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the shared bin edges if all are equal, else an even grid over the whole range."""
    if all(list(edges) == list(all_edges[0]) for edges in all_edges):
        return np.asarray(all_edges[0], np.float64)
    low, high = min(edges[0] for edges in all_edges), max(edges[-1] for edges in all_edges)
    return np.linspace(low, high, MAX_BINS + 1)


def rebin(edges: Sequence[float], counts: Sequence[float], target: np.ndarray) -> np.ndarray:
    """Return the shares that fall in the target bins, counts spread evenly inside a bin.

    Args:
        edges: [k + 1] increasing.
        counts: [k], not all zero.
        target: [t + 1] increasing edges that cover `edges`.

    Returns:
        [t] float64 shares that sum to 1.
    """
    cumulative = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return np.diff(np.interp(target, np.asarray(edges, np.float64), cumulative)) / cumulative[-1]


def _boundaries(steps: Sequence[int]) -> np.ndarray:
    """Return cell boundaries around the evaluation steps: midpoints, mirrored at both ends."""
    centres = np.asarray(steps, np.float64)
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = (centres[1:] + centres[:-1]) / 2.0
    first, last = 2 * centres[0] - middles[0], 2 * centres[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])


def difference_plot(comparisons: Sequence[Comparison]) -> bytes:
    """Draw paired differences of test error with 95 % intervals; left of zero is better.

    Args:
        comparisons: at least one, all with a difference.
    """

    names = [_row_name(item) for item in comparisons]
    heights = [0.16 + 0.17 * (1 + name.count("\n")) for name in names]  # inches
    rows = np.cumsum(heights) - np.divide(heights, 2)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0.0, color=INK, linewidth=1)
        for row, item in zip(rows, comparisons, strict=True):
            _difference_row(axes, row, item)
        axes.set_yticks(rows, names)
        numbers = axes.secondary_yaxis("right")
        numbers.set_yticks(rows, [_row_numbers(item) for item in comparisons])
        for side in (axes, numbers):
            side.tick_params(axis="y", length=0, labelsize=8.5)
            side.spines[["left", "right"]].set_visible(False)
        axes.set_ylim(sum(heights), 0)
        axes.set_xlabel("difference of test error, percentage points\n(left of zero: lower error)")
        axes.grid(axis="x")

    return draw(6.2, 1.0 + sum(heights), paint)


def _row_name(item: Comparison) -> str:
    return f"{wrapped(item.setting.title, 36)}\n{wrapped(item.method.label, 36)}"


def _row_numbers(item: Comparison) -> str:
    return f"{signed(item.difference.mean)}\n{interval_text(item.difference)}"


def _difference_row(axes: Axes, row: int, item: Comparison) -> None:
    difference = item.difference
    colour = {Verdict.BETTER: BLUE, Verdict.WORSE: VERMILLION}.get(item.verdict, FAINT)
    if difference.low is not None:
        axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=2.6)
    face = colour if item.verdict in (Verdict.BETTER, Verdict.WORSE) else "white"
    axes.plot(difference.mean, row, "o", color=colour, markersize=8, markerfacecolor=face)
