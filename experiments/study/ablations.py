"""The page of the ablations: each figure beside what the paper says, and what our runs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.pages.document import Block, Bullet, Bullets, Document, Heading, Paragraph, Table
from experiments.pages.wording import (
    MISSING,
    error_text,
    interval_text,
    p_text,
    plural,
    signed,
)
from experiments.study import ablation_claims as claims
from experiments.study import ablation_figures as figures
from experiments.study.ablation_claims import Claim, Families
from experiments.study.ablation_curves import Curves
from experiments.study.ablation_families import CELLS, PREFIX, RECIPE_FAMILY
from experiments.study.families_found import BASE

PAGE = "ablations.md"
TITLE = "The paper's ablations on frozen features"
RULES = (
    "The paper's ablations (Sec. 4.3) train a Wide ResNet by UDA. These train a linear head on 60 "
    "components of EfficientNet-Lite0's features of CIFAR-10 by Pseudo-Label, in batches, with "
    "3,000 unlabeled images: enough seeds for intervals on a CPU. Fig. 3, Fig. 4 centre and Table "
    "3 are of 40 labels and a V of 1,000. Each seed draws its own D and V.",
    "Differences are in points, paired by seed, with two-sided 95 % t-intervals that are not "
    "corrected for their number, and p-values that are, by Holm's method over all differences of "
    "this page; n is the number of seeds. The paper's order holds where p is below "
    f"{claims.LEVEL:g} and the mean below zero, it does not hold where the mean is above, and else "
    "there is no reliable difference, which is no proof of equality: a tie holds where the whole "
    f"interval lies within {claims.TIE:g} point of zero. Errors are medians of the last 20 "
    "evaluations. Λ is learned on V: an error on V says how well it was fitted, a test error what "
    "it is worth.",
)
_HESSIAN = (
    "Sec. 4.3, Fig. 3: early in training the exact inverse of the last layer is on a par with the "
    "Neumann series; in the last iterations it has a lower error on V than the identity and the "
    "Neumann series, and the order carries over to the test set: 4.43 % against 4.51 % and 4.85 %. "
    "Table A1's other methods are named there without a number."
)
_SINGLE = (
    "Sec. 4.3, Fig. 4 left: a weight for each example beats one weight for all, whatever the "
    "number of labels."
)
_OPTIMIZER = (
    "Sec. 4.3, Fig. 4 centre: by error on V M-Adam is best, SGD second and Adam, which moves "
    "weights that were not in the batch, last."
)
_SIZE = (
    "Sec. 4.3, Fig. 4 right: the larger V, the lower the test error, from 64 to 5,000 examples, "
    "with 250 and with 4,000 labels. Pairs share the seed and the test set; D and U are drawn "
    "beside another V."
)
_CELLS = (
    "Sec. 4.3, Table 3: more or fewer inner steps N, and a larger or smaller step η, are worse "
    "than the middle. The paper's N and η with its error on V, and ours in the same ratios:"
)
# Of CELLS, in its order: the paper's (N, eta) and error on V, %.
_PAPER_CELLS = (
    ("(30, 0.01)", "5.13"), ("(300, 0.01)", "4.59"), ("(100, 0.01)", "3.42"),
    ("(100, 0.1)", "6.16"), ("(100, 0.001)", "4.10"),
)  # fmt: skip


def ablations_document(families: Families, curves: Curves) -> Document | None:
    """Return the page of whatever was run; None where nothing was.

    Args:
        families: name -> family with its rows, others than the ablations' too.
        curves: of the record.
    """
    there = {name: one for name, one in families.items() if name.startswith(PREFIX)}
    if not there:
        return None
    inverse, tuning = (
        make(there, curves) for make in (figures.inverse_picture, figures.tuning_picture)
    )
    sections = _sections(there, curves)
    blocks: list[Block] = [Bullets((Bullet("The study.", "", "README.md"),))]
    blocks += [*map(Paragraph, RULES), Heading("In short"), _short(sections)]
    for number, (title, statement, found) in enumerate(sections):
        picture = {0: inverse, 1: tuning}.get(number)
        blocks += [Heading(title), Paragraph(statement), *([picture] if picture else [])]
        if number == len(sections) - 1 and RECIPE_FAMILY in there:
            blocks.append(_cells(there[RECIPE_FAMILY]))
        blocks += [_table(found)] if found else [Paragraph("Not run.")]
    done, asked = (sum(len(getattr(f, a)) for f in there.values()) for a in ("rows", "missing"))
    missing = f", {plural(asked, 'method')} with seeds missing" if asked else ""
    return Document(TITLE, f"{plural(done, 'run')} of the ablations{missing}.", tuple(blocks))


def _sections(there, curves) -> list[tuple[str, str, list[Claim]]]:
    """Return (title, the paper's statement, our claims) of each figure."""
    texts = (
        ("Fig. 3: inverse Hessians", _HESSIAN),
        ("Fig. 4 left: one λ, or one an example", _SINGLE),
        ("Fig. 4 centre: optimizers of Λ", _OPTIMIZER),
        ("Fig. 4 right: size of V", _SIZE),
        ("Table 3: N and η", _CELLS),
    )
    found = claims.corrected(
        [
            claims.hessian_claims(there, curves),
            claims.single_claims(there),
            claims.optimizer_claims(there),
            claims.size_claims(there),
            claims.cell_claims(there),
        ]
    )
    return [(*text, one) for text, one in zip(texts, found, strict=True)]


def _short(sections: Sequence[tuple[str, str, list[Claim]]]) -> Bullets:
    points = []
    for title, _, found in sections:
        counts = Counter(claim.verdict for claim in found)
        text = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items()) or "not run"
        points.append(Bullet(f"{title}.", f"{text} (of {plural(len(found), 'comparison')})."))
    return Bullets(tuple(points))


def _table(found: Sequence[Claim]) -> Table:
    columns = ("Compared", "Difference", "95 % interval", "p", "n", "The paper's statement")
    return Table(columns, tuple(map(_line, found)), text_columns=(0, 5))


def _line(claim):
    difference = claim.difference
    mean = signed(difference.mean) if difference else MISSING
    count = str(len(difference.seeds)) if difference else "0"
    p = MISSING if claim.p is None else p_text(claim.p)
    return claim.words, mean, interval_text(difference), p, count, claim.verdict


def _cells(family) -> Table:
    rows = [
        (f"({n}, {eta:g})", *_errors(family, method), *paper)
        for (method, (n, eta)), paper in zip(CELLS.items(), _PAPER_CELLS, strict=True)
    ]
    rows.append(("λ = 1", *_errors(family, BASE), MISSING, MISSING))
    columns = ("Ours (N, η)", "Error on V, %", "Test error, %", "The paper's", "its error on V, %")
    return Table(columns, tuple(rows))


def _errors(family, method):
    rows = family.of(method).values()
    on_v = [row.validation_error for row in rows if row.validation_error is not None]
    return error_text(on_v), error_text([row.test_error for row in rows])
