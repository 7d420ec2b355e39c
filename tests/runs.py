"""Tiny runs of the training programs, inside the process of the tests."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from experiments import build as building
from experiments import run as running
from experiments import run_state
from experiments.presets import make_config
from ssl_weighting.data.augmentation import Augmentation

# Lambda really moves: no mask, a Lambda-step every three steps, every id visited.
DIGITS = {
    "dataset": "digits", "image_size": 8, "depth": 10, "width": 1, "base_filters": 2,
    "threshold": 0.0, "inner_steps": 3, "steps": 24, "eval_every": 8, "checkpoint_every": 6,
    "log_every": 4, "num_labeled": 20, "val_size": 40, "labeled_batch": 4, "unlabeled_ratio": 3,
    "num_unlabeled": 40, "num_test": 40, "lambda_lr": 0.05, "batch_norm_decay": 0.9,
    "ema_decay": 0.9, "jit": False,
}  # fmt: skip
MOONS = {
    "dataset": "moons", "inner_steps": 3, "steps": 12, "eval_every": 8, "checkpoint_every": 6,
    "log_every": 4, "num_unlabeled": 40, "num_test": 40, "labeled_batch": 4, "unlabeled_ratio": 3,
    "lambda_lr": 0.05, "ema_decay": 0.9, "jit": False,
}  # fmt: skip


class Workshop:
    """Builds a run once and hands it out again, put back to its first step: building takes seconds.

    What it hands out is a fresh run but for compiled functions, which hold no state. The training
    batches come from one tf.data pipeline, too, whose first step is a variable.
    """

    def __init__(self):
        self.run = self.start = None

    def build(self, config, splits):
        """Take the place of `experiments.build.build`."""
        if self.run is None:
            self.run = building.build(config, splits)
            self.start = run_state.capture(self.run, 0)
            self.run.trainer.source.dataset = _restartable(self.run.trainer.source)
        self.run.trainer._iterator_step = -1
        run_state.restore(self.run, 0, self.start)
        return dataclasses.replace(self.run, config=config, splits=splits)


def _restartable(source):
    first = tf.Variable(0, dtype=tf.int64)
    batches = tf.data.Dataset.counter().map(lambda k: source.at(k + first))

    def dataset(start):
        first.assign(start)
        return batches

    return dataset


class _WeakViews:
    """Strong views cost seconds to compile, and resuming does not depend on what a view does."""

    none, weak_only = Augmentation.none, Augmentation.weak_only
    fixmatch = weak_only


@contextlib.contextmanager
def built_by(build):
    """Let `execute` take its runs from `build(config, splits)`, with cheap views."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "build", build)
        patched.setattr(building, "Augmentation", _WeakViews)
        yield


def run(out, workshop=None, **options):
    """Execute one run in the folder `out`; return its summary, None if a signal stopped it."""
    config = make_config(out=str(out), **options)
    with built_by((workshop or Workshop()).build):
        return running.execute(config, "train_images")


def call(program, monkeypatch, *arguments):
    """Call the main of a program as its command line would; return the exit code."""
    values = flags.FlagValues()
    getattr(program, "define_flags", getattr(program, "define", None))(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    return program.main(values([program.__name__, *arguments]))


def lines(folder, name="metrics.jsonl"):
    """Return the lines of a log as dictionaries; no NaN or infinity may stand in it."""
    text = Path(folder, name).read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def refuse(constant):
    """Fail on what JSON does not know."""
    raise AssertionError(f"{constant} is no JSON")


def next_float(array):
    """Return a copy whose first entry is one unit in the last place larger (integers: one more)."""
    changed = np.array(array)
    first = changed.reshape(-1)[:1]
    first[:] = (
        first + 1 if changed.dtype.kind == "i" else np.nextafter(first, first.dtype.type(9e9))
    )
    return changed


def kill(number):
    """Send this process a signal."""
    os.kill(os.getpid(), number)
