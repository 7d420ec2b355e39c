"""The tables of the study: the answers, errors, paired differences, λ's movement, detection."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence

from experiments.pages.document import Bullet, Bullets, Cell, Table
from experiments.pages.statistics import PairedDifference, mean_std
from experiments.pages.wording import (
    MISSING,
    error_text,
    interval_text,
    left_out,
    plural,
    share_text,
    signed,
    spread_text,
)
from experiments.study.families_found import (
    BASE,
    EVERY_STEP,
    HEADLINE,
    LEARNED,
    OF_BIASED_LABELS,
    SINGLES,
    TUNED,
    V_AS_LABELS,
    Family,
    label,
    scalar,
)
from experiments.study.rows import Row, group_names

DAGGER = "† Optimistic: V chose the evaluation and had taught the run something before."
Get = Callable[[Row], float | None]
# What a reader wants to know first: question, method, reference.
QUESTIONS = (
    ("Does the base algorithm gain from U?", BASE, "supervised"),
    ("Do learned weights beat λ = 1?", LEARNED, BASE),
    ("And with every step scored?", EVERY_STEP, BASE),
    ("Do they beat one scalar tuned on the same V?", EVERY_STEP, TUNED),
    ("Does it matter which example has which weight?", LEARNED, "shuffled"),
    ("Should V rather be trained on?", V_AS_LABELS, LEARNED),
    ("What if every wrong pseudo-label were dropped?", "oracle", BASE),
)
COMPARISONS = (
    *((method, reference) for _, method, reference in QUESTIONS),
    (LEARNED, TUNED), (LEARNED, "single"), (EVERY_STEP, LEARNED),
    (EVERY_STEP, "shuffled_every_step"), ("cross_fit", BASE), ("cross_fit", "cross_fit_fixed"),
    ("cross_fit_v_as_labels", "cross_fit_fixed_v_as_labels"), (LEARNED, V_AS_LABELS),
    *(pair[1:] for pair in (*HEADLINE[2:], *OF_BIASED_LABELS)),
)  # fmt: skip


def results_table(family: Family) -> Table:
    """Return one row a method: test error by both rules, without EMA, error on V, runs."""
    reference = family.reference
    rows = [_result(reference, m) for m in (BASE, TUNED, LEARNED) if reference and reference.of(m)]
    for method in family.methods():
        rows.append(_result(family, method))
        if family.errors(method + SINGLES):
            errors = list(family.errors(method + SINGLES).values())
            count = f"{len(errors)} of {len(family.plan.seeds_of(method))}"
            rows.append((label(method + SINGLES), error_text(errors), *[MISSING] * 3, count))
    notes = [DAGGER] if any("†" in cell for row in rows for cell in row) else []
    if reference and rows:
        notes.append(
            f"The rows of {reference.plan.name} are over all its seeds; differences are paired."
        )
    if family.of(TUNED):
        grid = ", ".join(scalar(next(iter(family.of(m).values()))) for m in family.grid())
        notes.append(f"λ tuned on V: of {{{grid}}} the least error on V. {family.choices()}.")
    columns = ("Method", "Test error, %", "Best on V, %", "Without EMA, %", "Error on V, %", "Runs")
    return Table(columns, tuple(rows), notes=tuple(notes))


def _result(family: Family, method: str) -> tuple[str, ...]:
    runs = family.of(method)
    best = error_text(values(runs.values(), lambda row: row.test_error_best_on_validation))
    if any(row.best_on_validation_is_optimistic for row in runs.values()):
        best += " †"
    return (
        label(method),
        error_text(list(family.errors(method).values())),
        best,
        error_text(values(runs.values(), lambda row: row.raw_test_error)),
        error_text(values(runs.values(), lambda row: row.validation_error)),
        f"{len(runs)} of {len(family.plan.seeds_of(method))}",
    )


def differences_table(family: Family) -> Table:
    """Return one row a method: paired difference to the base, the tuned scalar and V as labels.

    Those of the three that were run.
    """
    references = [r for r in (BASE, TUNED, V_AS_LABELS) if family.errors(r)]
    methods = family.methods()
    methods += [m + SINGLES for m in methods if family.errors(m + SINGLES)]
    rows = []
    for method in methods:
        found = [None if r == method else family.difference(method, r) for r in references]
        if any(found):
            name = method.partition("/")[0]
            shown = label(method) if name == method else f"{label(name)}, single models"
            rows.append((shown, *map(difference_text, found)))
    columns = ("Method", *(f"− {label(name)}" for name in references))
    pairs = [(m, r, family.unlike(m, r)) for m in family.methods() for r in references]
    notes = [f"{label(m)} − {label(r)}: {left_out(unlike)}." for m, r, unlike in pairs if unlike]
    return Table(columns, tuple(rows), notes=tuple(notes))


def difference_text(difference: PairedDifference | None) -> str:
    """Return "−1.20 [−2.31, −0.09] (5)", the number of seeds in round brackets."""
    if difference is None:
        return MISSING
    interval = f" {interval_text(difference)}" if difference.low is not None else ""
    return f"{signed(difference.mean)}{interval} ({len(difference.seeds)})"


def reading(difference: PairedDifference | None, better: str, worse: str) -> str:
    """Return what the 95 % interval says: `better` wholly below zero, `worse` wholly above."""
    if difference is None:
        return "not run"
    if difference.low is None or difference.high is None:
        return "one seed, no interval"
    if not is_sure(difference):
        return "no reliable difference"
    return better if difference.high < 0.0 else worse


def is_sure(difference: PairedDifference) -> bool:
    """Return whether the 95 % interval, where there is one, leaves zero."""
    return difference.low is not None and (difference.high < 0.0 or difference.low > 0.0)


def comparisons_table(family: Family) -> Table:
    """Return one row a comparison of two methods that were run: difference, and what it says."""
    rows = []
    for method, reference in COMPARISONS:
        if difference := family.difference(method, reference):
            name = f"{label(method)} − {label(reference)}"
            rows.append((name, difference_text(difference), reading(difference, "better", "worse")))
    return Table(("Comparison", "Difference", "Reading"), tuple(rows), text_columns=(0, 2))


def overview_table(families: Sequence[Family]) -> Table:
    """Return one row a family, linked to its page: the differences behind the answers, runs."""
    rows = []
    for family in families:
        found = [family.difference(method, reference) for _, method, reference in QUESTIONS]
        cells = [
            Cell(difference_text(one), strong=one is not None and is_sure(one)) for one in found
        ]
        count = f"{len(family.rows)} of {len(family.plan.options)}"
        title = Cell(family.title, link=f"families/{family.plan.name}.md")
        rows.append((title, *cells, count))
    heads = (f"{label(method)} − {label(reference)}" for _, method, reference in QUESTIONS)
    return Table(("Setting", *heads, "Runs"), tuple(rows))


def answers(families: Sequence[Family]) -> Bullets:
    """Return one point a question: in how many settings the interval says what."""
    points = []
    for question, method, reference in QUESTIONS:
        found = [family.difference(method, reference) for family in families]
        read = Counter(reading(one, "better", "worse") for one in found if one)
        words = dict.fromkeys(("better", "worse", *read))
        counts = ", ".join(f"{word} in {read[word]}" for word in words)
        names = f"{label(method)}, against {label(reference)}"
        if read:
            text = f"{names}: {counts} of {plural(read.total(), 'setting')}."
            points.append(Bullet(question, text))
    return Bullets(tuple(points))


def movement_table(family: Family) -> Table:
    """Return how far and how often λ moved."""
    gets = [operator.attrgetter(name) for name in ("lam_mean", "lam_std", "lam_low", "lam_high")]
    rows = tuple(
        (
            label(method),
            *(number(values(runs, get)) for get in gets),
            share_text(values(runs, lambda row: row.between_classes)),
            share_text(values(runs, lambda row: row.moved)),
            number(values(runs, lambda row: row.visits), 1),
            number(values(runs, lambda row: row.lambda_steps), 0),
            share_text(values(runs, lambda row: row.lambda_share)),
        )
        for method, runs in _with_weights(family)
    )
    columns = (
        "Method", "λ mean", "λ std", "λ 5 %", "λ 95 %", "between classes", "moved",
        "updates of one", "Λ-steps", "time on Λ",
    )  # fmt: skip
    return Table(columns, rows)


_MEASURED = {
    "influence_abs_mean": "mean of the absolute score",
    "cosine_exact_identity": "cosine to identity",
    "hessian_over_damping": "H over damping",
    "stale_fresh_spearman": "ρ stale, fresh",
    "halves_spearman": "ρ halves of V",
    "members_spearman": "ρ two models",
}


def measurement_table(family: Family) -> Table:
    """Return what the Λ-steps said of themselves: mean over runs of the median over Λ-steps."""
    rows = tuple(
        (label(method), *(_medians(runs, name) for name in _MEASURED))
        for method, runs in _with_weights(family)
    )
    return Table(("Method", *_MEASURED.values()), rows)


def _medians(runs, name):
    found = values(runs, lambda row: row.medians.get(name))
    return f"{mean_std(found).mean:.3g}" if found else MISSING


def groups_table(family: Family) -> Table:
    """Return λ by group of U: mean over runs of the groups' means and deviations."""
    rows = []
    for method, runs in _with_weights(family):
        for group in group_names(runs):
            having = [row for row in runs if group in row.lam_by_group]
            found = [row.lam_by_group[group] for row in having]
            sizes = [row.lam_by_group[group][0] / row.num_unlabeled for row in having]
            rows.append(
                (
                    label(method),
                    group,
                    share_text(sizes),
                    number([one[1] for one in found], 3),
                    number([one[2] for one in found], 3),
                    share_text([one[3] for one in found]),
                )
            )
    columns = ("Method", "Group", "of U", "λ mean", "λ std within", "moved")
    return Table(columns, tuple(rows), text_columns=(0, 1))


def detection_table(family: Family) -> Table:
    """Return the AUROC of −λ for what should weigh little, beside confidence and loss."""
    rows = []
    for method, runs in _with_weights(family):
        for what in dict.fromkeys(name.partition("/")[0] for row in runs for name in row.auroc):
            areas = (
                number(values(runs, lambda row, key=f"{what}/{score}": row.auroc.get(key)), 3)
                for score in ("lam", "confidence", "loss")
            )
            rows.append((label(method), what, *areas))
    columns = ("Method", "Finds", "−λ", "1 − confidence", "loss")
    return Table(columns, tuple(rows), text_columns=(0, 1))


def missing_table(families: Sequence[Family]) -> Table:
    """Return what was asked for and not run, family by family."""
    rows = []
    for family in families:
        if not family.missing:
            continue
        count = sum(map(len, family.missing.values()))
        total = len(family.plan.options)
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for method, seeds in family.missing.items():
            by_seeds.setdefault(tuple(seeds), []).append(method)
        what = "; ".join(
            f"{', '.join(names)} (seed {', '.join(map(str, seeds))})"
            for seeds, names in by_seeds.items()
        )
        kind = "secondary" if family.plan.secondary else "primary"
        what = "all" if count == total else what
        rows.append((family.plan.name, kind, f"{count} of {total}", what))
    columns = ("Family", "Kind", "Not run", "Which")
    return Table(columns, tuple(rows), text_columns=(0, 1, 3))


def _with_weights(family: Family):
    for method in family.methods():
        runs = list(family.of(method).values()) if method != TUNED else []
        if runs and runs[0].lam_mean is not None:
            yield method, runs


def values(runs, get: Get) -> list[float]:
    """Return the numbers of runs that have one."""
    return [value for value in map(get, runs) if value is not None]


def number(found: Sequence[float], digits: int = 2) -> str:
    """Return the mean ± standard deviation over runs; a dash for none."""
    return spread_text(mean_std(found), digits) if len(found) else MISSING
