"""Do the influences of finished runs agree with retraining? One line a run in agreement.csv.

    python -m experiments.measure_agreement --only='features_*/per_example_refit/seed_[123]'
    python -m experiments.measure_agreement --only='*/last_layer/*,*/whole_*'

For runs that learned on a held-out V. With --inner=solve: trains the part that learns again, which
takes seconds, takes Eq. 6 at its end for --ids examples of U, and solves the head again with the
weight of each a little larger and a little smaller, pseudo-labels as they are. Of other runs, which
end at no minimum: takes Eq. 6 at the last checkpoint on a batch as the run's Lambda-step has it,
and differentiates the loss on V through a hundred more steps of the whole net. Spearman's
correlation of the two goes into --out with its 95 % interval, in the place of an earlier line.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

from absl import app, flags

from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("runs", "results/study", "folder with FAMILY/METHOD/seed_N", values)
    text = "pattern of FAMILY/METHOD/seed_N; several with commas between them"
    flags.DEFINE_string("only", "features_*/per_example_refit/*", text, values)
    flags.DEFINE_string("out", "docs/study/agreement.csv", "the record", values)
    flags.DEFINE_integer(
        "ids", 100, "examples of U that are compared, at most", 4, flag_values=values
    )
    define_flag(values)


def chosen(runs: Path | str, only: str) -> list[Path]:
    """Return the folders of finished runs that `only` names.

    Raises:
        FileNotFoundError: there is none.
    """
    patterns = only.split(",")
    finished = [path.parent for path in sorted(Path(runs).glob("*/*/seed_*/summary.json"))]
    names = {folder: folder.relative_to(runs).as_posix() for folder in finished}
    found = [f for f in finished if any(fnmatch.fnmatchcase(names[f], p) for p in patterns)]
    if not found:
        raise FileNotFoundError(
            f"--only must name finished runs below --runs={runs}. Received: --only={only}; there "
            f"are {len(finished)} finished runs"
        )
    return found


def _compared(folder, ids, cache):
    from experiments.options.config import config_from_json
    from experiments.runs.record import read_config
    from experiments.verification import continued, run_agreement  # load TensorFlow
    from ssl_weighting.training.solved import SOLVE

    config = config_from_json(read_config(folder)["config"])
    if config.inner == SOLVE:
        return run_agreement.compared(folder, ids, cache)
    return continued.compared(folder, config, ids, cache)


def main(argv: list[str]) -> None:
    """Measure the runs of the command line, and record each as soon as it is measured."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        folders = chosen(values.runs, values.only)
        from experiments.runs.results import code_commit
        from experiments.study.agreement import Agreement, agreement_of, record

        for folder in folders:
            found = _compared(folder, values.ids, cache_dir(values.cache_dir))
            family, method, seed = folder.parts[-3:]
            numbers = agreement_of(found.scores, found.truth)
            number = int(seed.removeprefix("seed_"))
            one = Agreement(family, method, number, *numbers, code_commit())
            record(values.out, [one])
            print(
                f"{family}/{method}/{seed}: Spearman {one.spearman:.4f} [{one.low:.4f}, "
                f"{one.high:.4f}] of {one.ids} ids; {found.unsound} left out, whose two steps "
                "disagree",
                flush=True,
            )


if __name__ == "__main__":
    define_flags()
    app.run(main)
