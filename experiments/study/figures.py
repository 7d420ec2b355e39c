"""The pictures of the study: errors by method, λ by group, errors against the size of V."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.pages.document import Picture
from experiments.pages.files import slug
from experiments.pages.plotting import (
    BLUE,
    FAINT,
    INK,
    VERMILLION,
    clean,
    draw,
    series_colour,
    series_dash,
    series_marker,
)
from experiments.study.families_found import (
    BASE,
    EVERY_STEP,
    LEARNED,
    TUNED,
    V_AS_LABELS,
    Family,
    label,
)
from experiments.study.rows import group_names

_POINTS = "Points: seeds; bars: their mean."


def error_picture(family: Family) -> Picture | None:
    """Draw the test error of every run, one line a method; None without a run."""
    methods = family.methods()
    if not methods:
        return None
    baseline = family.errors(BASE).values()

    def paint(figure):
        axes = figure.add_subplot()
        for place, method in enumerate(methods):
            errors = list(family.errors(method).values())
            colour = VERMILLION if method in (BASE, TUNED) else BLUE
            axes.plot(errors, [place] * len(errors), "o", ms=4, color=colour, alpha=0.6)
            axes.plot([np.mean(errors)] * 2, [place - 0.32, place + 0.32], color=INK, lw=2)
        if baseline:
            axes.axvline(np.mean(list(baseline)), color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
        axes.set_yticks(range(len(methods)), [clean(label(m)) for m in methods])
        axes.invert_yaxis()
        axes.set_xlabel("test error, %")
        axes.grid(axis="x")

    title = f"Test error, {family.title}"
    png = draw(7.2, 0.9 + 0.27 * len(methods), paint)
    caption = f"{_POINTS} Dashed: mean of the base algorithm (λ = 1); red: it, and λ tuned on V."
    if family.missing:  # means over different seeds
        caption += " Runs are missing: compare by the paired differences below."
    return Picture(slug("errors", family.plan.name), png, title, caption)


def group_picture(family: Family) -> Picture | None:
    """Draw the mean λ of each group by method, a bar of one deviation over seeds; None without."""
    methods = [m for m in family.methods() if m != TUNED and group_names(family.of(m).values())]
    if not methods:
        return None
    names = group_names(row for m in methods for row in family.of(m).values())

    def paint(figure):
        axes = figure.add_subplot()
        width = 0.8 / len(names)
        for k, name in enumerate(names):
            for place, method in enumerate(methods):
                means = _group_means(family, method, name)
                if not means:
                    continue
                y = place - 0.4 + width * (k + 0.5)
                spread = np.std(means, ddof=1) if len(means) > 1 else 0.0
                style = {"fmt": series_marker(k), "ms": 4, "color": series_colour(k)}
                shown = clean(name) if place == 0 else None
                axes.errorbar(np.mean(means), y, xerr=spread, label=shown, **style)
        axes.axvline(1.0, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
        axes.set_yticks(range(len(methods)), [clean(label(m)) for m in methods])
        axes.invert_yaxis()
        axes.set_xlabel("mean λ of the group")
        axes.locator_params(axis="x", nbins=6)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    height = 1.0 + 0.16 * len(names) * len(methods)
    png = draw(7.2, max(height, 2.2), paint)
    title = f"λ by group, {family.title}"
    caption = "Means over the seeds' group means, with their standard deviation. Dashed: λ = 1. "
    caption += "After the two pseudo-label groups the largest group comes first."
    return Picture(slug("groups", family.plan.name), png, title, caption)


def _group_means(family, method, name):
    runs = family.of(method).values()
    return [row.lam_by_group[name][1] for row in runs if name in row.lam_by_group]


def size_picture(families: Sequence[Family]) -> Picture | None:
    """Draw test error against |V| for one data set; None where fewer than two sizes were run."""
    methods = (BASE, TUNED, LEARNED, EVERY_STEP, V_AS_LABELS)
    there = sorted((f for f in families if f.rows), key=lambda f: f.plan.val_size)
    if len(there) < 2:
        return None

    def paint(figure):
        axes = figure.add_subplot()
        for k, method in enumerate(methods):
            found = [(f.plan.val_size, list(f.errors(method).values())) for f in there]
            found = [(size, errors) for size, errors in found if errors]
            if not found:
                continue
            sizes, means = [size for size, _ in found], [np.mean(errors) for _, errors in found]
            spread = [np.std(errors, ddof=1) if len(errors) > 1 else 0.0 for _, errors in found]
            style = {"color": series_colour(k), "ls": series_dash(k), "marker": "o", "ms": 4}
            # Side by side, so that no bar hides another.
            places = np.array(sizes) * 1.04 ** (k - len(methods) // 2)
            axes.errorbar(places, means, yerr=spread, capsize=2, label=label(method), **style)
        axes.set_xscale("log")
        axes.set_xticks([f.plan.val_size for f in there], [str(f.plan.val_size) for f in there])
        axes.minorticks_off()
        axes.set_xlabel("|V|")
        axes.set_ylabel("test error, %")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    caption = "Means over seeds with their standard deviation."
    name = slug("sizes", there[0].plan.dataset)
    return Picture(name, draw(6.4, 3.0, paint), f"Size of V, {there[0].data}", caption)
