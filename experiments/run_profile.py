"""Train every run of some families of a profile; finished runs are skipped.

    python -m experiments.run_profile --profile=default --family=toy,mnist --jobs=0 --out=results

With --jobs=N, N processes share the runs, of which each trains one at a time. They find what
is left by the run folders alone: a run that another process trains is left to it.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from pathlib import Path

from absl import app, flags

from experiments import train_synthetic
from experiments.options.config import Config
from experiments.options.kinds import kind_of
from experiments.runs.beginning import refuse_if_changed
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.lock import InUseError
from experiments.runs.record import is_complete
from experiments.runs.side_by_side import run_together
from experiments.runs.start import TERMINATED, execute
from experiments.study.plan import RECORD, is_recorded
from experiments.study.profiles import PROFILES, configs
from experiments.study.rows import read_rows

MEMORY = 3 * 2**30  # bytes that a process of the default profile may come to
IN_USE = 4  # exit code: what is left is being trained by another process


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_enum("profile", "default", list(PROFILES), "which profile", values)
    names = "; ".join(f"{name}: {', '.join(found)}" for name, found in PROFILES.items())
    flags.DEFINE_list("family", None, f"which families of it. {names}", values, required=True)
    flags.DEFINE_string("data_dir", "", "folder with the data set's files", values)
    flags.DEFINE_string("only", "*", "methods to train, such as fixed_*", values)
    flags.DEFINE_string("out", "results", "results folder", values)
    text = "processes that share the runs; 0: one a core, as far as the memory goes"
    flags.DEFINE_integer("jobs", 1, text, lower_bound=0, flag_values=values)
    define_flag(values)


def train(config: Config) -> dict | None:
    """Run one configuration with the program that belongs to it."""
    if config.model == "mlp":
        return train_synthetic.train(config)
    return execute(config, program_of(config), cache_dir=cache_dir(flags.FLAGS.cache_dir))


def program_of(config: Config) -> str:
    """Return the name of the program that trains such runs."""
    return kind_of(config.dataset).program


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


def walk(wanted: list[Config], rows: dict) -> int:
    """Train what is left, run by run; return the exit code: 0, `IN_USE` or `TERMINATED`.

    Raises:
        ValueError, OSError, FloatingPointError: as `execute`.
    """
    started, elsewhere = time.monotonic(), []
    for number, config in enumerate(wanted, 1):
        title = f"[run {number} of {len(wanted)}, {time.monotonic() - started:.0f} s] {config.out}"
        if why := done(config, rows):
            print(f"{title}: {why}", flush=True)
            continue
        print(title, flush=True)
        try:
            if train(config) is None:
                return TERMINATED
        except InUseError:
            print(f"{config.out}: another process trains it", flush=True)
            elsewhere.append(config.out)
    if elsewhere:
        print(f"{len(elsewhere)} runs are left to the processes that train them", flush=True)
    return IN_USE if elsewhere else 0


def share(wanted: list[Config], rows: dict, jobs: int) -> int:
    """Let `jobs` processes walk through the runs; return the exit code.

    Raises:
        ValueError: a folder holds another run.
    """
    left = [config for config in wanted if not done(config, rows)]
    if not left:
        return walk(wanted, rows)  # says of each why
    count = min(jobs or _jobs_here(), len(left))
    print(f"{len(left)} of {len(wanted)} runs to train, {count} at a time", flush=True)
    again = [sys.executable, "-m", "experiments.run_profile", *sys.argv[1:], "--jobs=1"]
    failed = run_together(again, count, fine=(0, IN_USE))
    return failed or (0 if all(done(config, rows) for config in wanted) else IN_USE)


def _jobs_here():
    """Return how many processes this machine has cores and memory for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory // MEMORY))


def main(argv: list[str]) -> int:
    """Run the families of the command line; return the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        families = [configs(values.profile, f, values.out, values.data_dir) for f in values.family]
        wanted = [c for family in families for c in family]
        wanted = [c for c in wanted if fnmatch.fnmatch(Path(c.out).parts[-2], values.only)]
        rows = read_rows(RECORD) if values.profile == "study" else {}
        return walk(wanted, rows) if values.jobs == 1 else share(wanted, rows, values.jobs)


if __name__ == "__main__":
    define_flags()
    app.run(main)
