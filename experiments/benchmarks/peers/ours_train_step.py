"""This repository's own training step, in a process like those of its peers."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from experiments.benchmarks import exchange
from experiments.benchmarks.peers import ours
from experiments.benchmarks.suite import run_as_programs_do
from ssl_weighting.algorithms import FixMatch
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.weight_store import WeightStore

versions = ours.versions


def build(row: str, arrays: dict):
    """Return (call, answer) of row step_graph or step_xla; see `worker`.

    Raises:
        ValueError: unknown row.
    """
    if row not in ("step_graph", "step_xla"):
        raise ValueError(f"`row` must be step_graph or step_xla. Received: {row}")
    run_as_programs_do()
    trainer = make_trainer(arrays, jit=row == "step_xla")
    start, numbers = [v.numpy() for v in trainer.params], itertools.count()

    def step():
        return trainer.theta.take(next(numbers), 1)

    def answer():
        for values in (trainer.params, trainer.ema.shadow):
            [v.assign(first) for v, first in zip(values, start, strict=True)]
        for v in trainer.optimizer.variables:
            if v is not trainer.optimizer.learning_rate:
                v.assign(tf.zeros_like(v.value))
        steps = [step() for _ in range(int(arrays["steps"]))]
        losses = [[means["loss_labeled"], means["loss_unlabeled"]] for means in steps]
        pairs = zip(trainer.ema.shadow, start, strict=True)
        moved = sum(float(np.abs(v.numpy() - first).sum()) for v, first in pairs)
        return {"losses": losses, "average_moved": moved}

    return step, answer


def make_trainer(arrays: dict, jit: bool) -> BilevelTrainer:
    """Return the trainer of Alg. 1 with the values, the batch and the settings of an exchange file.

    Its Lambda has weight 1 for every example, so that the objective is FixMatch's own.
    """
    model, batches = exchange.load(arrays), _Batches(arrays)
    return BilevelTrainer(
        model,
        FixMatch(threshold=float(arrays["threshold"])),
        NesterovSGD(float(arrays["learning_rate"])),
        WeightStore(batches.unlabeled.ids.shape[0], "per_example", MAdam()),
        ExponentialMovingAverage(model.trainable_variables, float(arrays["ema_decay"])),
        batches,
        batches,
        lambda k: batches.labeled,
        BilevelSettings(weight_decay=float(arrays["weight_decay"])),
        LambdaStepSettings(),
        jit=jit,
    )


class _Batches:
    """The file's batch at every step: the interface of `data.pipeline.BatchSource`."""

    def __init__(self, arrays):
        b = len(arrays["label"])
        labeled, weak, strong = np.split(arrays["images"], [b, (len(arrays["images"]) + b) // 2])
        self.labeled = LabeledBatch(tf.constant(labeled), tf.constant(arrays["label"]))
        ids = tf.range(len(weak), dtype=tf.int64)
        self.unlabeled = UnlabeledBatch(ids, tf.constant(weak), tf.constant(strong))

    def at(self, step):
        """Return the batches, whatever `step`."""
        del step
        return self.labeled, self.unlabeled

    def dataset(self, start):
        """Return the batches without end."""
        return tf.data.Dataset.from_tensors(self.at(start)).repeat()
