"""Train every run of some families of a profile; finished runs are skipped.

    python -m experiments.run_profile --profile=default --family=toy,mnist --jobs=0 --out=results

With --jobs=N, N processes share the runs, of which each trains one at a time. They find what
is left by the run folders alone: a run that another process trains is left to it. The seeds of a
method follow each other, so that a process compiles their functions once; every second process
begins at the other end of each family.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path

from absl import app, flags

from experiments import train_synthetic
from experiments.options.config import Config
from experiments.options.kinds import POINTS, kind_of
from experiments.pages.files import GALLERY
from experiments.pages.wording import clock
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
    text = "take the methods of each family from the last to the first"
    flags.DEFINE_bool("backwards", False, text, values)
    text = "at the end, make the gallery of one run with learned weights of each family"
    flags.DEFINE_bool("galleries", False, text, values)
    define_flag(values)


def train(config: Config) -> dict | None:
    """Run one configuration with the program that belongs to it."""
    if config.model == "mlp":
        return train_synthetic.train(config, again=True)
    folder = cache_dir(flags.FLAGS.cache_dir)
    return execute(config, program_of(config), cache_dir=folder, again=True)


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


def in_order(family: list[Config], backwards: bool = False) -> list[Config]:
    """Return the runs of a family method by method, from the first or from the last one."""
    methods: dict[Path, list[Config]] = {}
    for config in family:
        methods.setdefault(Path(config.out).parent, []).append(config)
    order = list(methods.values())
    return [config for runs in (reversed(order) if backwards else order) for config in runs]


class Progress:
    """How far the runs are, whoever trains them.

    Args:
        wanted: all of them; rows: see `done`.
    """

    def __init__(self, wanted: list[Config], rows: dict):
        self.left, self.total, self.rows = list(wanted), len(wanted), rows
        self.started = time.monotonic()
        self._look()
        self.before = len(self.left)

    def __str__(self):
        """Return how many are finished, the time taken, and how long the others may take."""
        self._look()
        seconds, finished = time.monotonic() - self.started, self.before - len(self.left)
        eta = f", ETA {clock(seconds / finished * len(self.left))}" if finished else ""
        return f"{self.total - len(self.left)} of {self.total} runs, {clock(seconds)}{eta}"

    def _look(self):
        self.left = [config for config in self.left if not done(config, self.rows)]


def walk(wanted: list[Config], rows: dict) -> int:
    """Train what is left, run by run; return the exit code: 0, `IN_USE` or `TERMINATED`.

    Raises:
        ValueError, OSError, FloatingPointError: as `execute`.
    """
    progress, elsewhere = Progress(wanted, rows), []
    for config in wanted:
        if why := done(config, rows):
            print(f"{config.out}: {why}", flush=True)
            continue
        print(f"[{progress}] {config.out}", flush=True)
        try:
            if train(config) is None:
                return TERMINATED
        except InUseError:
            print(f"{config.out}: another process trains it", flush=True)
            elsewhere.append(config.out)
    print(f"[{progress}]", flush=True)
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
    # The galleries come when all is done.
    counts = len(left), len(wanted)
    failed = divide(counts, jobs, "experiments.run_profile", "--nogalleries")
    return failed or (0 if all(done(config, rows) for config in wanted) else IN_USE)


def divide(
    counts: tuple[int, int], jobs: int, program: str, *more: str, late: Collection[int] = ()
) -> int:
    """Call this program several times at once, with the arguments that it has; see `run_together`.

    Every second process gets --backwards.

    Args:
        counts: runs that are left, and all.
        jobs: processes at most; 0: as many as the machine has cores and memory for.
        program: module that is running.
        more: arguments of each of them alone.
        late: exit codes as in `run_together`.
    """
    left, total = counts
    count = max(1, min(jobs or _jobs_here(), left))
    print(f"{left} of {total} runs to train, {count} at a time", flush=True)
    again = [sys.executable, "-m", program, *sys.argv[1:], "--jobs=1", *more]
    commands = [again + ["--backwards"] * (number % 2) for number in range(count)]
    return run_together(commands, fine=(0, IN_USE), late=late)


def make_galleries(families: list[list[Config]], cache: str) -> None:
    """Make the page of the first run of each family that learned a weight for each example.

    Points have none, and a page that is newer than its run stays.

    Raises:
        OSError, ValueError: as `write_gallery`.
    """
    from experiments.gallery.write import write_gallery  # loads TensorFlow

    for family in families:
        learned = (c for c in family if c.weighting == "per_example" and c.uses_unlabeled)
        run = next((c for c in learned if kind_of(c.dataset) is not POINTS), None)
        if run is not None and _is_older(Path(run.out, GALLERY), Path(run.out, "summary.json")):
            made = write_gallery(Path(run.out), None, cache)
            print(f"{made.examples:,} examples: {made.path}", flush=True)


def _is_older(page, record):
    return not page.exists() or page.stat().st_mtime < record.stat().st_mtime


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
        wanted = [c for family in families for c in in_order(family, values.backwards)]
        wanted = [c for c in wanted if fnmatch.fnmatch(Path(c.out).parts[-2], values.only)]
        rows = read_rows(RECORD) if values.profile == "study" else {}
        status = walk(wanted, rows) if values.jobs == 1 else share(wanted, rows, values.jobs)
        if values.galleries and not status:
            make_galleries(families, cache_dir(values.cache_dir))
        return status


if __name__ == "__main__":
    define_flags()
    app.run(main)
