"""The tables of the study: errors, paired differences, λ's movement, detection, V as labels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from experiments.pages.document import Table
from experiments.pages.statistics import PairedDifference, mean_std
from experiments.pages.wording import (
    MISSING,
    error_text,
    interval_text,
    left_out,
    share_text,
    signed,
    spread_text,
)
from experiments.study.families_found import (
    BASE,
    EVERY_STEP,
    LEARNED,
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
    if difference.high < 0.0:
        return better
    return worse if difference.low > 0.0 else "no reliable difference"


def validation_table(families: Sequence[Family]) -> Table:
    """Return one row a family that learned Λ on V and trained on V: which is better?"""
    rows = []
    for family in families:
        if not (family.of(LEARNED) and family.of(V_AS_LABELS)):
            continue
        difference = family.difference(LEARNED, V_AS_LABELS)
        methods = (BASE, TUNED, LEARNED, EVERY_STEP, V_AS_LABELS)
        methods += ("cross_fit", "cross_fit_v_as_labels")
        errors = [family.errors(method) for method in methods]
        rows.append(
            (
                family.title,
                *(error_text(list(found.values())) for found in errors),
                difference_text(difference),
                reading(difference, "learn Λ on V", "train on V"),
            )
        )
    columns = ("Setting", label(BASE), label(TUNED), label(LEARNED), "every step scored")
    columns += (
        label(V_AS_LABELS),
        "cross-fit, no V",
        "cross-fit, V as labels",
        "Λ − V as labels",
        "Reading",
    )
    return Table(columns, tuple(rows), text_columns=(0, 9))


def movement_table(families: Sequence[Family]) -> Table:
    """Return how far and how often λ moved."""
    gets = [operator.attrgetter(name) for name in ("lam_mean", "lam_std", "lam_low", "lam_high")]
    rows = []
    for family, method, runs in _with_weights(families):
        rows.append(
            (
                family.title,
                label(method),
                *(number(values(runs, get)) for get in gets),
                share_text(values(runs, lambda row: row.between_classes)),
                share_text(values(runs, lambda row: row.moved)),
                number(values(runs, lambda row: row.visits), 1),
                number(values(runs, lambda row: row.lambda_steps), 0),
                share_text(values(runs, lambda row: row.lambda_share)),
            )
        )
    columns = (
        "Setting",
        "Method",
        "λ mean",
        "λ std",
        "λ 5 %",
        "λ 95 %",
        "between classes",
        "moved",
    )
    return Table(
        (*columns, "updates of one", "Λ-steps", "time on Λ"), tuple(rows), text_columns=(0, 1)
    )


_MEASURED = {
    "influence_abs_mean": "mean of the absolute score",
    "cosine_exact_identity": "cosine to identity",
    "hessian_over_damping": "H over damping",
    "stale_fresh_spearman": "ρ stale, fresh",
    "halves_spearman": "ρ halves of V",
    "members_spearman": "ρ two models",
}


def measurement_table(families: Sequence[Family]) -> Table:
    """Return what the Λ-steps said of themselves: mean over runs of the median over Λ-steps."""
    rows = [
        (family.title, label(method), *(_medians(runs, name) for name in _MEASURED))
        for family, method, runs in _with_weights(families)
    ]
    columns = ("Setting", "Method", *_MEASURED.values())
    return Table(columns, tuple(rows), text_columns=(0, 1))


def _medians(runs, name):
    found = values(runs, lambda row: row.medians.get(name))
    return f"{mean_std(found).mean:.3g}" if found else MISSING


def groups_table(families: Sequence[Family]) -> Table:
    """Return λ by group of U: mean over runs of the groups' means and deviations."""
    rows = []
    for family, method, runs in _with_weights(families):
        for group in group_names(runs):
            having = [row for row in runs if group in row.lam_by_group]
            found = [row.lam_by_group[group] for row in having]
            sizes = [row.lam_by_group[group][0] / row.num_unlabeled for row in having]
            rows.append(
                (
                    family.title,
                    label(method),
                    group,
                    share_text(sizes),
                    number([one[1] for one in found], 3),
                    number([one[2] for one in found], 3),
                    share_text([one[3] for one in found]),
                )
            )
    columns = ("Setting", "Method", "Group", "of U", "λ mean", "λ std within", "moved")
    return Table(columns, tuple(rows), text_columns=(0, 1, 2))


def detection_table(families: Sequence[Family]) -> Table:
    """Return the AUROC of −λ for what should weigh little, beside confidence and loss."""
    rows = []
    for family, method, runs in _with_weights(families):
        for what in dict.fromkeys(name.partition("/")[0] for row in runs for name in row.auroc):
            areas = (
                number(values(runs, lambda row, key=f"{what}/{score}": row.auroc.get(key)), 3)
                for score in ("lam", "confidence", "loss")
            )
            rows.append((family.title, label(method), what, *areas))
    columns = ("Setting", "Method", "Finds", "−λ", "1 − confidence", "loss")
    return Table(columns, tuple(rows), text_columns=(0, 1, 2))


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


def _with_weights(families: Sequence[Family]):
    for family in families:
        for method in family.methods():
            runs = list(family.of(method).values()) if method != TUNED else []
            if runs and runs[0].lam_mean is not None:
                yield family, method, runs


def values(runs, get: Get) -> list[float]:
    """Return the numbers of runs that have one."""
    return [value for value in map(get, runs) if value is not None]


def number(found: Sequence[float], digits: int = 2) -> str:
    """Return the mean ± standard deviation over runs; a dash for none."""
    return spread_text(mean_std(found), digits) if len(found) else MISSING
