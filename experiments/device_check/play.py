"""Play a case: train as a program does, and keep what can be compared; then take its time.

Inputs, labels and initial values are made of uniform numbers by numpy's frozen generator, so that
they are the same bits on every machine.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.assemble.build import settings_of
from experiments.benchmarks.memory import STATUS, forget_peak, resident_mb
from experiments.device_check.cases import FLOAT32, Case, Variant
from experiments.device_check.trace import Trace
from ssl_weighting.algorithms.remixmatch import ANGLES
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.models import BertShape, bert, mlp, wide_resnet
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.devices import Devices, is_first
from ssl_weighting.training.optimizers import weight_store
from ssl_weighting.training.trainer import ModelParts, make_trainer

HEAD_WIDTH = 32  # of BERT, MiniLM's
MOST_STEPS = 100  # of a timing
SEPARATE_WEAK = {"separate_weak": True}  # as texts are trained: weak views by themselves


class Played(NamedTuple):
    """A trace, and what it took."""

    trace: Trace
    step_seconds: float
    lambda_seconds: float | None  # None: no weight is learned
    peak_mb: float | None  # of the GPU, else of the process; None: not known


def play(
    case: Case,
    variant: Variant = FLOAT32,
    *,
    steps: int | None = None,
    shake: float = 0.0,
    seconds: float = 0.0,
    **disturbed: Any,
) -> Played:
    """Train a case from its beginning.

    Args:
        case: what; variant: how.
        steps: theta-steps of the trace; None: the case's.
        shake: relative size of a random change of the initial parameters.
        seconds: that timing may take after the trace; one step, or one Lambda-step, is always made.
        disturbed: options that the case does not have, for tests.
    """
    gpus = tf.config.list_logical_devices("GPU")
    tf.config.experimental.enable_tensor_float_32_execution(variant.tf32)
    _forget_peak(gpus)
    trainer = trainer_of(case, variant, shake, **disturbed)
    trace = _trace(trainer, steps or case.steps)
    step_seconds, lambda_seconds = _timed(trainer, seconds)
    played = Played(trace, step_seconds, lambda_seconds, _peak_mb(gpus))
    del trainer
    keras.utils.clear_session()
    gc.collect()
    return played


def trainer_of(case: Case, variant: Variant, shake: float = 0.0, **disturbed: Any):
    """Return the `BilevelTrainer` of a case; its optimizer is a `Watched`."""
    config = case.config(variant, **disturbed)
    settings, devices = settings_of(config), _devices(variant)
    problem = _Problem(case, config)

    def parts():
        model = _model(case, config)
        _set_parameters(model, case.seed, shake)
        return ModelParts(model, problem.source, problem.splits.validation, lambda x: x, 100)

    store = weight_store(settings, case.pool)
    options = SEPARATE_WEAK if case.bert else case.extra
    training = make_trainer(
        dataclasses.replace(settings, seed=case.seed),
        problem.splits, parts, store, options=options, devices=devices,
    )  # fmt: skip
    theta = training.trainer.theta
    theta.optimizer = Watched(theta.optimizer)
    return training.trainer


class Watched:
    """An optimizer of theta that keeps the norm of the last gradient it was given, `norm`."""

    def __init__(self, optimizer: keras.optimizers.Optimizer):
        self._optimizer = optimizer
        self.norm = tf.Variable(0.0, trainable=False)

    def __getattr__(self, name: str):
        return getattr(self._optimizer, name)

    def apply(self, gradients: list[tf.Tensor], params: list) -> None:
        """Keep the norm of the gradients' sum over the devices, and move the parameters."""
        context, whole = tf.distribute.get_replica_context(), gradients
        if context.num_replicas_in_sync > 1:
            whole = context.all_reduce("SUM", [tf.identity(g) for g in gradients])
        if is_first():
            scale = self._optimizer.scale_loss(tf.constant(1.0))  # a loss scale's, else 1
            self.norm.assign(tf.linalg.global_norm(whole) / scale)
        self._optimizer.apply(gradients, params)


def _trace(trainer, steps) -> Trace:
    """Take `steps` theta-steps, and the Lambda-steps that stand before them."""
    trace = Trace([], [], [])
    for event in trainer.steps(steps, lambda step: step + 1):
        if event.kind == "lambda":
            trace.lambda_steps.append(_of_lambda_step(trainer, event))
        else:
            trace.loss.append(event.report["loss"])
            trace.gradient_norm.append(float(trainer.theta.optimizer.norm))
    return trace


def _of_lambda_step(trainer: BilevelTrainer, event):
    store = trainer.store
    ids = trainer.lambda_source.ids_at(trainer.lambda_steps - 1)
    return {
        "step": event.step,
        "validation_loss": event.report["validation_loss"],
        "ids": ids.tolist(),
        "influence": store.last_influence.numpy()[ids].tolist(),
        "lam": store.table().numpy()[ids].tolist(),
    }


def _timed(trainer, budget):
    """Return seconds of a theta-step and of a Lambda-step, which have been compiled by now."""
    lambda_seconds = None
    if trainer.store.learns:
        lambda_seconds, _ = _clocked(trainer.lambda_step)
    one, _ = _clocked(lambda: trainer.train(1))
    left = min(int(budget / one), MOST_STEPS, trainer.next_pause() - trainer.step)
    if left < 2:
        return one, lambda_seconds
    several, _ = _clocked(lambda: trainer.train(left))
    return several / left, lambda_seconds


def _clocked(call):
    started = time.perf_counter()
    value = call()  # returns floats: a GPU has done its work
    return time.perf_counter() - started, value


def _devices(variant):
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return Devices([f"{kind}:{k}" for k in range(variant.devices)] if variant.devices > 1 else [])


def _forget_peak(gpus):
    for gpu in gpus:
        tf.config.experimental.reset_memory_stats(gpu.name.removeprefix("/device:"))
    if STATUS.exists():
        forget_peak()


def _peak_mb(gpus):
    if gpus:
        name = gpus[0].name.removeprefix("/device:")
        return tf.config.experimental.get_memory_info(name)["peak"] / 1e6
    return resident_mb("peak") if STATUS.exists() else None


def _uniform(seed: tuple[int, ...], shape) -> np.ndarray:
    """Return numbers of mean 0 and variance 1, [*shape] float64."""
    # Not `default_rng`, whose stream may change with numpy's version.
    return (2 * np.random.RandomState(seed).random_sample(shape) - 1) * np.sqrt(3)


class _Problem:
    """The sets of a case, and batches that take them in turn."""

    def __init__(self, case, config):
        self.case, self.batch = case, config.labeled_batch
        self.weak, self.strong = self._inputs(0, case.pool), self._inputs(1, case.pool)
        if not case.bert:
            self.strong = np.float32(0.7 * self.weak + 0.5 * self.strong)
        self.labeled = self._examples(2, 4 * self.batch)
        unknown = np.full(case.pool, -1, np.int32)
        parts = {
            "labeled": self.labeled,
            "unlabeled": Examples(self.weak, unknown),
            "validation": self._examples(3, case.pool),
            "test": self._examples(4, 1),
        }
        names = tuple(f"class {k}" for k in range(case.num_classes))
        self.splits = DataSplits(case.name, **parts, class_names=names, source="made by numpy")

    def _inputs(self, part, count):
        rng, shape = (self.case.seed, part), (count, *self.case.shape)
        if self.case.bert:  # tokens without padding
            random = np.random.RandomState(rng).random_sample(shape)
            return np.int32(1 + random * (BertShape.vocabulary - 1))
        return np.float32(_uniform(rng, shape))

    def _examples(self, part, count):
        labels = np.arange(count, dtype=np.int32) % self.case.num_classes
        return Examples(self._inputs(part, count), labels)

    def source(self, size, stream):
        """Return the batches of `size` unlabeled examples; see `training.trainer.ModelParts`."""
        return _Batches(self, size, stream)


class _Batches:
    """Interface of `data.pipeline.BatchSource`, over arrays in the memory of the host."""

    def __init__(self, problem, size, stream):
        self.problem, self.unlabeled_batch, self.stream = problem, size, stream
        with tf.device("CPU:0"):
            self._labeled = tf.constant(problem.labeled.inputs)
            self._labels = tf.constant(problem.labeled.labels)
            self._views = tf.constant(problem.weak), tf.constant(problem.strong)

    def ids_at(self, k: int) -> np.ndarray:
        """Return the ids of batch number k, [U] int64."""
        return self._places(k, self.unlabeled_batch, self.problem.case.pool).numpy()

    def at(self, k) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return batch number k, int or int64 scalar."""
        with tf.device("CPU:0"):
            k = tf.cast(k, tf.int64)
            rows = self._places(k, self.problem.batch, len(self.problem.labeled))
            ids = self._places(k, self.unlabeled_batch, self.problem.case.pool)
            labeled = LabeledBatch(tf.gather(self._labeled, rows), tf.gather(self._labels, rows))
            return labeled, UnlabeledBatch(ids, *(tf.gather(v, ids) for v in self._views))

    def dataset(self, start: int) -> tf.data.Dataset:
        """Return the batches from number `start` on, without end."""
        return tf.data.Dataset.counter(start, dtype=tf.int64).map(self.at)

    def _places(self, k, size, count):
        k = tf.cast(k, tf.int64)
        return (k * size + 5 * self.stream + tf.range(size, dtype=tf.int64)) % count


def _model(case, config):
    if case.bert:
        layers, width = case.bert
        sizes = {"num_layers": layers, "width": width, "inner_width": 4 * width}
        sizes |= {"num_heads": width // HEAD_WIDTH, "dropout": 0, "attention_dropout": 0}
        return bert(BertShape(**sizes), *case.shape, case.num_classes, reparam="half")
    if config.model == "mlp":
        return mlp(*case.shape, case.num_classes, precision=config.precision)
    return wide_resnet(
        case.shape,
        case.num_classes,
        depth=config.depth,
        width=config.width,
        base_filters=config.base_filters,
        wrn_variant=config.wrn_variant,
        batch_norm_decay=config.batch_norm_decay,
        num_angles=ANGLES if config.algorithm == "remixmatch" else 0,
        precision=config.precision,
    )


def _set_parameters(model, seed, shake):
    """Give every kernel numbers of variance 2 / fan-in, whatever Keras drew on this device.

    Tokens and places are chosen, not added up: their vectors get variance 1, or all texts would be
    nearly one.
    """
    for k, variable in enumerate(model.trainable_variables):
        value = variable.numpy()
        if value.ndim > 1:
            fan_in = 2 if variable.path.endswith("/embeddings") else np.prod(value.shape[:-1])
            value = _uniform((seed, 10, k), value.shape) * np.sqrt(2 / fan_in)
        if shake:
            value = value * (1 + shake * _uniform((seed, 11, k), value.shape))
        variable.assign(np.float32(value))
