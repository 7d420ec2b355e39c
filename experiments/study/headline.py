"""The study on frozen features in one table: do weights pay? Corrected for all that it claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.pages.document import (
    Block,
    Bullet,
    Bullets,
    Cell,
    Document,
    Heading,
    Lead,
    Paragraph,
    Table,
)
from experiments.pages.statistics import PairedDifference, holm, paired_difference
from experiments.pages.wording import MISSING, interval_text, p_text, plural, signed
from experiments.study.families_found import (
    BALANCED,
    CONTAMINATIONS,
    CONTROLS,
    DATASETS,
    HEADLINE,
    OF_BIASED_LABELS,
    Family,
    label,
)
from experiments.study.headline_picture import ALL, headline_picture
from experiments.study.tables import difference_text

PAGE = "features.md"
TITLE = "On frozen features"
LEVEL = 0.05  # of all claims together
SHORT = (
    "A linear head on a frozen net's features, solved to its optimum, where Eq. 6 is exact; "
    "{seeds}, each with its own V. Better and worse: p below 0.05, by Holm's correction for all "
    "{count} differences. CIFAR-10 is a JPEG copy, not comparable with published numbers."
)
CELLS = (
    "Labels + |V|. Differences of test errors in points, paired by seed, with their 95 % "
    "t-intervals, which are not corrected, and Holm's p, over {seeds}; bold where p is below 0.05. "
    "A dash: not both were run. The mean of all settings is taken seed by seed: settings share "
    "data and seeds, so that a seed is one observation."
)
RULES = (
    "The head is linear, on 60 principal components of EfficientNet-Lite0 (images) or 100 of "
    "MiniLM (texts). A step is an exact solution of the whole objective, on all of D and U, and a "
    "Λ-step stands before each but the first; pseudo-labels are renewed every three solutions "
    "(--inner=solve). Options, settings and sizes: experiments/study/feature_families.py.",
    "The number that is compared is the test error of the last solution: there are no noisy "
    "steps to take a median of, and the solutions before it have other weights.",
    "Each seed draws its own D and V. A refit is one run and two rows: what learned the weights, "
    "which the refit's model has not seen, and the model that is trained on all labels with them "
    "(docs/refit.md). Λ per example is compared with λ = 1 on the same labels; after a refit, and "
    "by cross-fit, which both train on V's labels too, with λ = 1 and V as labels. Cross-fit folds "
    "V's labels as well, so it validates on none that it sets aside.",
    "Holm's correction is over all differences of features.md at once: with m of "
    "them the least p is multiplied by m, the next by m − 1 and so on, and none may fall below "
    "one before it. The chance that any of the claims is wrong is then at most 5 %, however they "
    "depend on each other. The tests are Student's, two-sided, of the paired differences. Families "
    "that are secondary (other base algorithms, ablations) make no claims there, and their pages' "
    "intervals are not corrected.",
)


class Claim(NamedTuple):
    """A difference of the page and its p-value, corrected; None where one seed has none."""

    difference: PairedDifference
    p: float | None

    @property
    def reading(self) -> str:
        """What it says of the method."""
        if self.p is None or self.p >= LEVEL:
            return "no sure difference"
        return "better" if self.difference.mean < 0.0 else "worse"


Claims = dict[tuple[str, str, str], Claim]  # by family, method, reference


def claims_of(families: Sequence[Family]) -> Claims:
    """Return all differences of the page that were run, their p-values corrected together."""
    found = {
        (family.plan.name, method, reference): family.difference(method, reference)
        for family in families
        for method, reference in (pair[1:] for pair in _pairs(family))
    }
    biased = [family for family in families if family.of(BALANCED)]
    for pairs, mine in ((HEADLINE, families), (OF_BIASED_LABELS, biased)):
        for _, method, reference in pairs:
            found[ALL, method, reference] = over_settings(mine, method, reference)
    found = {key: one for key, one in found.items() if one}
    tested = [key for key, one in found.items() if one.p is not None]
    corrected = dict(zip(tested, holm([found[key].p for key in tested]), strict=True))
    return {key: Claim(one, corrected.get(key)) for key, one in found.items()}


def _pairs(family):
    return (*HEADLINE, *(OF_BIASED_LABELS if family.of(BALANCED) else ()))


def over_settings(
    families: Sequence[Family], method: str, reference: str
) -> PairedDifference | None:
    """Return the difference of two methods, the mean over settings seed by seed.

    Settings share data, a seed's D and its V: a seed is one observation, not one a setting.

    Returns:
        None where fewer than two settings have both.
    """
    found = [
        {seed: errors[seed] - others[seed] for seed in difference.seeds}
        for family in families
        if (difference := family.difference(method, reference))
        for errors, others in [(family.errors(method), family.errors(reference))]
    ]
    if len(found) < 2:
        return None
    shared = set.intersection(*(set(one) for one in found))
    means = {seed: float(np.mean([one[seed] for one in found])) for seed in sorted(shared)}
    return paired_difference(means, dict.fromkeys(means, 0.0))


def headline_pages(families: Sequence[Family]) -> tuple[list[Block], Document | None]:
    """Return what README.md says of the section, its answers, and the page of its own.

    The page has a picture, a line a setting, and where the labels are biased.

    Args:
        families: on features, with runs; of those that are secondary the page has links alone.

    Returns:
        ([], None) where nothing was run.
    """
    primary = [family for family in families if not family.plan.secondary]
    claims = claims_of(primary)
    front, blocks = [], []
    if claims:
        lead, said = Lead((_short(claims),)), answers(claims)
        front = [Heading(TITLE), lead, said]
        names = {family.plan.name: name_of(family) for family in primary}
        blocks += [lead, headline_picture(primary, claims, names), said]
        blocks += [Heading("Setting by setting"), Paragraph(CELLS.format(seeds=_seeds(claims)))]
        blocks.append(headline_table(primary, claims, HEADLINE))
    if claims and (controls := controls_table(primary)):
        text = (
            "Means over the settings that have both; the intervals are not corrected. λ is tuned "
            "over 0, 0.3, 1 and 3 in all settings of Pseudo-Label and the clean ones of FixMatch, "
            "over 0 and 1 in its others."
        )
        blocks += [Heading("Base and controls"), Paragraph(text), controls]
    if biased := [family for family in primary if family.of(BALANCED)]:
        text = "There, its labels can also weigh by the inverse of their class:"
        table = headline_table(biased, claims, OF_BIASED_LABELS)
        blocks += [Heading("Where D is biased"), Paragraph(text), table]
    if others := [family for family in families if family.plan.secondary]:
        text = "With no claim made here: other base algorithms, and the paper's ablations."
        blocks += [Heading("Beside them"), Paragraph(text), _links(others)]
    subtitle = "Where Eq. 6 is exact: do learned weights pay, and against what?"
    page = Document("The study: on frozen features", subtitle, tuple(blocks)) if blocks else None
    return front, page


def _short(claims):
    return SHORT.format(seeds=_seeds(claims), count=len(claims))


def _seeds(claims):
    counts = sorted({len(one.difference.seeds) for one in claims.values()})
    return " or ".join(map(str, counts)) + " seeds"


def name_of(family: Family) -> str:
    """Return a setting in few words: "CIFAR-10, Pseudo-Label, 40 + 40, 30 % of U corrupt"."""
    plan = family.plan
    base, _, more = plan.variant.partition(" on features")
    sizes = f"{plan.num_labeled:,} + {plan.val_size:,}"
    data = DATASETS.get(plan.dataset, plan.dataset)
    return f"{data}, {base}, {sizes}{CONTAMINATIONS[plan.contamination]}{more}"


def headline_table(
    families: Sequence[Family], claims: Claims, columns: Sequence[tuple[str, str, str]]
) -> Table:
    """Return one row a setting, linked to its page, and one column a comparison.

    Args:
        families: the settings.
        claims: of `claims_of`.
        columns: (question, method, reference).
    """
    rows = []
    whole = [claims.get((ALL, m, r)) for _, m, r in columns]
    if any(whole):
        rows.append((Cell("mean of all settings"), *map(_cell, whole)))
    for family in families:
        found = (claims.get((family.plan.name, m, r)) for _, m, r in columns)
        rows.append((_linked(family), *(_cell(one) for one in found)))
    heads = (f"{label(method)} − {label(reference)}" for _, method, reference in columns)
    return Table(("Setting", *heads), tuple(rows))


def controls_table(families: Sequence[Family]) -> Table | None:
    """Return one row a comparison of `CONTROLS`, the mean over settings; None: there is none."""
    rows = []
    for method, reference in CONTROLS:
        count = sum(family.difference(method, reference) is not None for family in families)
        if one := over_settings(families, method, reference):
            what = f"{label(method)} − {label(reference)}"
            rows.append((what, str(count), difference_text(one)))
    return Table(("Compared", "Settings", "Difference"), tuple(rows)) if rows else None


def answers(claims: Claims) -> Bullets:
    """Return one point a question: in how many settings which answer is sure."""
    points = []
    for question, method, reference in (*HEADLINE, *OF_BIASED_LABELS):
        of = {key[0]: one for key, one in claims.items() if key[1:] == (method, reference)}
        whole = of.pop(ALL, None)
        read = Counter(one.reading for one in of.values())
        if read:
            words = dict.fromkeys(("better", "worse", *read))
            counts = ", ".join(f"{word} in {read[word]}" for word in words)
            names = f"{label(method)}, against {label(reference)}"
            text = f"{names}: {counts} of {plural(read.total(), 'setting')}."
            if whole:
                text += f" Mean of all: {_cell(whole).text}."
            points.append(Bullet(question, text))
    return Bullets(tuple(points))


def _linked(family):
    return Cell(name_of(family), link=f"families/{family.plan.name}.md")


def _cell(claim):
    if claim is None:
        return Cell(MISSING)
    text = signed(claim.difference.mean)
    if claim.p is not None:
        text += f" {interval_text(claim.difference)}, p {p_text(claim.p)}"
    return Cell(text, strong=claim.reading != "no sure difference")


def _links(families):
    rows = tuple(
        (_linked(family), f"{len(family.rows)} of {len(family.plan.options)}")
        for family in families
    )
    return Table(("Setting", "Runs"), rows)
