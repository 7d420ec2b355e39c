"""Which runs the study asks for, and which of them are already recorded in docs/study/runs.csv."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import hashlib
import json
from pathlib import Path

from experiments.options.config import Config, options_as_json
from experiments.options.effects import effect_of, is_free
from experiments.options.entry import BOOKKEEPING
from experiments.pages.wording import unique
from experiments.study.families import REFERENCE, SECONDARY, STUDY
from experiments.study.families_found import FamilyPlan
from experiments.study.feature_families import is_of_features
from experiments.study.profiles import configs
from experiments.study.rows import Key, Row, method_before

RECORD = Path(__file__).resolve().parents[2] / "docs" / "study" / "runs.csv"


def options_hash(options: dict) -> str:
    """Return 12 hexadecimal digits of the options that differ from `Config`'s defaults.

    Options that are added later, with the default that the run had without them, change nothing.

    Args:
        options: as in config.json, or `options_as_json`.
    """
    defaults = options_as_json(Config())
    kept = {
        name: value
        for name, value in options.items()
        if value != defaults.get(name) and not _is_no_matter(name)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def _is_no_matter(name):
    """Return whether an option does not make another run.

    A BERT counts by its name here: the plan is made without one.
    """
    return is_free(name) or effect_of(name) == BOOKKEEPING


def key_of(config: Config) -> Key:
    """Return (family, method, seed) of a run of the study, from its folder."""
    family, method, _ = Path(config.out).parts[-3:]
    return family, method, config.seed


def rows_asked(config: Config) -> dict[Key, str]:
    """Return the rows that a run is to give: key -> hash of the options.

    A run with a refit after learned weights gives two; what stood before the refit is, to the bit,
    the run without one.
    """
    family, method, seed = key_of(config)
    found = {}
    if config.learning_steps and (before := method_before(method)):
        alone = dataclasses.replace(config, refit=False)
        found[family, before, seed] = options_hash(options_as_json(alone))
    return found | {(family, method, seed): options_hash(options_as_json(config))}


def is_recorded(config: Config, rows: dict[Key, Row]) -> bool:
    """Return whether the record holds this very run, same options, with all its rows."""
    asked = rows_asked(config)
    return all(key in rows and rows[key].options == found for key, found in asked.items())


def chosen(family: str, out: str, data_dir: str, only: str) -> list[Config]:
    """Return the runs of a family that `only` names.

    Args:
        family: of the study.
        out: results folder; data_dir: folder with the data set's files.
        only: pattern of FAMILY or FAMILY/METHOD; several with commas between them.
    """
    patterns = [one if "/" in one else f"{one}/*" for one in only.split(",")]
    names = {method: f"{family}/{method}" for method in STUDY[family]["methods"]}
    asked = {m for m, name in names.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    if not asked:  # making thousands of configurations takes seconds
        return []
    return [c for c in configs("study", family, out, data_dir) if key_of(c)[1] in asked]


def plans() -> list[FamilyPlan]:
    """Return what the study asks for, family by family, primary ones first."""
    return [plan_of(family) for family in STUDY]


@functools.cache
def plan_of(family: str) -> FamilyPlan:
    """Return what one family asks for."""
    found = configs("study", family, "")
    first = found[0]
    whole = "fixed_1" in STUDY[family]["methods"]
    options = {key[1:]: one for c in found for key, one in rows_asked(c).items()}
    return FamilyPlan(
        name=family,
        dataset=first.dataset,
        contamination=first.contamination,
        num_labeled=first.num_labeled,
        val_size=first.val_size,
        methods=tuple(unique([method for method, _ in options])),
        seeds=tuple(STUDY[family]["seeds"]),
        options=options,
        secondary=family in SECONDARY or STUDY[family].get("secondary", False),
        reference="" if whole or is_of_features(family) else REFERENCE,
        variant=STUDY[family].get("variant", family.partition(f"{REFERENCE}_")[2]),
        on_features=is_of_features(family),
    )
