"""What predicts a gain of learned weights: from the rows and the record of agreements alone.

A setting is a family. Its gains are paired differences of test errors, so that negative is better;
what may predict them are means over its runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.pages.document import Block, Document, Heading, Paragraph, Picture, Table
from experiments.pages.plotting import FAINT, INK, draw, series_colour, series_marker
from experiments.pages.statistics import PairedDifference
from experiments.study.ablation_families import PREFIX as ABLATIONS
from experiments.study.advice import GAINS, RULE, advice_table, summary
from experiments.study.agreement import Agreement, agreement_of
from experiments.study.deep_families import DEEP, DEEP_METHODS, TOP
from experiments.study.families_found import (
    BASE,
    DATASETS,
    LEARNED,
    Family,
)
from experiments.study.rows import Key
from experiments.study.situations import TELLS, situations_table

PAGE = "gains.md"
TITLE = "What predicts a gain?"
QUESTION = "When should a user use weights, cross-fit, or V as labels?"
SUBTITLE = "Gains of learned weights against what may predict them, and what to use where."
_LEAST = 8  # settings, for an interval of their correlation
_LEAST_SPREAD = 0.01  # of the largest value: less is noise
_SIZES = (10, 30, 100, 300, 1000)  # of V, as marked on the axis

FIGURE = (
    "A point is a setting: the mean paired difference of test errors, in points, with its 95 % "
    "interval; below zero the weights win, so ρ < 0 where more of the predictor goes with a larger "
    "gain (of the oracle, itself a difference of errors, ρ > 0). ρ: Spearman's correlation over "
    "settings with Fisher's 95 % interval, of eight or more. Settings share data and runs, so the "
    "intervals are too narrow, if anything; the oracle's gain and that of learned weights are "
    "measured from the same λ = 1, so that noise alone makes their ρ > 0. On features Eq. 6 is "
    "exact, so agreement does not vary there, and coverage but in the ablations: else each Λ-step "
    "moves all of U. |V| varies alone in the ablations' settings, elsewhere with the number of "
    "labels."
)


class Setting(NamedTuple):
    """A family with what may predict its gains; None where it is not known.

    `learned` is the method that stands for learned weights.
    """

    family: Family
    agreement: float | None  # rank correlation with retraining
    oracle: float | None  # its error minus the base's, in points
    coverage: float | None  # share of U whose weight was moved
    validation: int  # |V|
    learned: str = LEARNED

    def gain(self, method: str, reference: str) -> PairedDifference | None:
        """Return the difference of two methods' errors; None where it was not run."""
        of = self.learned if method == LEARNED else method
        return self.family.difference(of, reference)


PREDICTORS: tuple[tuple[str, str], ...] = (
    ("agreement", "rank correlation with retraining"),
    ("oracle", "the oracle's gain, points"),
    ("coverage", "share of U moved"),
    ("validation", "|V|"),
)


def settings(families: Sequence[Family], agreements: Mapping[Key, Agreement]) -> list[Setting]:
    """Return every setting with a gain, with what may predict it.

    Primary families, the ablations', whose |V| varies alone, and each influence of the nets where
    more than the last layer's was tried.
    """
    found = []
    for family in families:
        deep = family.plan.name in (DEEP, TOP)
        if family.plan.secondary and not (deep or family.plan.name.startswith(ABLATIONS)):
            continue
        learned = [m for m in DEEP_METHODS if "shuffled" not in m] if deep else [LEARNED]
        for method in learned:
            one = _setting(family, method, agreements)
            if any(one.gain(a, b) for a, b, _ in GAINS):
                found.append(one)
    return found


def _setting(family, method, agreements):
    return Setting(
        family,
        _mean(one.spearman for key, one in agreements.items() if _is_of(key, family, method)),
        _of(family.difference("oracle", BASE)),
        _mean(row.moved for row in _learned(family, method)),
        family.plan.val_size,
        method,
    )


def _is_of(key, family, learned):
    name, method, seed = key
    runs = (method, seed), (method.removesuffix("_refit"), seed)
    is_there = any(run in family.rows for run in runs)
    return name == family.plan.name and method in (learned, f"{learned}_refit") and is_there


def _learned(family, method):
    """Return the runs whose weights are known: of a refit's two rows the second one's."""
    both = [*family.of(method).values(), *family.of(f"{method}_refit").values()]
    return [row for row in both if row.moved is not None]


def _mean(values):
    found = list(values)
    return float(np.mean(found)) if found else None


def _of(difference: PairedDifference | None):
    return None if difference is None else difference.mean


def pairs(
    found: Sequence[Setting], predictor: str, method: str, reference: str
) -> list[tuple[float, PairedDifference]]:
    """Return (predictor, gain) of the settings that have both."""
    both = ((getattr(one, predictor), one.gain(method, reference)) for one in found)
    return [(x, gain) for x, gain in both if x is not None and gain is not None]


def correlation_text(points: Sequence[tuple[float, PairedDifference]]) -> str:
    """Return "ρ = −0.40 [−0.80, +0.25], n = 11", or why there is none."""
    x, y = np.array([(x, gain.mean) for x, gain in points]).reshape(-1, 2).T
    if len(x) < _LEAST or np.ptp(x) <= _LEAST_SPREAD * np.abs(x).max() or np.ptp(y) == 0:
        return f"no ρ, n = {len(x)}"
    n, r, low, high = agreement_of(x, y)
    return f"ρ = {r:+.2f} [{low:+.2f}, {high:+.2f}], n = {n}".replace("-", "−")


def correlations_table(found: Sequence[Setting]) -> Table:
    """Return the correlation of each gain with each predictor, on features and of nets."""
    rows = tuple(
        (text, *(_correlations(found, name, a, b) for name, _ in PREDICTORS))
        for a, b, text in GAINS
    )
    return Table(("Gain", *(text for _, text in PREDICTORS)), rows, text_columns=(0, 1, 2, 3, 4))


def _correlations(found, predictor, method, reference) -> str:
    apart = _apart(found, predictor).items()
    known = {where: pairs(mine, predictor, method, reference) for where, mine in apart}
    text = "; ".join(f"{where}: {correlation_text(mine)}" for where, mine in known.items() if mine)
    return text or "not measured"


def _apart(found, predictor):
    """Return the settings on features and those of nets, which have other errors and gains.

    Together only for their agreement, by which they differ: else that they differ would correlate.
    """
    on_features = [one for one in found if one.family.plan.on_features]
    nets = [one for one in found if not one.family.plan.on_features]
    parts = {"features": on_features, "nets": nets}
    if predictor == "agreement":
        parts["all"] = found
    return {where: mine for where, mine in parts.items() if mine}


def picture(found: Sequence[Setting]) -> Picture | None:
    """Draw each gain against each predictor; None without a setting."""
    shown = [gain for gain in GAINS if pairs(found, "validation", *gain[:2])]
    if not shown:
        return None

    def paint(figure):
        grid = figure.subplots(len(shown), len(PREDICTORS), squeeze=False, sharey="row")
        for line, (method, reference, text) in zip(grid, shown, strict=True):
            for axes, (name, head) in zip(line, PREDICTORS, strict=True):
                _panel(axes, found, (name, method, reference))
                axes.set_xlabel(head, fontsize=8.5)
            line[0].set_ylabel(f"{text},\npoints", fontsize=8.5)
        figure.legend(
            *grid[0][-1].get_legend_handles_labels(), loc="outside lower center", ncols=4,
            fontsize=8,
        )  # fmt: skip

    png = draw(10.0, 2.5 * len(shown) + 0.5, paint)
    return Picture("gains", png, TITLE, FIGURE, wide=True)


def _panel(axes, found, key):
    name, method, reference = key
    for place, dataset in enumerate(dict.fromkeys(_kind(one) for one in found)):
        mine = pairs([one for one in found if _kind(one) == dataset], *key)
        x, gains = [x for x, _ in mine], [gain for _, gain in mine]
        y = [gain.mean for gain in gains]
        bars = [0.0 if gain.high is None else gain.high - gain.mean for gain in gains]
        style = {"fmt": series_marker(place), "color": series_colour(place), "ms": 4.5}
        axes.errorbar(x, y, yerr=bars, elinewidth=0.8, alpha=0.75, label=dataset, **style)
    axes.axhline(0.0, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
    points = pairs(found, name, method, reference)
    if not points:
        axes.set_xticks([])
    elif name == "validation":
        axes.set_xscale("log")
        axes.set_xticks(_SIZES, [f"{size:,}" for size in _SIZES])
        axes.set_xlim(_SIZES[0] / 1.3, _SIZES[-1] * 1.3)
        axes.minorticks_off()
    elif name == "coverage":  # a share: no axis beyond 1
        axes.set_xlim(min(x for x, _ in points) - 0.03, 1.01)
    title = _correlations(found, *key).replace("; ", "\n")
    axes.set_title(title, fontsize=7, fontweight="normal", color=INK)
    _narrow(axes, points)
    axes.tick_params(labelsize=8)


def _narrow(axes, points):
    """Set the axis by the means: one setting's wide interval must not flatten the others."""
    if points:
        reach = 1.6 * max(1.0, *(abs(gain.mean) for _, gain in points))
        axes.set_ylim(-reach, reach)


def _kind(setting: Setting) -> str:
    family = setting.family
    where = "frozen features" if family.plan.on_features else "a net"
    return f"{DATASETS.get(family.plan.dataset, family.plan.dataset)}, {where}"


def gains_pages(
    families: Sequence[Family], agreements: Mapping[Key, Agreement]
) -> tuple[list[Block], Document | None]:
    """Return what README.md says, the figure and how often what was named, and the page of its own.

    Without a gain there is neither.
    """
    found = settings(families, agreements)
    drawn = picture(found)
    if drawn is None:
        return [], None
    advised = [one.family for one in found if not one.family.plan.secondary]
    named = Paragraph(summary(advised))
    table = situations_table(advised)
    told = [Heading(QUESTION), table] if table else []
    rest = [Heading("Setting by setting"), named, Paragraph(RULE), advice_table(advised)]
    how = [Paragraph(TELLS)] if table else []
    blocks = (drawn, correlations_table(found), *told, *how, *rest)
    page = Document(f"The study: {TITLE[0].lower()}{TITLE[1:]}", SUBTITLE, blocks)
    return [Heading(TITLE), drawn, *told, named], page
