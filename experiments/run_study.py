"""Walk the study's families in one process: train what is neither finished nor recorded.

    python -m experiments.run_study --out=results --data_dir=FOLDER_OF_CIFAR10_AND_IMDB
    python -m experiments.run_study --only='fashion_mnist_v160/cross_fit*' --dry_run

Stop it when you like and call it again, also on another machine that has the repository's
docs/study/runs.csv. A family whose data no source has is named and left out.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.options.config import Config
from experiments.run_profile import done, program_of
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.record import is_complete, summary_of
from experiments.runs.start import TERMINATED, execute
from experiments.study.families import STUDY
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
    load = load_texts if config.model == "bert" else load_images
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
        for name, configs in families.items():
            self.seconds[name] = list(filter(None, (_seconds(c, rows) for c in configs)))
            left = [c for c in configs if not (is_complete(c.out) or is_recorded(c, rows))]
            self.left |= {config.out: name for config in left}
        self.failed: list[str] = []
        self.count = self.total - len(self.left)

    def finished(self, config: Config, seconds: float) -> None:
        """Count a run that has just been trained."""
        self.seconds[self.left.pop(config.out)].append(seconds)
        self.count += 1

    def leave_out(self, family: str) -> None:
        """Forget runs that cannot be made here."""
        self.left = {out: name for out, name in self.left.items() if name != family}

    def __str__(self):
        text = f"study: {self.count} of {self.total} runs done"
        every = [one for found in self.seconds.values() for one in found]
        if not every or not self.left:
            return text
        # The median, since a run may have stood still with its machine.
        typical = {name: np.median(found or every) for name, found in self.seconds.items()}
        hours = sum(typical[name] for name in self.left.values()) / 3600
        return f"{text}, about {hours:.1f} h to go at the pace of {len(every)} runs"


def _seconds(config, rows):
    """Return how long a finished run took; None if it is not finished."""
    if is_complete(config.out):
        return summary_of(config.out).get("seconds")
    return rows[key_of(config)].seconds if is_recorded(config, rows) else None


def walk(families: dict[str, list[Config]], rows: dict[Key, Row], cache: str | None) -> int:
    """Train what is left; return the exit code.

    0; `DIVERGED` if a run did (the others went on); `TERMINATED` if told to stop.
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
        if not all(run_one(config, rows, progress, cache) for config in configs):
            return TERMINATED
    print(progress, flush=True)
    return DIVERGED if progress.failed else 0


def run_one(config: Config, rows: dict[Key, Row], progress: Progress, cache: str | None) -> bool:
    """Train one run unless it is done; return False if a signal stopped it.

    Raises:
        ValueError, OSError: as `execute`, or its folder holds another run.
    """
    if why := done(config, rows):
        print(f"{'/'.join(map(str, key_of(config)))}: {why}", flush=True)
        return True
    started = time.monotonic()
    try:
        if execute(config, program_of(config), cache_dir=cache) is None:
            return False
    except FloatingPointError as error:  # a bad step size is a result of a sweep, not its end
        print(f"{config.out} FAILED: {error}", flush=True)
        progress.failed.append(config.out)
        return True
    import keras  # loaded by now

    progress.finished(config, time.monotonic() - started)
    print(progress, flush=True)
    keras.backend.clear_session()  # a hundred nets and their functions would fill the memory
    gc.collect()
    return True


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
        # Made even if all runs are in the record: make_study reads it.
        Path(values.out, "study").mkdir(parents=True, exist_ok=True)
        return walk(families, rows, cache_dir(values.cache_dir))


if __name__ == "__main__":
    define_flags()
    app.run(main)
