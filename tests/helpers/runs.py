"""Tiny runs of the training programs, inside the process of the tests."""

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from experiments.assemble import build as building
from experiments.assemble import views
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.runs import log as run_log
from experiments.runs import state as run_state
from experiments.runs.saved_model import load_model, read_run
from ssl_weighting.checkpointing import Checkpoints, read
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.pipeline import BatchSource

# Lambda really moves: no mask, a Lambda-step every three steps, every id visited. Eight filters:
# where a strided 1x1 convolution has fewer channels, oneDNN held to AVX2 (ONEDNN_MAX_CPU_ISA) gives
# a wrong gradient of its kernel, another one each time, and equal runs differ.
DIGITS = {
    "dataset": "digits", "image_size": 8, "depth": 10, "width": 1, "base_filters": 8,
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

    What it hands out is a fresh run but for compiled functions, which hold no state (but read the
    model, the optimizers and the switches of Eq. 6 when they are compiled).

    Args:
        own_sources: make batches as programs do. Otherwise those of an earlier run with the same
            data, sizes and seed, which are pure functions of the step, are used again.
    """

    def __init__(self, own_sources=False):
        self.run = self.start = None
        self.source = BatchSource if own_sources else _shared_source

    def build(self, config, splits):
        """Take the place of `experiments.assemble.build.build`."""
        if self.run is None:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(building, "BatchSource", self.source)
                self.run = building.build(config, splits)
            self.start = run_state.capture(self.run)
        for member in self.run.trainer.members:
            member.theta.forget()
        self.run.trainer.settings = building._bilevel_settings(config)
        run_state.restore(self.run, 0, self.start)
        return dataclasses.replace(self.run, config=config, splits=splits)


_SOURCES = {}


def _shared_source(splits, labeled, unlabeled, seed, augmentation, stream):
    key = (splits.split_hash, labeled, unlabeled, seed, augmentation.name, stream)
    if key not in _SOURCES:
        _SOURCES[key] = BatchSource(splits, labeled, unlabeled, seed, augmentation, stream)
        _SOURCES[key].dataset = _restartable(_SOURCES[key])
    return _SOURCES[key]


def _restartable(source):
    """One tf.data pipeline for all runs, whose first step is a variable.

    Batches are made by `source.at` as plain calls: a pipeline that holds the function of the views
    readies it anew at every start of an iterator, which takes seconds.
    """
    first, made = tf.Variable(0, dtype=tf.int64), []

    def dataset(start):
        if not made:
            like = source.at(0)
            parts = [part for part in tf.nest.flatten(like) if part is not None]

            def batch(k):
                found = tf.py_function(call, [k + first], [part.dtype for part in parts])
                for tensor, part in zip(found, parts, strict=True):
                    tensor.set_shape(part.shape)
                left = iter(found)
                return tf.nest.map_structure(
                    lambda part: part if part is None else next(left), like
                )

            made.append(tf.data.Dataset.counter().map(batch))
        first.assign(start)
        return made[0]

    def call(k):
        return [part for part in tf.nest.flatten(source.at(k)) if part is not None]

    return dataset


class _WeakViews:
    """Strong views cost seconds to compile, and resuming does not depend on what a view does."""

    none, weak_only = Augmentation.none, Augmentation.weak_only
    fixmatch = weak_only
    ctaugment = Augmentation.ctaugment

    @staticmethod
    def uda(flip, statistics):
        return Augmentation.weak_only(flip)


@contextlib.contextmanager
def built_by(build):
    """Let `execute` take its runs from `build(config, splits)`, with cheap views."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "build", build)
        patched.setattr(views, "Augmentation", _WeakViews)
        yield


def run(out, workshop=None, **options):
    """Execute one run in the folder `out`; return its summary, None if a signal stopped it."""
    config = make_config(out=str(out), **options)
    with built_by((workshop or Workshop()).build):
        return running.execute(config, "train_images")


@functools.cache
def unbroken_run():
    """Return (folder, workshop) of one run on DIGITS that nobody stopped, made once a session."""
    folder, workshop = Path(tempfile.mkdtemp(prefix="ssl_weighting_test_")), Workshop()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    assert run(folder / "run", workshop, **DIGITS)["status"] == "complete"
    return folder / "run", workshop


def opened(folder, *kinds):
    """Return the model of a finished run and its config.json."""
    config = read_run(Path(folder), *kinds)
    return load_model(Path(folder), config), config


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
        first + 1 if changed.dtype.kind in "iu" else np.nextafter(first, first.dtype.type(9e9))
    )
    return changed


def kill(number):
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def rewrite(folder, changed):
    """Write the newest checkpoint anew, whole, with other arrays."""
    path = Checkpoints(folder / "checkpoints", {}).paths()[-1]
    manifest, _ = read(path)
    Checkpoints(folder / "checkpoints", manifest["fingerprint"]).save(manifest["step"], changed)


class Killed(BaseException):
    """The process ends here; nothing after it is done."""


def at_line(kind, step, then):
    """Replace the log's `write` by one that calls `then(original, arguments)` at one line."""

    def patch(monkeypatch):
        original = run_log.RunLog.write

        def write(log, kind_, step_, **values):
            if (kind_, step_) == (kind, step):
                monkeypatch.undo()
                return then(lambda: original(log, kind_, step_, **values), log)
            return original(log, kind_, step_, **values)

        monkeypatch.setattr(run_log.RunLog, "write", write)

    return patch


def before(write, log):
    raise Killed


def after(write, log):
    write()
    raise Killed
