"""Train every run of one family of a profile, in one process; finished runs are skipped.

python -m experiments.run_profile --profile=default --family=toy --out=results
"""

from __future__ import annotations

import fnmatch
import time
from pathlib import Path

from absl import app, flags

from experiments import train_synthetic
from experiments.options.config import Config
from experiments.runs.beginning import refuse_if_changed
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.record import is_complete
from experiments.runs.start import TERMINATED, execute
from experiments.study.plan import RECORD, is_recorded
from experiments.study.profiles import PROFILES, configs
from experiments.study.rows import read_rows


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_enum("profile", "default", list(PROFILES), "which profile", values)
    names = [family for families in PROFILES.values() for family in families]
    flags.DEFINE_enum("family", None, names, "which family of it", values, required=True)
    flags.DEFINE_string("data_dir", "", "folder with the data set's files", values)
    flags.DEFINE_string("only", "*", "methods to train, such as fixed_*", values)
    flags.DEFINE_string("out", "results", "results folder", values)
    define_flag(values)


def train(config: Config) -> dict | None:
    """Run one configuration with the program that belongs to it."""
    if config.model == "mlp":
        return train_synthetic.train(config)
    return execute(config, program_of(config), cache_dir=cache_dir(flags.FLAGS.cache_dir))


def program_of(config: Config) -> str:
    """Return the name of the program that trains such runs, toy sets apart."""
    return "train_text" if config.model == "bert" else "train_images"


def done(config: Config, rows: dict) -> str:
    """Return why a run need not be trained, "" if it has to be.

    Args:
        config: the run.
        rows: the study's record of runs made elsewhere.

    Raises:
        ValueError: its folder holds another run.
    """
    if is_complete(config.out):
        refuse_if_changed(config)
        return "finished before, skipped"
    return f"already in {RECORD.name}, skipped" if is_recorded(config, rows) else ""


def main(argv: list[str]) -> int:
    """Run the family of the command line; return the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    family = values.family
    with friendly():
        wanted = configs(values.profile, family, values.out, values.data_dir)
    wanted = [c for c in wanted if fnmatch.fnmatch(Path(c.out).parts[-2], values.only)]
    rows = read_rows(RECORD) if values.profile == "study" else {}
    started = time.monotonic()
    for number, config in enumerate(wanted, 1):
        title = f"[{family} {number}/{len(wanted)}, {time.monotonic() - started:.0f} s]"
        with friendly():
            if why := done(config, rows):
                print(f"{title} {config.out}: {why}", flush=True)
                continue
            print(f"{title}", flush=True)
            if train(config) is None:
                return TERMINATED
    return 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
