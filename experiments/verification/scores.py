"""The scores of a run by sets V of several sizes: how much of them is noise, and what they find."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.assemble.build import Run, build, load_splits, settings_of
from experiments.options.config import config_from_json
from experiments.pages.statistics import auroc
from experiments.runs.image_reading import as_read
from experiments.runs.record import read_config
from experiments.runs.state import checkpoints_of, restore
from ssl_weighting.algorithms import ORACLE_ALGORITHMS
from ssl_weighting.algorithms.oracle import pseudo_labels
from ssl_weighting.lambda_step import LambdaStep, rank_correlation
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.settings import lambda_settings

_BATCH = 10**9  # number of the batch that is scored: no training reaches it
COLUMNS = ("step", "size", "rank_correlation", "rank_correlation_std", "auroc", "auroc_std")


def restored(folder: Path, examples: int, cache: str | None) -> Run:
    """Return the run of a folder at its last checkpoint, with Lambda-batches of `examples`, or U.

    Raises:
        FileNotFoundError: no run, or no checkpoint, lies there.
        ValueError: it is a run that has no scores, of two models, of an algorithm whose rows do not
            have one pseudo-label each, or of a method that looks back at steps of training.
    """
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"--run must be a run's folder. Received: {folder}, no config.json")
    config = config_from_json(read_config(folder)["config"])
    if not config.learns or config.validation != "held_out" or config.refit:
        raise ValueError(
            "--run must have learned weights on a held-out V, without a refit. Received: "
            f"{folder} with --weighting={config.weighting} --validation={config.validation} "
            f"--refit={str(config.refit).lower()}"
        )
    one_label = config.algorithm in ORACLE_ALGORITHMS and not config.entropy_coefficient
    if not one_label or config.inverse_hessian == "unrolled":
        raise ValueError(
            "--run must have one pseudo-label a row and a method that needs no earlier steps: "
            f"--algorithm={' or '.join(ORACLE_ALGORITHMS)} without --entropy_coefficient, any "
            f"--inverse_hessian but unrolled. Received: {folder} with --algorithm="
            f"{config.algorithm} --entropy_coefficient={config.entropy_coefficient:g} "
            f"--inverse_hessian={config.inverse_hessian}"
        )
    splits = load_splits(as_read(config, folder), cache)
    size = min(examples, len(splits.unlabeled))  # each once
    config = dataclasses.replace(config, devices=1, workers="", resume_with_devices=True)
    run = build(dataclasses.replace(config, lambda_batch=size, infl_fresh_batch=True), splits)
    there = dataclasses.replace(config, out=str(folder))  # wherever, and on what, it was made
    found = checkpoints_of(there, run).restore()
    if found is None:
        raise FileNotFoundError(f"--run must hold a checkpoint. Received: {folder} with none")
    step, state, _ = found
    restore(run, step, state)
    return run


class Examination:
    """The scores of one batch of U at one point of training.

    Args:
        run: restored; its Lambda-batches are as large as what is examined.
    """

    def __init__(self, run: Run):
        trainer, config = run.trainer, run.config
        self.run, self.step = run, trainer.step
        self.lambda_step = LambdaStep(
            trainer.model,
            trainer.algorithm,
            trainer.store,
            lambda_settings(settings_of(config)),
            parameters=trainer.parameters,
        )
        self.batch = trainer.lambda_source.at(_BATCH)
        rows = trainer.algorithm(
            lambda inputs, **_: trainer.parameters.forward(inputs),
            *self.batch,
            tf.constant(trainer.step, tf.int64),
        )
        ids = rows.ids.numpy()[:, 0]
        self.passes = (rows.mask.numpy() > 0)[ids >= 0]  # of the unlabeled rows
        chosen = np.flatnonzero(ids >= 0)[self.passes]
        self.ids, guessed = ids[chosen], pseudo_labels(rows).numpy()[chosen]
        truth = run.splits.unlabeled.labels[self.ids]
        self.known, self.wrong = truth >= 0, (truth >= 0) & (truth != guessed)
        self.others = {
            "1 - confidence": 1.0 - rows.confidence.numpy()[chosen, 0],
            "loss": rows.loss.numpy()[chosen],
            "-lambda": -trainer.store.table().numpy()[self.ids],
        }

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return Eq. 6 of the examples that pass, with V = `rows` of the test set; > 0: harmful."""
        test = self.run.splits.test
        inputs = tf.convert_to_tensor(self.run.evaluator.preprocess(test.inputs[rows]))
        validation = LabeledBatch(inputs, tf.constant(test.labels[rows]))
        measured = self.lambda_step.measure(*self.batch, validation, self.step)
        return measured.lam_gradient.numpy()[self.passes]

    def area(self, scores: np.ndarray) -> float:
        """Return the AUROC of scores for wrong pseudo-labels; NaN where it is undefined."""
        value = auroc(scores[self.known], self.wrong[self.known]).value
        return float("nan") if value is None else value


def examine(examination: Examination, sizes: list[int], repeats: int) -> list[tuple]:
    """Return one row of `COLUMNS` a size, the whole test set last."""
    count = len(examination.run.splits.test.labels)
    if not all(1 <= size <= count for size in sizes):
        raise ValueError(
            f"--sizes must be from 1 to {count}, the test examples of the run. Received: "
            f"{','.join(map(str, sizes))}"
        )
    rng = np.random.default_rng(0)
    reference = examination.scores(np.arange(count))
    rows = []
    for size in sizes:
        found = [examination.scores(rng.permutation(count)[:size]) for _ in range(repeats)]
        ranks = [rank_correlation(tf.constant(s), tf.constant(reference)) for s in found]
        areas = [examination.area(s) for s in found]
        spread = (np.mean(ranks), np.std(ranks), np.mean(areas), np.std(areas))
        rows.append((examination.step, size, *map(float, spread)))
    return [*rows, (examination.step, count, 1.0, 0.0, examination.area(reference), 0.0)]
