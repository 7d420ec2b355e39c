"""The one list of cells: table, row, column, the paper's number, and the options of each.

A script of experiments/cells/ is a cell written out (`scripts.py`; a test compares the two).
Knows nothing of TensorFlow, so that listing the cells takes no time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from experiments.paper import text_cells
from experiments.paper.cell import BENCHMARK, FIXED, LEARNED, THREE, VALIDATION, Cell
from experiments.paper.numbers import DATASETS, FIG_3, LABELS, TABLE_3, table_1

# Row of Table 1 -> end of the script's name, options, how its number was chosen (facts known).
_COPIED = "copied from earlier work; rule not stated"
_MEDIAN = "median of the last 20 evaluations, mean of 5 runs"
_CTA = {"algorithm": "fixmatch", "strong_augment": "ctaugment"}
_UDA = {"algorithm": "uda", "uda_version": "2019"}
ROWS = {
    "Pseudo-Label": ("pseudo_label", {"algorithm": "pseudo_label"} | FIXED, _COPIED),
    "VAT": ("vat", {"algorithm": "vat"} | FIXED, _COPIED),
    "Mean-Teacher": ("mean_teacher", {"algorithm": "mean_teacher"} | FIXED, _COPIED),
    "MixMatch": ("mixmatch", {"algorithm": "mixmatch"} | FIXED, _COPIED),
    "UDA": ("uda", _UDA | FIXED, "copied from UDA: tested once, at the last checkpoint"),
    "Re-MixMatch": (
        "remixmatch",
        {"algorithm": "remixmatch", "strong_augment": "ctaugment"} | FIXED,
        _COPIED,
    ),
    "FixMatch (CTA)": ("fixmatch_ctaugment", _CTA | FIXED, _COPIED),
    "FixMatch* (CTA)": ("fixmatch_ctaugment_rerun", _CTA | FIXED, _MEDIAN),
    "Ours (UDA)": ("uda_ours", _UDA | LEARNED, "rule not stated, mean of 5 runs"),
    "Ours (FixMatch, CTA)": ("fixmatch_ctaugment_ours", _CTA | LEARNED, _MEDIAN),
}
BASES = {"uda_ours": "uda", "fixmatch_ctaugment_ours": "fixmatch_ctaugment_rerun"}
_TFDS = {"cifar10": "cifar10", "svhn": "svhn_cropped"}
_FIVE_AT_250 = "Weights start at 5 with 250 labels (App. D)."
_FROM_FIVE = "uda_lambda_5"  # the control of learned weights that start at 5
_SAME_START = (
    "Not in the paper: Ours starts at 5 with 250 labels. Beside this it differs in learning alone."
)
_UDA_4000 = "The paper does not say how many labels: we take the 4,000 of Table 3."
_SVHN = "SVHN without its extra set; the paper does not say which."
_MISPLACED = "The paper prints under 4,000 labels what may be FixMatch's number for 1,000."


def _data(dataset: str, labels: int) -> dict:
    """Return the options of a column; SVHN's digits are not mirrored, as upstream."""
    options = {"dataset": _TFDS[dataset], "num_labeled": labels}
    return options | ({"flip": "false"} if dataset == "svhn" else {})


def _start(options: dict, labels: int) -> dict:
    return {"lambda_init": 5} if options["algorithm"] == "uda" and labels == 250 else {}


def _base(dataset: str, labels: int, end: str, options: dict) -> str:
    """Return the cell with fixed weights that a cell of learned ones is paired with."""
    if _start(options, labels):
        return f"extra_{dataset}_{labels}_{_FROM_FIVE}"
    return f"table1_{dataset}_{labels}_{BASES[end]}"


def _column(dataset: str, labels: int) -> str:
    return f"{DATASETS[dataset]}, {labels} labels"


def _table_1() -> Iterable[Cell]:
    for (row, dataset, labels), printed in table_1().items():
        end, options, rule = ROWS[row]
        start = _start(options, labels) if end == "uda_ours" else {}
        notes = (_FIVE_AT_250,) if start else ()
        notes += (_SVHN,) if dataset == "svhn" else ()
        notes += (
            (_MISPLACED,) if (row, dataset) == ("FixMatch (CTA)", "svhn") and labels == 4000 else ()
        )
        yield Cell(
            f"table1_{dataset}_{labels}_{end}",
            "Table 1",
            row,
            _column(dataset, labels),
            _data(dataset, labels) | options | start,
            printed,
            rule=rule,
            base=_base(dataset, labels, end, options) if end in BASES else "",
            notes=notes,
        )


def _ablation(name, table, row, labels, options, **others) -> Cell:
    """Return a cell of Sec. 4.3: CIFAR-10, UDA, learned weights unless `options` say otherwise."""
    options = _data("cifar10", labels) | _UDA | LEARNED | _start(_UDA, labels) | options
    others = {"base": _base("cifar10", labels, "uda_ours", _UDA)} | others
    return Cell(name, table, row, _column("cifar10", labels), options, **others)


def _table_3() -> Iterable[Cell]:
    for (steps, rate), printed in TABLE_3.items():
        yield _ablation(
            f"table3_n{steps}_eta{rate:g}",
            "Table 3",
            f"N = {steps}, η = {rate:g}",
            4000,
            {"inner_steps": steps, "lambda_lr": rate} if (steps, rate) != (100, 0.01) else {},
            printed=printed,
            metric=VALIDATION,
            rule="rule not stated",
            base="",
        )


_NETWORKS = {
    "exact": {},
    "identity": {"inverse_hessian": "identity"},
    "neumann": {"inverse_hessian": "neumann", "influence_params": "group_3|last_norm|head"},
}
_WHERE = {
    "exact": "exact inverse, last layer (ours)",
    "identity": "identity (Luketina et al.)",
    "neumann": "Neumann series (Lorraine et al.), last group and classifier",
}


def _fig_3() -> Iterable[Cell]:
    for method, options in _NETWORKS.items():
        notes = (_UDA_4000,)
        if method != "exact":
            notes += ("The paper gives no number of terms and no parameters of the identity.",)
        yield _ablation(
            f"fig3_{method}",
            "Fig. 3",
            _WHERE[method],
            4000,
            options,
            printed=FIG_3[method],
            rule="rule not stated, from the text of Sec. 4.3",
            notes=notes,
        )


def _fig_4() -> Iterable[Cell]:
    for labels in LABELS:
        for weighting in ("single", "per_example"):
            row = weighting.replace("_", "-") + (" weight" if weighting == "single" else " weights")
            yield _ablation(
                f"fig4_left_{labels}_{weighting}",
                "Fig. 4 (left)",
                row,
                labels,
                {"weighting": weighting},
                seeds=THREE,
                notes=(_FIVE_AT_250,) if labels == 250 else (),
            )
    for optimizer, row in {"madam": "M-Adam", "adam": "Adam", "sgd": "SGD"}.items():
        yield _ablation(
            f"fig4_centre_{optimizer}",
            "Fig. 4 (centre)",
            row,
            4000,
            {"lambda_optimizer": optimizer} if optimizer != "madam" else {},
            seeds=THREE,
            metric=VALIDATION,
            base="",
            notes=(_UDA_4000, "The paper prints no step size for Adam and SGD: ours is M-Adam's."),
        )
    for labels in (250, 4000):
        for size in (64, 256, 1024, 5000):
            yield _ablation(
                f"fig4_right_{labels}_v{size}",
                "Fig. 4 (right)",
                f"|V| = {size}",
                labels,
                {"val_size": size} if size != 1024 else {},
                seeds=THREE,
                base="",
                notes=("The paper names the ends, 64 and 5,000: the grid between is ours.",),
            )


def _sec_44() -> Iterable[Cell]:
    yield Cell(
        "sec44_running_time",
        "Sec. 4.4",
        "serial 18.17 s, ours 0.94 s; exact 0.455 s, identity 0.399 s; Neumann 4.6 x exact",
        "batches 64 / 256 / 320, WRN-28-2",
        {
            "suite": "influence",
            "labeled_batch": 64,
            "unlabeled_batch": 256,
            "validation_batch": 320,
            "repetitions": 20,
        },
        metric="seconds",
        seeds=(),
        rule="mean of 20 iterations on a 16 GB GPU",
        program=BENCHMARK,
    )


def _extra() -> Iterable[Cell]:
    """Yield what is not in the paper: FixMatch with RandAugment, and V as labels."""
    note = "Not in the paper: the control that any gain from V must beat."
    for (row, dataset, labels), _ in table_1().items():
        end, options, _rule = ROWS[row]
        name, notes = f"extra_{dataset}_{labels}", (_SVHN,) if dataset == "svhn" else ()
        data = _data(dataset, labels)
        if end in BASES:
            yield Cell(
                f"{name}_{BASES[end].removesuffix('_rerun')}_v_as_labels",
                "Extra",
                row.replace("Ours (", "V as labels ("),
                _column(dataset, labels),
                data | options | FIXED | _start(options, labels) | {"validation_as_labels": "true"},
                base=_base(dataset, labels, end, options),
                notes=(note, *notes),
            )
        if _start(options, labels) and end in BASES:
            yield Cell(
                f"{name}_{_FROM_FIVE}",
                "Extra",
                "UDA, λ = 5",
                _column(dataset, labels),
                data | options | FIXED | _start(options, labels),
                base=f"table1_{dataset}_{labels}_uda",
                notes=(_SAME_START, *notes),
            )
        if end == "fixmatch_ctaugment_rerun":
            yield Cell(
                f"{name}_fixmatch_randaugment",
                "Extra",
                "FixMatch (RandAugment)",
                _column(dataset, labels),
                data | {"algorithm": "fixmatch", "strong_augment": "randaugment"} | FIXED,
                notes=("Not in the paper: FixMatch's other augmentation.", *notes),
            )


def _with_shared_runs(cells: Iterable[Cell]) -> Iterable[Cell]:
    """Yield the cells; those with equal options share the runs in the folder of the first."""
    first: dict[str, str] = {}
    for cell in cells:
        key = repr((cell.program, sorted(cell.options.items(), key=str)))
        yield dataclasses.replace(cell, runs=first.setdefault(key, cell.name))


def cells() -> tuple[Cell, ...]:
    """Return all cells, in the order in which they are walked."""
    tables = (*_table_1(), *text_cells.table_2(), *_table_3())
    found = (*_sec_44(), *tables, *_fig_3(), *_fig_4(), *_extra(), *text_cells.extra())
    return tuple(_with_shared_runs(found))
