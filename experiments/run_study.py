"""Walk the study's families in one process: train what is neither finished nor recorded.

    python -m experiments.run_study --out=results --data_dir=FOLDER_OF_CIFAR10_AND_IMDB
    python -m experiments.run_study --only='fashion_mnist_v160/cross_fit*' --dry_run

Stop it when you like and call it again, also on another machine that has the repository's
docs/study/runs.csv. A family whose data no source has is named and left out.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.options.config import Config
from experiments.options.kinds import TEXTS, kind_of
from experiments.run_profile import IN_USE, divide, done, in_order, program_of
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.lock import InUseError
from experiments.runs.record import is_complete, summary_of
from experiments.runs.start import TERMINATED, execute
from experiments.study.families import STUDY
from experiments.study.feature_families import assumed_seconds, is_of_features
from experiments.study.plan import RECORD, chosen, is_recorded, key_of
from experiments.study.rows import Key, Row, read_rows
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.texts.by_name import load_texts

DIVERGED = 3  # exit code, known to run_all.sh
IN_FOLDER = ("cifar10", "imdb")  # data sets of the study that no package brings


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    text = "which runs: FAMILY or FAMILY/METHOD, such as cifar10_*,*/fixed_*"
    flags.DEFINE_string("only", "*", text, values)
    flags.DEFINE_bool("dry_run", False, "list what is done and what is not; train nothing", values)
    text = "folder with the original files of CIFAR-10 and IMDb; empty: TensorFlow Datasets"
    flags.DEFINE_string("data_dir", "", text, values)
    flags.DEFINE_string("out", "results", "results folder", values)
    define_flag(values)
    text = "processes that share the runs, of one core each; 0: one a core"
    flags.DEFINE_integer("jobs", 1, text, lower_bound=0, flag_values=values)
    flags.DEFINE_bool("backwards", False, "take each family from its last method", values)
    flags.DEFINE_integer("threads", 0, "cores that a run uses; 0: all", 0, flag_values=values)
    flags.DEFINE_string("record", str(RECORD), "runs made elsewhere; empty: make them all", values)


def wanted(out: str, data_dir: str, only: str) -> dict[str, list[Config]]:
    """Return family -> its runs that `only` names; `data_dir` is for `IN_FOLDER` alone.

    Raises:
        ValueError: it names none.
    """
    datasets = {name: family["options"]["dataset"] for name, family in STUDY.items()}
    folder = {name: data_dir if one in IN_FOLDER else "" for name, one in datasets.items()}
    found = {name: chosen(name, out, folder[name], only) for name in STUDY}
    found = {name: configs for name, configs in found.items() if configs}
    if not found:
        raise ValueError(
            f"--only must match a family or FAMILY/METHOD; families: {', '.join(STUDY)}. "
            f"Received: --only={only}"
        )
    return found


def unavailable(config: Config, cache: str | None) -> str:
    """Return why the data set of a run cannot be read, "" if it can."""
    load = load_texts if kind_of(config.dataset) is TEXTS else load_images
    try:
        load(config.dataset, config.data_dir or None, cache_dir=cache)
    except FileNotFoundError as error:
        return str(error)
    return ""


class Progress:
    """What is done, what is left, and how long the rest may take.

    Args:
        families: family -> runs.
        rows: the record.
    """

    def __init__(self, families: dict[str, list[Config]], rows: dict):
        self.total = sum(map(len, families.values()))
        self.left: dict[str, str] = {}  # run folder -> family
        self.seconds: dict[str, list[float]] = {}  # family -> of its finished runs
        self.assumed: dict[str, float] = {}  # run folder -> seconds, where there is an assumption
        for name, configs in families.items():
            self.seconds[name] = list(filter(None, (_seconds(c, rows) for c in configs)))
            left = [c for c in configs if not (is_complete(c.out) or is_recorded(c, rows))]
            self.left |= {config.out: name for config in left}
            if is_of_features(name):
                self.assumed |= {config.out: assumed_seconds(vars(config)) for config in left}
        self.failed: list[str] = []
        self.in_use: list[str] = []  # by another process
        self.count = self.total - len(self.left)

    def finished(self, config: Config, seconds: float) -> None:
        """Count a run that has just been trained."""
        self.seconds[self.left.pop(config.out)].append(seconds)
        self.count += 1

    def made_elsewhere(self, config: Config) -> None:
        """Count a run that need not be trained here, if it was not counted yet."""
        if self.left.pop(config.out, None) is not None:
            self.count += 1

    def leave_out(self, family: str) -> None:
        """Forget runs that cannot be made here."""
        self.left = {out: name for out, name in self.left.items() if name != family}

    def __str__(self):
        text = f"study: {self.count} of {self.total} runs done"
        every = [one for found in self.seconds.values() for one in found]
        if not self.left or not (every or self.assumed):
            return text
        hours = sum(self._typical(out, name, every) for out, name in self.left.items()) / 3600
        pace = f"at the pace of {len(every)} runs" if every else "as assumed of runs on features"
        return f"{text}, about {hours:.1f} h to go {pace}"

    def _typical(self, out, family, every):
        # The median, since a run may have stood still with its machine.
        found = self.seconds[family]
        if not found and (out in self.assumed or not every):
            return self.assumed.get(out, 0.0)
        return np.median(found or every)


def _seconds(config, rows):
    """Return how long a finished run took; None if it is not finished."""
    if is_complete(config.out):
        return summary_of(config.out).get("seconds")
    return rows[key_of(config)].seconds if is_recorded(config, rows) else None


def walk(families: dict[str, list[Config]], rows: dict[Key, Row], cache: str | None) -> int:
    """Train what is left; return the exit code.

    0; `DIVERGED` if a run did (the others went on); `IN_USE` if another process trains some;
    `TERMINATED` if told to stop.
    """
    progress = Progress(families, rows)
    missing: dict[str, str] = {}  # data set -> why no source has it
    for name, configs in families.items():
        dataset = configs[0].dataset
        if name in progress.left.values() and dataset not in missing:
            missing[dataset] = unavailable(configs[0], cache)
        if missing.get(dataset):
            print(f"study: {name} left out, no data: {missing[dataset]}", flush=True)
            progress.leave_out(name)
            continue
        print(f"{progress}; now {name}", flush=True)
        for _, runs in itertools.groupby(configs, lambda config: key_of(config)[:2]):
            if not all(run_one(config, rows, progress, cache) for config in runs):
                return TERMINATED
            forget_nets()
    print(progress, flush=True)
    if progress.failed:
        return DIVERGED
    return IN_USE if progress.in_use else 0


def run_one(config: Config, rows: dict[Key, Row], progress: Progress, cache: str | None) -> bool:
    """Train one run unless it is done; return False if a signal stopped it.

    Raises:
        ValueError, OSError: as `execute`, or its folder holds another run.
    """
    if why := done(config, rows):
        print(f"{'/'.join(map(str, key_of(config)))}: {why}", flush=True)
        progress.made_elsewhere(config)
        return True
    started = time.monotonic()
    try:
        if execute(config, program_of(config), cache_dir=cache, again=True) is None:
            return False
    except InUseError:
        print(f"{config.out}: another process trains it", flush=True)
        progress.in_use.append(config.out)
        return True
    except FloatingPointError as error:  # a bad step size is a result of a sweep, not its end
        print(f"{config.out} FAILED: {error}", flush=True)
        progress.failed.append(config.out)
        return True
    progress.finished(config, time.monotonic() - started)
    print(progress, flush=True)
    return True


def forget_nets() -> None:
    """Free what earlier runs left: a hundred nets and their functions would fill the memory.

    Between the seeds of a method it would take longer than an exact solution.
    """
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
        gc.collect()


def main(argv: list[str]) -> int:
    """Walk the study; return the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        families = wanted(values.out, values.data_dir, values.only)
        rows = read_rows(values.record) if values.record else {}
        if values.dry_run:
            for name, configs in families.items():
                print(Progress({name: configs}, rows), f"({name})")
            print(Progress(families, rows))
            return 0
        families = {name: _ordered(name, one, values) for name, one in families.items()}
        # Made even if all runs are in the record: make_study reads it.
        Path(values.out, "study").mkdir(parents=True, exist_ok=True)
        if values.jobs == 1:
            return walk(families, rows, cache_dir(values.cache_dir))
        progress = Progress(families, rows)
        counts, program = (len(progress.left), progress.total), "experiments.run_study"
        return divide(counts, values.jobs, program, "--threads=1", late=(DIVERGED,))


def _ordered(name, configs, values):
    """Return the runs of a family in the order of this process, with its number of threads.

    Nets go seed by seed, so that there are pairs early; heads method by method, whose runs share
    what is compiled and loaded.
    """
    if is_of_features(name):
        configs = in_order(configs, values.backwards)
    elif values.backwards:
        configs = configs[::-1]
    threads = {"threads": values.threads} if values.threads else {}
    return [dataclasses.replace(config, **threads) for config in configs]


if __name__ == "__main__":
    define_flags()
    app.run(main)
