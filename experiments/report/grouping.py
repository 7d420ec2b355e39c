"""Group runs into the cells of the tables: data set and labels, then method, then seed.

Two runs are averaged only if every setting that matters is the same; otherwise they become two
rows whose labels name the difference.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.options.backbone import NO_BACKBONE
from experiments.options.config import Config, options_as_json
from experiments.options.effects import effect_of
from experiments.options.entry import BOOKKEEPING, CONTENT
from experiments.runs.record import LEARNING, RunRecord

DATASETS = ("linear", "circles", "moons")  # the paper's toy sets come first, in its order
ALGORITHMS = ("supervised", "pseudo_label", "uda", "fixmatch")
WEIGHTINGS = (
    "zero", "fixed", "single", "per_example", "confidence", "random", "shuffled", "oracle",
)  # fmt: skip
CONTROLS = ("confidence", "random", "shuffled", "oracle")
_DEFAULTS = options_as_json(Config())  # what options were before they existed
SEEDS = ("seed", "val_seed")  # which draw a run is, not of what: its row is averaged over them
# Nor these: data are known by their source, threads by the machine, which `comparable` looks at.
_RECORDED = ("data_dir", "threads")


@dataclass(frozen=True, eq=False)
class Method:
    """A row of a table: runs that differ in nothing but the seed, in order of seed."""

    label: str
    runs: tuple[RunRecord, ...]

    @property
    def algorithm(self) -> str:
        return self.runs[0].summary.algorithm

    @property
    def weighting(self) -> str:
        return self.runs[0].summary.weighting

    @property
    def uses_v_as_labels(self) -> bool:
        return self.runs[0].summary.validation_as_labels

    @property
    def is_supervised(self) -> bool:
        return self.algorithm == "supervised"

    @property
    def is_weighted(self) -> bool:
        """Whether unlabeled examples carry weights other than the base algorithm's."""
        return not self.is_supervised and self.weighting != "fixed"

    @property
    def is_learned(self) -> bool:
        """Whether the weights are the method's: learned on V, and no control."""
        return not self.is_supervised and self.weighting in ("single", "per_example")

    def values(self, get: Callable[[RunRecord], float | None]) -> dict[int, float]:
        """Return {seed: value} of the runs that have the value."""
        found = {run.seed: get(run) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Setting:
    """One data set, or its features by one net, and one number of labels: what a table compares."""

    dataset: str
    num_labeled: int
    methods: tuple[Method, ...]

    @property
    def title(self) -> str:
        """E.g. "moons, 10 labels"."""
        return f"{self.dataset}, {self.num_labeled:,} label{'' if self.num_labeled == 1 else 's'}"

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        return tuple(run for method in self.methods for run in method.runs)


def short_titles(settings: Sequence[Setting]) -> dict[Setting, str]:
    """Return the data set alone where that is clear, else the full title."""
    names = [setting.dataset for setting in settings]
    return {
        setting: setting.dataset if names.count(setting.dataset) == 1 else setting.title
        for setting in settings
    }


def group_runs(records: Sequence[RunRecord]) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    """Sort runs into settings and methods.

    Returns:
        (settings, remarks): settings in order of `DATASETS`, name and labels, rows in the order of
        `ALGORITHMS` and `WEIGHTINGS`; remarks name runs left out because another run has the same
        settings and the same seed, one for each folder.
    """
    names = _data_names(records)
    by_setting: dict[tuple[str, int], list[RunRecord]] = defaultdict(list)
    for record in records:
        by_setting[names[record], record.num_labeled].append(record)
    settings: list[Setting] = []
    remarks: dict[str, str] = {}  # by folder: a refit comes before what learned its weights
    for dataset, num_labeled in sorted(by_setting, key=lambda key: (_place(DATASETS, key[0]), key)):
        runs = by_setting[dataset, num_labeled]
        methods, doubled = _methods(runs)
        settings.append(Setting(dataset, num_labeled, methods))
        for run, first in doubled:
            text = f"{run.name}: not counted, it has the settings and the seed of {first.name}"
            remarks.setdefault(run.name.removesuffix(LEARNING), text)
    return tuple(settings), tuple(remarks.values())


def _data_names(records: Sequence[RunRecord]) -> dict[RunRecord, str]:
    """Return what each run was trained on: a data set, or the features that a net makes of it.

    The net is named where there are several of a set.
    """
    nets = {record: record.config["config"].get("backbone", NO_BACKBONE) for record in records}
    of_set: dict[str, set[str]] = defaultdict(set)
    for record, net in nets.items():
        of_set[record.summary.dataset] |= {net} - {NO_BACKBONE}

    def name(dataset, net):
        if net == NO_BACKBONE:
            return dataset
        return f"{dataset} features" + (f" ({net})" if len(of_set[dataset]) > 1 else "")

    return {record: name(record.summary.dataset, net) for record, net in nets.items()}


def _methods(
    runs: Sequence[RunRecord],
) -> tuple[tuple[Method, ...], list[tuple[RunRecord, RunRecord]]]:
    """Return the rows, and the runs left out with the one that each repeats."""
    rows: dict[tuple, dict[str, dict[int, RunRecord]]] = defaultdict(lambda: defaultdict(dict))
    doubled = []
    for run in runs:
        seeds = rows[_row_key(run)][json.dumps(relevant_settings(run), sort_keys=True)]
        if run.seed in seeds:
            doubled.append((run, seeds[run.seed]))
        else:
            seeds[run.seed] = run
    methods = []
    for key in sorted(rows):
        variants = [_in_seed_order(seeds) for seeds in rows[key].values()]
        methods.extend(
            Method(label, variant)
            for label, variant in zip(_labels(key[-1], variants), variants, strict=True)
        )
    return tuple(methods), doubled


def _in_seed_order(seeds: dict[int, RunRecord]) -> tuple[RunRecord, ...]:
    return tuple(seeds[seed] for seed in sorted(seeds))


def _row_key(run: RunRecord) -> tuple:
    label = run.summary.method
    if run.summary.validation_as_labels and "as labels" not in label:
        label += " + V as labels"
    return (
        _place(ALGORITHMS, run.summary.algorithm),
        _place(WEIGHTINGS, run.summary.weighting),
        run.summary.validation_as_labels,
        label,
    )


def _place(order: tuple[str, ...], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def relevant_settings(run: RunRecord) -> dict[str, Any]:
    """Return what must be equal for two runs to be seeds of one another, by option.

    Of an option that names a folder the content counts, as far as the run recorded it.
    """
    options = {
        name: value
        for name, value in (_DEFAULTS | run.config["config"]).items()
        if name not in SEEDS + _RECORDED and effect_of(name) != BOOKKEEPING
    }
    sizes = {"steps": run.summary.steps, "val_size": run.summary.val_size}
    inputs = run.config.get("inputs") or {}
    excluded = {"exclude": inputs["exclude"]} if "exclude" in inputs else {}
    source = {"source": run.source}  # of data_dir
    return options | sizes | source | excluded | run.contents


def _labels(label: str, variants: list[tuple[RunRecord, ...]]) -> list[str]:
    if len(variants) == 1:
        return [label]
    settings = [relevant_settings(variant[0]) for variant in variants]
    names = sorted({name for values in settings for name in values})
    varying = [
        name for name in names if len({json.dumps(values.get(name)) for values in settings}) > 1
    ]
    runs = [variant[0] for variant in variants]
    return [
        f"{label} [{_describe(run, values, varying)}]"
        for run, values in zip(runs, settings, strict=True)
    ]


def _describe(run: RunRecord, values: dict[str, Any], names: list[str]) -> str:
    shown = ", ".join(f"{name}={_shown(run, name, values.get(name))}" for name in names[:3])
    return shown + (f", and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(run: RunRecord, name: str, value: Any) -> Any:
    """Return a setting's value; of a folder its name and the start of its content's digest."""
    if effect_of(name) != CONTENT:
        return value
    folder = Path((_DEFAULTS | run.config["config"]).get(name) or "").name
    digest = "".join(re.findall(r"[0-9a-f]{64}", str(value)))[:8]
    return " ".join(filter(None, (folder, digest))) or "none"
