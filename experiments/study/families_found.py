"""The study's families: what was asked for, what is there, and the rows that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.pages.statistics import PairedDifference, paired_difference
from experiments.runs.pairs import unlike_pairs
from experiments.study.rows import Key, Row

BASE, TUNED, V_AS_LABELS, LEARNED = "fixed_1", "tuned", "v_as_labels", "per_example"
EVERY_STEP = "per_example_every_step"
REFIT, CROSS_FIT_REFIT = "per_example_refit", "cross_fit_refit"
ENSEMBLE = "cross_fit_v_as_labels"  # of a cross-fit on all labels, before its refit
REFIT_BALANCED, CROSS_FIT_BALANCED = f"{REFIT}_balanced", f"{CROSS_FIT_REFIT}_balanced"
BALANCED, LABELS_ALONE = "v_as_labels_balanced", "supervised_v_as_labels"
SINGLES = "/single models"  # behind a cross-fit method: the mean error of its two models
LABELS = {
    "supervised": "supervised (λ = 0)",
    "supervised_v_as_labels": "supervised, V as labels",
    BASE: "base (λ = 1)",
    TUNED: "λ tuned on V",
    V_AS_LABELS: "base, V as labels",
    "single": "one learned λ",
    LEARNED: "Λ per example",
    EVERY_STEP: "Λ per example, every step scored",
    "shuffled": "Λ shuffled (control)",
    "shuffled_every_step": "Λ shuffled, every step scored (control)",
    "confidence": "confidence as λ (control)",
    "oracle": "oracle: wrong pseudo-labels dropped",
    "cross_fit": "Λ by cross-fit, no V: ensemble of two",
    "cross_fit_fixed": "λ = 1, two models on half the labels: ensemble",
    "cross_fit_fixed_v_as_labels": "λ = 1, V as labels, two models: ensemble",
    ENSEMBLE: "Λ by cross-fit, V as labels: ensemble of two",
    f"{ENSEMBLE}_shuffled": "Λ by cross-fit, shuffled: ensemble of two (control)",
    "last_layer": "Λ, Eq. 6 of the last layer",
    "whole_cg": "Λ, Eq. 6 of the whole net, conjugate gradient",
    "whole_ekfac": "Λ, Eq. 6 of the whole net, EK-FAC",
    "whole_cg_shuffled": "Λ of the whole net, conjugate gradient, shuffled (control)",
    "random": "Λ of an example drawn at random (control)",
    "oracle_v_as_labels": "oracle, V as labels",
    BALANCED: "base, V as labels, classes balanced",
    REFIT: "Λ, then a refit on all labels",
    "shuffled_refit": "Λ shuffled, then a refit (control)",
    CROSS_FIT_REFIT: "Λ by cross-fit, then a refit",
    "cross_fit_refit_shuffled": "Λ by cross-fit, shuffled, then a refit (control)",
    "per_example_balanced": "Λ per example, classes balanced",
    f"{ENSEMBLE}_balanced": "Λ by cross-fit, V as labels, balanced: ensemble of two",
    REFIT_BALANCED: "Λ, then a refit, classes balanced",
    CROSS_FIT_BALANCED: "Λ by cross-fit, then a refit, classes balanced",
}
# What is claimed on frozen features: question, method, reference.
HEADLINE = (
    ("Does the base algorithm gain from U?", BASE, "supervised"),
    ("Do learned weights beat λ = 1 on the same labels?", LEARNED, BASE),
    ("Does it matter which example has which weight?", LEARNED, "shuffled"),
    ("Are they worth more than V's labels?", REFIT, V_AS_LABELS),
    ("And these, on other examples?", REFIT, "shuffled_refit"),
    ("Does cross-fit, which spends no label, beat λ = 1 on all labels?", CROSS_FIT_REFIT,
     V_AS_LABELS),
    ("And its weights, shuffled?", CROSS_FIT_REFIT, "cross_fit_refit_shuffled"),
    ("Does its ensemble, before the refit, beat λ = 1 on all labels? (Asked when its errors had "
     "been seen.)", ENSEMBLE, V_AS_LABELS),
    ("And its weights, shuffled there?", ENSEMBLE, f"{ENSEMBLE}_shuffled"),
)  # fmt: skip
# Beside them, as means over the settings that have both; no claim is made of one setting.
CONTROLS = (
    (V_AS_LABELS, LABELS_ALONE), (V_AS_LABELS, BASE), (V_AS_LABELS, LEARNED),
    ("oracle", BASE), ("oracle_v_as_labels", V_AS_LABELS), (TUNED, BASE), (LEARNED, TUNED),
    ("single", BASE), (LEARNED, "single"), ("confidence", BASE), ("random", BASE),
    ("cross_fit_fixed_v_as_labels", V_AS_LABELS), (ENSEMBLE, "cross_fit_fixed_v_as_labels"),
)  # fmt: skip
OF_BIASED_LABELS = (
    ("Where D is biased, do they beat balanced classes?", REFIT, BALANCED),
    ("Does cross-fit beat them?", CROSS_FIT_REFIT, BALANCED),
    ("And labels alone, V's too?", REFIT, LABELS_ALONE),
    ("Does cross-fit beat those?", CROSS_FIT_REFIT, LABELS_ALONE),
    ("With classes balanced in both, do weights add to it?", REFIT_BALANCED, BALANCED),
    ("Does cross-fit?", CROSS_FIT_BALANCED, BALANCED),
)
DATASETS = {
    "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "imdb": "IMDb",
    "rotten_tomatoes": "Rotten Tomatoes",
}  # fmt: skip
CONTAMINATIONS = {
    "none": "",
    "foreign": ", half of U of foreign classes",
    "corrupt": ", 30 % of U corrupt",
    "imbalanced": ", classes of U imbalanced 1:10",
}
# The one unofficial copy that there is of a set whose results are published.
_UNOFFICIAL = "JPEG copy, not comparable with published numbers"


@dataclass(frozen=True)
class FamilyPlan:
    """Runs that differ in method and seed alone.

    Attributes:
        options: (method, seed) -> hash of its options; some methods have fewer seeds than others.
        variant: what a secondary family varies, such as "uda"; "" for nothing but sizes.
        secondary: run as far as time goes.
        on_features: a head on frozen features; the others are nets, with answers of their own.
        reference: family with the rows to compare with, where this one has none; "" for itself.
    """

    name: str
    dataset: str
    contamination: str
    num_labeled: int
    val_size: int
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Mapping[tuple[str, int], str]
    secondary: bool = False
    reference: str = ""
    variant: str = ""
    on_features: bool = False

    def seeds_of(self, method: str) -> list[int]:
        """Return the seeds a method is to be run with; of the tuned scalar those of its grid."""
        known = [seed for seed in self.seeds if (method, seed) in self.options]
        return known or list(self.seeds)


@dataclass(frozen=True, eq=False)
class Family:
    """A plan and the runs of it that are there."""

    plan: FamilyPlan
    rows: Mapping[tuple[str, int], Row]
    reference: Family | None = field(default=None)

    @property
    def data(self) -> str:
        """The data set's name, marked where it is no official copy."""
        unofficial = any("unofficial copy" in row.source for row in self.rows.values())
        name = DATASETS.get(self.plan.dataset, self.plan.dataset)
        return f"{name}, {_UNOFFICIAL}" if unofficial else name

    @property
    def title(self) -> str:
        """E.g. "Fashion-MNIST: 40 labels, |V| = 160, 30 % of U corrupt"."""
        plan = self.plan
        sizes = f"{plan.num_labeled:,} labels, |V| = {plan.val_size:,}"
        text = f"{self.data}: {sizes}{CONTAMINATIONS[plan.contamination]}"
        return f"{text} ({plan.variant})" if plan.variant else text

    @property
    def missing(self) -> dict[str, list[int]]:
        """Method -> seeds that were not run, where there are any."""
        found = {
            method: [seed for seed in self.plan.seeds_of(method) if (method, seed) not in self.rows]
            for method in self.plan.methods
        }
        return {method: seeds for method, seeds in found.items() if seeds}

    def methods(self) -> list[str]:
        """Return methods with a run, in the plan's order, with the tuned scalar's row."""
        found = [m for m in self.plan.methods if self.of(m)]
        if self.of(TUNED):
            last = max(found.index(m) for m in self.grid())
            found.insert(last + 1, TUNED)
        return found

    def grid(self) -> list[str]:
        """Return the scalar weights that are tuned: λ = 0 and the fixed ones."""
        return [m for m in self.plan.methods if m == "supervised" or m.startswith("fixed_")]

    def of(self, method: str) -> dict[int, Row]:
        """Return seed -> run of a method, or the run that was chosen as the tuned scalar."""
        if method == TUNED:
            return self.least_on_v(self.grid())
        return {s: self.rows[method, s] for s in self.plan.seeds if (method, s) in self.rows}

    def least_on_v(self, methods: Sequence[str]) -> dict[int, Row]:
        """Return seed -> the run of `methods` with the least error on V, ties by the loss.

        Seeds without all of them have none.
        """
        found = {}
        for seed in self.plan.seeds if len(methods) > 1 else ():
            runs = [self.rows.get((method, seed)) for method in methods]
            if all(run is not None and run.validation_error is not None for run in runs):
                found[seed] = min(runs, key=lambda run: (run.validation_error, run.validation_loss))
        return found

    def errors(self, method: str) -> dict[int, float]:
        """Return seed -> test error in percent; of single models with `SINGLES` behind the name."""
        name, _, singles = method.partition("/")
        found = self.of(name)
        if not singles:
            return {seed: row.test_error for seed, row in found.items()}
        values = {seed: row.single_test_error for seed, row in found.items()}
        return {seed: value for seed, value in values.items() if value is not None}

    def difference(self, method: str, reference: str) -> PairedDifference | None:
        """Return the error of `method` minus that of `reference` over the pairs; None: no pair."""
        unlike = self.unlike(method, reference)
        mine = {seed: e for seed, e in self.errors(method).items() if seed not in unlike}
        return paired_difference(mine, (self.reference or self).errors(reference))

    def unlike(self, method: str, reference: str) -> dict[int, list[str]]:
        """Return seed -> in what the two runs differ, for the seeds whose runs are no pair."""
        ours, others = self.of(method.partition("/")[0]), (self.reference or self).of(reference)
        return unlike_pairs(ours, others)

    def choices(self) -> str:
        """Return which scalar V chose: "seed 1: 0.3, seed 2: 1"."""
        return ", ".join(f"seed {seed}: {scalar(row)}" for seed, row in self.of(TUNED).items())


def scalar(row: Row) -> str:
    """Return the λ of a run of the grid, as its folder says it."""
    return "0" if row.method == "supervised" else row.method.removeprefix("fixed_")


def label(method: str) -> str:
    """Return a method in words."""
    name, _, singles = method.partition("/")
    if singles:
        return "– mean error of its single models"
    if name.startswith("fixed_") and name not in LABELS:
        return f"λ = {name.removeprefix('fixed_')}"
    return LABELS.get(name, name)


def families(
    plans: Iterable[FamilyPlan], rows: Mapping[Key, Row]
) -> tuple[list[Family], list[Key]]:
    """Sort rows into the plan.

    Returns:
        (families in the plan's order, keys of rows that the plan does not ask for with these
        options; they are counted nowhere).
    """
    found: dict[str, Family] = {}
    used = set()
    for plan in plans:
        mine = {
            key[1:]: row
            for key, row in rows.items()
            if key[0] == plan.name and plan.options.get(key[1:]) == row.options
        }
        used |= {(plan.name, *key) for key in mine}
        found[plan.name] = Family(plan, mine, found.get(plan.reference))
    return list(found.values()), sorted(rows.keys() - used)
