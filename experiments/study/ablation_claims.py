"""What the paper says of its ablations (Sec. 4.3), and what our paired intervals say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.pages.statistics import PairedDifference, holm, paired_difference
from experiments.study.ablation_curves import Curves
from experiments.study.ablation_families import (
    CELLS,
    INVERSES,
    LABELS,
    LABELS_OF_SIZES,
    NEUMANN,
    OPTIMIZERS,
    RECIPE_FAMILY,
    SINGLES,
    SIZES,
    WARM_UP,
    N,
    name_of,
)
from experiments.study.families_found import LEARNED, Family
from experiments.study.rows import Row

HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "no reliable difference", "not run"
Families = Mapping[str, Family]  # by name
Runs = Mapping[int, Row]  # by seed


TIE = 1.0  # point: what counts as equal
COMPARED = ("inverse_identity", NEUMANN)  # by the paper; of Table A1's others it says nothing
EARLY = 0.25  # of a run after its first Lambda-step: Fig. 3's earlier iterations
LEVEL = 0.05  # of all claims together
LOWER, SAME, UNSAID = "lower", "same", "unsaid"  # what the paper says of the first error


class Claim(NamedTuple):
    """One comparison, and what the paper says of it."""

    words: str
    difference: PairedDifference | None  # points; None: no pair
    said: str = LOWER
    p: float | None = None  # corrected, see `corrected`; None: not tested, or not yet

    @property
    def is_tested(self) -> bool:
        """Whether it is a test of a difference, which a tie is not."""
        one = self.difference
        return self.said != SAME and one is not None and one.p is not None

    @property
    def verdict(self) -> str:
        """What is sure of `LOWER`: `HOLDS` where it is lower, `FAILS` where higher, else `OPEN`.

        Sure is a p below `LEVEL`, or without one an interval that leaves zero. Of `SAME`: `HOLDS`
        where the interval is wholly within `TIE` of zero, `FAILS` wholly on one side, else `OPEN`.
        """
        if self.difference is None:
            return NOT_RUN
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return OPEN
        if self.said == SAME and low > -TIE and high < TIE:
            return HOLDS
        lower, sure = self.difference.mean < 0.0, not low <= 0.0 <= high
        if self.p is not None:
            sure = self.p < LEVEL
        if self.said == UNSAID:
            return f"not stated; {('here lower' if lower else 'here higher') if sure else OPEN}"
        if not sure:
            return OPEN
        return HOLDS if self.said == LOWER and lower else FAILS


def corrected(sections: Sequence[list[Claim]]) -> list[list[Claim]]:
    """Return the claims of a page with p-values that hold for all of its differences at once.

    A tie is told by its interval alone: it is no test of a difference.
    """
    p = iter(holm([one.difference.p for found in sections for one in found if one.is_tested]))
    return [
        [one._replace(p=next(p)) if one.is_tested else one for one in found] for found in sections
    ]


def tuned(family: Family, optimizer: str) -> dict[int, Row]:
    """Return seed -> the run of an optimizer with the step size that is best on V."""
    return family.least_on_v(tuple(OPTIMIZERS[optimizer]))


def single(family: Family) -> dict[int, Row]:
    """Return seed -> the run of one λ with the step size that is best on V."""
    return family.least_on_v(tuple(SINGLES))


def hessian_claims(families: Families, curves: Curves) -> list[Claim]:
    """Return Fig. 3's: the exact inverse against the others, early, on V and on the test set."""
    family = families.get(RECIPE_FAMILY)
    if family is None:
        return []
    ours, others = family.of(LEARNED), [method for method in INVERSES if method != LEARNED]
    early = paired_difference(*(_early(family.of(m), curves) for m in (LEARNED, NEUMANN)))
    words = f"V, first {EARLY:.0%} of the training after warm-up: exact − {INVERSES[NEUMANN]}"
    found = [Claim(words, early, SAME)]
    for name, column in (("V", "validation_error"), ("test set", "test_error")):
        found += [
            Claim(
                f"{name}: exact − {INVERSES[m]}",
                between(ours, family.of(m), column),
                LOWER if m in COMPARED else UNSAID,
            )
            for m in others
        ]
    return found


def _early(runs, curves):
    """Return seed -> mean error on V over the first part of training, where it is recorded."""
    found = {}
    for seed, row in runs.items():
        curve = curves.get(row.key)
        if curve and curve.options == row.options:
            pairs = zip(curve.steps, curve.errors, strict=True)
            # Before the first Lambda-step all methods are one.
            first = WARM_UP + N
            last = first + EARLY * (row.steps - first)
            values = [error for step, error in pairs if first < step <= last]
            found |= {seed: sum(values) / len(values)} if values else {}
    return found


def single_claims(families: Families) -> list[Claim]:
    """Return Fig. 4 left's: one λ an example against one λ, by the number of labels."""
    found = []
    for count in LABELS:
        if family := families.get(name_of(count, SIZES[-1])):
            difference = between(family.of(LEARNED), single(family), "test_error")
            found.append(Claim(f"{count:,} labels: one λ an example − one λ", difference))
    return found


def optimizer_claims(families: Families) -> list[Claim]:
    """Return Fig. 4 centre's: M-Adam, then SGD, then Adam, by error on V."""
    family = families.get(RECIPE_FAMILY)
    if family is None:
        return []
    runs = {name: tuned(family, name) for name in OPTIMIZERS}
    return [
        Claim(f"V: {one} − {other}", between(runs[one], runs[other], "validation_error"))
        for one, other in (("M-Adam", "SGD"), ("SGD", "Adam"), ("M-Adam", "Adam"))
    ]


def size_claims(families: Families) -> list[Claim]:
    """Return Fig. 4 right's: each |V| against the next smaller, and the largest to the smallest."""
    found = []
    for labels in LABELS_OF_SIZES:
        runs = {size: of_size(families, labels, size) for size in SIZES}
        for small, large in (*itertools.pairwise(SIZES), (SIZES[0], SIZES[-1])):
            if runs[small] or runs[large]:
                words = f"{labels} labels: |V| = {large:,} − |V| = {small:,}"
                found.append(Claim(words, between(runs[large], runs[small], "test_error")))
    return found


def cell_claims(families: Families) -> list[Claim]:
    """Return Table 3's: the middle (N, η) against the four around it, by error on V."""
    family = families.get(RECIPE_FAMILY)
    if family is None:
        return []
    middle = family.of(LEARNED)
    return [
        Claim(
            f"V: {_cell(LEARNED)} − {_cell(method)}",
            between(middle, family.of(method), "validation_error"),
        )
        for method in CELLS
        if method != LEARNED
    ]


def of_size(families: Families, labels: int, size: int, method: str = LEARNED) -> dict[int, Row]:
    """Return seed -> run with so many labels and so large a V; {} without its family."""
    family = families.get(name_of(labels, size))
    return family.of(method) if family else {}


def between(runs: Runs, others: Runs, column: str) -> PairedDifference | None:
    """Return the paired difference of a column, over the seeds where both have it and one source.

    Splits are not asked for: where |V| differs they differ by design.
    """
    seeds = [s for s in runs if s in others and runs[s].source == others[s].source]
    return paired_difference(*(dict(_values(found, column, seeds)) for found in (runs, others)))


def _values(runs, column, seeds) -> Iterator[tuple[int, float]]:
    for seed in seeds:
        if (value := getattr(runs[seed], column)) is not None:
            yield seed, value


def _cell(method):
    n, eta = CELLS[method]
    return f"({n}, {eta:g})"
