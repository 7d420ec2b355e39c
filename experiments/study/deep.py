"""Does agreement with retraining buy accuracy? One table, from the records alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.pages.document import Block, Heading, Paragraph, Table
from experiments.pages.wording import MISSING, error_text
from experiments.study.agreement import Agreement
from experiments.study.deep_families import DEEP, LAST_LAYER, TOP
from experiments.study.families_found import BASE, Family, label
from experiments.study.rows import Key
from experiments.study.tables import difference_text

TITLE = "Deep nets: does agreement with retraining buy accuracy?"
TEXT = (
    "The same nets with influences of more than the last layer, and nets of which a frozen "
    "backbone gives the features and a perceptron on them, all that is trained, is the top group "
    "(no layer of the backbone itself is trained: it would pass all images at every step). "
    "Agreement: Spearman's correlation of a run's influences, at its end and as it computes them, "
    "with how the loss on V moves when the whole net is trained on for a hundred steps with that "
    "example's weight a little larger; mean over seeds, in brackets from the least to the largest, "
    "and the number of seeds. Differences of test errors are in points, paired by seed, with 95 % "
    "t-intervals and the number of seeds; negative favours the method of the row. A dash: not run, "
    "or not measured. Influences of a shuffled control are those that it learns from, before they "
    "are dealt to other examples."
)


def blocks(families: Sequence[Family], agreements: Mapping[Key, Agreement]) -> list[Block]:
    """Return the section; [] where no run of these families is there.

    Args:
        families: of the study, with what was run of them.
        agreements: from `read_agreements`.
    """
    rows = []
    for family in families:
        if family.plan.name in (DEEP, TOP) and family.rows:
            rows += _rows(family, agreements)
    if not rows:
        return []
    columns = (
        "Family", "Method", "Agreement", "Test error, %",
        f"− {label(LAST_LAYER)}", f"− {label(BASE)}",
    )  # fmt: skip
    return [Heading(TITLE), Paragraph(TEXT), Table(columns, tuple(rows), text_columns=(0, 1))]


def _rows(family, agreements):
    """Return the rows of a family, the base of its reference first."""
    bases = [] if family.reference is None else [_row(family.reference, BASE, family, {})]
    return bases + [_row(family, method, family, agreements) for method in family.methods()]


def _row(of, method, family, agreements):
    """Return the row of a method of the family `of`, beside those of `family`."""
    last_layer = None if method == LAST_LAYER else _difference(of, method, family)
    base = None if method == BASE else of.difference(method, BASE)
    errors = error_text(list(of.errors(method).values()))
    agreement = _agreement(of, method, agreements)
    return of.plan.name, label(method), agreement, errors, *map(difference_text, (last_layer, base))


def _difference(of, method, family):
    """Return the difference to the last layer's row, which stands in `family` itself."""
    alone = dataclasses.replace(family, reference=None)
    return dataclasses.replace(of, reference=alone).difference(method, LAST_LAYER)


def _agreement(family, method, agreements):
    values = [
        one.spearman
        for (name, of, seed), one in sorted(agreements.items())
        if (name, of) == (family.plan.name, method) and seed in family.of(method)
    ]
    if not values:
        return MISSING
    between = f"[{min(values):.2f}, {max(values):.2f}]".replace("-", "−")
    return f"{np.mean(values):.2f} {between} ({len(values)})".replace("-", "−")
