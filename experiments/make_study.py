"""Make docs/study from finished runs and from the record of runs made elsewhere.

    python -m experiments.make_study

A run folder wins over the record's line of the same run. Runs that are not there are listed as not
run. Writes README.md, the pages beside it, families/, figures/ and the record itself, runs.csv and
the ablations' curves, ablation_curves.csv, which are to be committed: what stands in runs.csv with
the study's options is not trained again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from experiments.runs.errors import friendly
from experiments.runs.record import before_refit, read_run
from experiments.study.ablation_curves import FILE as CURVES
from experiments.study.ablation_curves import Curve, curve_of, read_curves
from experiments.study.ablation_families import RECIPE_FAMILY
from experiments.study.page import write_study
from experiments.study.plan import options_hash, plans
from experiments.study.rows import Key, Row, method_before, read_rows, row_of


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("runs", "results/study", "Folder with FAMILY/METHOD/seed_N.", values)
    flags.DEFINE_string("out", "docs/study", "Folder of the page and of runs.csv.", values)
    text = "Commit of the code that made the runs whose folders do not say it."
    flags.DEFINE_string("commit", "", text, values)


def finished_rows(runs: Path | str, recorded: dict[Key, Row], commit: str = "") -> dict[Key, Row]:
    """Return the lines of every finished run FAMILY/METHOD/seed_N below `runs`.

    A refit has two: what it left behind, and what learned its weights.

    A folder that does not say its commit has the recorded line's, or `commit`.

    Raises:
        RunError: a finished run contradicts itself or cannot be read.
    """
    found = {}
    for path in sorted(Path(runs).glob("*/*/seed_*/summary.json")):
        name = path.parent.relative_to(runs).as_posix()
        run = read_run(path.parent, name)
        if run is None:
            continue
        family, method, _ = name.split("/")
        both = [(method, run), (method_before(method), before_refit(run))]
        for method, one in both:
            if one is None or not method:
                continue
            row = row_of(one, (family, method, one.seed), options_hash(one.config["config"]))
            before = recorded.get(row.key)
            known = before.commit if before and before.options == row.options else ""
            found[row.key] = dataclasses.replace(row, commit=row.commit or commit or known)
    return found


def finished_curves(runs: Path | str) -> dict[Key, Curve]:
    """Return the curve of every finished run below `runs` that a figure draws.

    Raises:
        RunError: a finished run contradicts itself or cannot be read.
    """
    found = {}
    for path in sorted(Path(runs).glob(f"{RECIPE_FAMILY}/*/seed_*/summary.json")):
        name = path.parent.relative_to(runs).as_posix()
        run = read_run(path.parent, name)
        if run is None:
            continue
        family, method, _ = name.split("/")
        key = family, method, run.seed
        curve = curve_of(run, key, options_hash(run.config["config"]))
        found |= {key: curve} if curve else {}
    return found


def main(arguments: Sequence[str]) -> None:
    """Write the page and say what it holds."""
    if len(arguments) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(arguments[1:])}. Use --runs and --out.")
    with friendly():
        if flags.FLAGS["runs"].present and not Path(flags.FLAGS.runs).is_dir():
            raise FileNotFoundError(
                f"`--runs` must name a folder with FAMILY/METHOD/seed_N. Received: "
                f"{flags.FLAGS.runs}, which does not exist."
            )
        out = Path(flags.FLAGS.out)
        recorded = read_rows(out / "runs.csv")
        rows = recorded | finished_rows(flags.FLAGS.runs, recorded, flags.FLAGS.commit)
        curves = read_curves(out / CURVES) | finished_curves(flags.FLAGS.runs)
        document = write_study(plans(), rows, out, curves)
    print(f"{document.subtitle} Page: {out / 'README.md'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
