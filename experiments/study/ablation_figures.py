"""Fig. 3 and Fig. 4 in the paper's layout, from the rows and the recorded curves alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.pages.document import Picture
from experiments.pages.plotting import FAINT, draw, series_colour, series_dash
from experiments.study.ablation_claims import Families, of_size, single, tuned
from experiments.study.ablation_curves import Curve, Curves
from experiments.study.ablation_families import (
    INVERSES,
    LABELS,
    LABELS_OF_SIZES,
    OPTIMIZERS,
    RECIPE_FAMILY,
    SIZES,
    name_of,
)
from experiments.study.families_found import BASE, LEARNED
from experiments.study.rows import Row

_V, _TEST, _STEPS = "error on V, %", "test error, %", "training iterations"
_BARS = "Means over seeds; bars: 95 % t-intervals of each mean, wider than those of differences."


def inverse_picture(families: Families, curves: Curves) -> Picture | None:
    """Draw Fig. 3: error on V over training for each inverse Hessian, and the test error."""
    family = families.get(RECIPE_FAMILY)
    methods = [m for m in (BASE, *INVERSES) if family and family.of(m)]
    if not methods:
        return None

    def paint(figure):
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for place, method in enumerate(methods):
            runs, style = family.of(method), _style(method, place)
            _curve(left, _curves_of(runs, curves), words(method), style)
            _point(right, place, _test(runs), style["color"])
        _label(left, _STEPS, _V)
        # Below both, since lines fill the panel.
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        right.set_yticks(range(len(methods)), [words(m).split(" (")[0] for m in methods])
        right.invert_yaxis()
        _label(right, _TEST, "")

    caption = f"{_BARS} Error on V: means alone."
    png = draw(9.6, 4.2, paint)
    return Picture("ablation-inverse-hessian", png, "Fig. 3: inverse Hessians", caption, wide=True)


def tuning_picture(families: Families, curves: Curves) -> Picture | None:
    """Draw Fig. 4: one λ or one an example (left), optimizers (centre), size of V (right)."""
    if not families:
        return None

    def paint(figure):
        left, centre, right = figure.subplots(1, 3)
        _paint_singles(left, families)
        if family := families.get(RECIPE_FAMILY):
            for place, name in enumerate(OPTIMIZERS):
                found = _curves_of(tuned(family, name), curves)
                _curve(centre, found, name, _style(name, place))
        _label(centre, _STEPS, _V)
        _paint_sizes(right, families)
        for axes in (left, centre, right):
            if axes.get_legend_handles_labels()[1]:
                axes.legend(fontsize=8)

    png = draw(10.8, 3.3, paint)
    caption = f"{_BARS} Step sizes of each optimizer, and of one λ, are chosen on V, seed by seed."
    return Picture("ablation-tuning", png, "Fig. 4: λ, its optimizer, and V", caption, wide=True)


def words(method: str) -> str:
    """Return a method of Fig. 3 in words."""
    return "λ = 1, nothing learned" if method == BASE else INVERSES[method]


def mean_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps [n], mean errors [n]) at the steps that all curves have; empty without any."""
    if not curves:
        return np.zeros(0, int), np.zeros(0)
    steps = sorted(set.intersection(*(set(curve.steps) for curve in curves)))
    values = [[dict(zip(c.steps, c.errors, strict=True))[s] for s in steps] for c in curves]
    return np.asarray(steps), np.mean(values, axis=0)


def _curves_of(runs: Mapping[int, Row], curves) -> list[Curve]:
    found = [(row, curves.get(row.key)) for row in runs.values()]
    return [curve for row, curve in found if curve and curve.options == row.options]


def _style(method, place):
    if method == BASE:
        return {"color": FAINT, "ls": (0, (3, 3)), "lw": 1.4}
    front = {"lw": 2.0, "zorder": 3} if method == LEARNED else {"lw": 1.4}
    return {"color": series_colour(place), "ls": series_dash(place), **front}


def _curve(axes, curves, name, style):
    steps, errors = mean_curve(curves)
    if len(steps):
        axes.plot(steps, errors, label=name, **style)


def _point(axes, place, errors, colour):
    axes.errorbar(np.mean(errors), place, xerr=_half(errors), fmt="o", ms=4, color=colour)


def _half(errors):
    """Return half the 95 % t-interval of the mean; 0 for one value."""
    if len(errors) < 2:
        return 0.0
    from scipy import stats

    quantile = float(stats.t.ppf(0.975, len(errors) - 1))
    return quantile * float(np.std(errors, ddof=1)) / len(errors) ** 0.5


def _test(runs):
    return [row.test_error for row in runs.values()]


def _paint_singles(axes, families):
    there = {n: families[name] for n in LABELS if (name := name_of(n, SIZES[-1])) in families}
    series = {
        "λ = 1": {n: family.of(BASE) for n, family in there.items()},
        "one λ": {n: single(family) for n, family in there.items()},
        "one λ an example": {n: family.of(LEARNED) for n, family in there.items()},
    }
    _paint_series(axes, series, LABELS)
    _label(axes, "number of labels", _TEST)


def _paint_sizes(axes, families):
    series = {
        f"{labels} labels": {size: of_size(families, labels, size) for size in SIZES}
        for labels in LABELS_OF_SIZES
    }
    _paint_series(axes, series, SIZES)
    _label(axes, "|V|", _TEST)


def _paint_series(axes, series, ticks):
    for k, (name, points) in enumerate(series.items()):
        found = {place: _test(runs) for place, runs in points.items() if runs}
        if found:
            # Side by side, so that no bar hides another.
            places = np.array(list(found)) * 1.06 ** (k - 1)
            means = [np.mean(errors) for errors in found.values()]
            bars = [_half(errors) for errors in found.values()]
            style = {"color": series_colour(k), "ls": series_dash(k), "marker": "o", "ms": 4}
            axes.errorbar(places, means, yerr=bars, capsize=2, label=name, **style)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _label(axes, x, y):
    axes.set_xlabel(x)
    axes.set_ylabel(y)
