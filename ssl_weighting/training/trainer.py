"""From settings, a net and its batches to the trainer of Alg. 1 and to the evaluator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ssl_weighting.algorithms import ORACLE, ClassBalanced, Oracle, class_weights, make_algorithm
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.cross_fit import CrossFitTrainer, Ensemble
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.pipeline import validation_batch_at
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.refit import RefitTrainer
from ssl_weighting.theta.devices import Devices, divided
from ssl_weighting.theta.ema import (
    ExponentialMovingAverage,
    batch_norm_statistics,
    frozen_statistics_forward,
)
from ssl_weighting.theta.shares import rows_read
from ssl_weighting.training.optimizers import theta_optimizer
from ssl_weighting.training.recipes import MOST, WHOLE
from ssl_weighting.training.settings import (
    TrainingSettings,
    algorithm_settings,
    bilevel_settings,
    lambda_settings,
)
from ssl_weighting.training.solved import SOLVE
from ssl_weighting.weight_store import WeightStore


class ModelParts(NamedTuple):
    """A model and what feeds it."""

    model: keras.Model
    source_of: Callable  # (unlabeled examples a batch, stream) -> a batch source
    validation: Examples  # V as the model's inputs, or what `clean_view` makes into them
    preprocess: Callable  # stored inputs [n, ...] -> the model's
    batch: int  # examples of an evaluation step
    inputs: Mapping[str, str] = {}  # digests of what they depend on beside splits and options


@dataclasses.dataclass
class Training:
    """A trainer and what goes with it.

    Attributes:
        splits: what it trains and validates on.
        trainer: of one model, of several that share Lambda, or of two phases.
        evaluator: of the model, or of the mean of several.
        members: of a cross-fit: its single models.
        inputs: see `ModelParts`.
        learning: of a refit: the phase before it, which learns Lambda.
    """

    splits: DataSplits
    trainer: BilevelTrainer | CrossFitTrainer | RefitTrainer
    evaluator: Evaluator | Ensemble
    members: tuple[Training, ...] = ()
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    learning: Training | None = None


def make_trainer(
    settings: TrainingSettings,
    splits: DataSplits,
    parts_of: Callable[[], ModelParts],
    store: WeightStore,
    *,
    options: Mapping[str, Any] | None = None,
    rates=None,
    devices: Devices | None = None,
    lambda_workers: str = "auto",
) -> Training:
    """Return a trainer of one model, freshly initialised; nothing global is changed.

    Args:
        settings: `settings.seed` is that of all batches.
        splits: the sets.
        parts_of: builds the net and its batches, within the scope of `devices`.
        store: Lambda, which several trainers may share.
        options: of the base algorithm, beside the settings.
        rates: `CtaRates` that learn, or None.
        devices: that share each theta-step.
        lambda_workers: how several processes share each Lambda-step, see `lambda_step_across`.

    Raises:
        ValueError: settings that exclude each other or do not fit the net or the batches.
    """
    s, devices = settings, devices or Devices()
    with devices.scope():
        parts = parts_of()
        optimizer = theta_optimizer(s)
    model = parts.model
    statistics = batch_norm_statistics(model) if s.ema_scope == "all" else ()
    ema = ExponentialMovingAverage(model.trainable_variables, s.ema_decay, statistics)
    source, lambda_source = _sources(s, store, parts.source_of)
    algorithm = _algorithm(s, splits, model, ema, options or {})
    _share(source, algorithm, devices)
    trainer = BilevelTrainer(
        model,
        algorithm,
        optimizer,
        store,
        ema,
        source,
        lambda_source,
        _validation_of(s, parts.validation, lambda_source.unlabeled_batch),
        bilevel_settings(s),
        lambda_settings(s),
        jit=s.jit,
        rates=rates,
        devices=devices,
        lambda_workers=lambda_workers,
    )
    evaluator = Evaluator(model, ema, parts.preprocess, parts.batch, jit=s.jit)
    return Training(splits, trainer, evaluator, inputs=parts.inputs)


def _algorithm(settings, splits, model, ema, options):
    made = {
        "teacher": divided(frozen_statistics_forward(model, ema.shadow), settings.labeled_batch),
        "num_classes": splits.num_classes,
    }
    every = algorithm_settings(settings) | made | dict(options)
    algorithm = make_algorithm(settings.algorithm, **every)
    if settings.class_balanced:
        weights = class_weights(splits.labeled.labels, splits.num_classes)
        algorithm = ClassBalanced(algorithm, weights)
    return Oracle(algorithm, splits.unlabeled.labels) if settings.weighting == ORACLE else algorithm


def _sources(settings, store, source_of):
    s = settings
    source = source_of(s.unlabeled_batch if s.uses_unlabeled else 0, 0)
    if not store.learns or not s.infl_fresh_batch or s.inner == SOLVE:
        return source, source  # a second one would hold U in memory twice for nothing
    size = min(store.num_unlabeled, MOST) if s.lambda_batch == WHOLE else s.lambda_batch
    return source, source_of(size or s.unlabeled_batch, 1)


def _share(source, algorithm, devices):
    """Let each of several processes make the views that it passes, where that is known."""
    if devices.workers > 1 and (passes := algorithm.passes()):
        b, u = source.labeled_batch, source.unlabeled_batch
        sizes = {"labeled": b, "weak": u, "strong": u}
        source.make_only(rows_read(passes, sizes, b, devices))


def _validation_of(settings, validation, unlabeled_batch):
    """Return k -> V' number k."""
    size = settings.val_batch or (len(validation) if settings.inner == SOLVE else unlabeled_batch)
    if not settings.val_replace:
        size = min(size, len(validation))
    how = {"seed": settings.seed, "val_replace": settings.val_replace}

    def validation_at(k):
        with tf.device("CPU:0"):  # 64-bit integer arithmetic, like the other batches
            return validation_batch_at(validation, k, size, **how)

    return validation_at
