"""The study on frozen features at a glance: each claim of each setting with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.pages.document import Picture
from experiments.pages.plotting import BLUE, FAINT, VERMILLION, draw
from experiments.study.families_found import ENSEMBLE, HEADLINE, Family

ALL = "all"  # in the place of a family: the mean over settings
_COLOURS = {"better": BLUE, "worse": VERMILLION}
_HEADS = {  # of the panels, what differs, in two short lines
    ("per_example", "fixed_1"): "learned Λ\n− λ = 1",
    ("per_example", "shuffled"): "learned Λ\n− shuffled Λ",
    ("per_example_refit", "v_as_labels"): "learned Λ, refit\n− V as labels",
    ("per_example_refit", "shuffled_refit"): "learned Λ, refit\n− Λ shuffled",
    ("cross_fit_refit", "v_as_labels"): "cross-fit, refit\n− V as labels",
    ("cross_fit_refit", "cross_fit_refit_shuffled"): "cross-fit, refit\n− Λ shuffled",
    (ENSEMBLE, "v_as_labels"): "its ensemble\n− V as labels",
    (ENSEMBLE, f"{ENSEMBLE}_shuffled"): "its ensemble\n− Λ shuffled",
}
CAPTION = (
    "Paired differences of test errors in points over the seeds, with 95 % intervals; left of zero "
    "the weights win. Blue: better after Holm's correction over all claims of this page; red: "
    "worse; hollow grey: no sure difference. Panels have scales of their own."
)


def headline_picture(
    families: Sequence[Family], claims: Mapping, names: Mapping[str, str]
) -> Picture | None:
    """Draw one panel a question and one line a setting; None without a claim.

    Args:
        families: the settings, in the order of the lines.
        claims: of `headline.claims_of`.
        names: family -> its words.
    """
    asked = [pair[1:] for pair in HEADLINE if pair[1:] in _HEADS]
    shown = [pair for pair in asked if any(key[1:] == pair for key in claims)]
    lines = [f.plan.name for f in families if any(key[0] == f.plan.name for key in claims)]
    if not shown:
        return None
    borders = _borders([f for f in families if f.plan.name in lines])
    if any(key[0] == ALL for key in claims):
        lines, borders = [ALL, *lines], [1, *(place + 1 for place in borders)]

    def paint(figure):
        panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, pair in zip(panels, shown, strict=True):
            for place, name in enumerate(lines):
                if claim := claims.get((name, *pair)):
                    _line(axes, place, claim)
            axes.axvline(0.0, color=FAINT, lw=1, zorder=0)
            axes.set_title(_HEADS[pair], fontsize=8.5)
            axes.tick_params(labelsize=8)
            axes.locator_params(axis="x", nbins=5)
            axes.grid(axis="x")
            for place in borders:
                axes.axhline(place - 0.5, color=FAINT, lw=0.6)
        panels[0].set_yticks(
            range(len(lines)),
            [names.get(name, "mean of all settings") for name in lines],
            fontsize=8,
        )
        panels[0].set_ylim(len(lines) - 0.5, -0.5)
        panels[len(shown) // 2].set_xlabel("difference of test errors, points", fontsize=8.5)

    png = draw(3.0 + 1.5 * len(shown), 1.2 + 0.21 * len(lines), paint)
    return Picture("features", png, "Do weights pay on frozen features?", CAPTION, wide=True)


def _line(axes, place, claim):
    one, colour = claim.difference, _COLOURS.get(claim.reading, FAINT)
    if one.low is not None:
        axes.plot([one.low, one.high], [place, place], color=colour, lw=1.6)
    fill = colour if claim.reading in _COLOURS else "white"
    axes.plot(one.mean, place, "o", ms=4.5, color=colour, mfc=fill)


def _borders(families):
    """Return where another data set or base begins."""
    kinds = [(f.plan.dataset, f.plan.variant.partition(",")[0]) for f in families]
    return [k for k in range(1, len(kinds)) if kinds[k] != kinds[k - 1]]
