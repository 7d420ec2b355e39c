"""From a configuration to the objects of Alg. 1: data, model, algorithm, Lambda, trainer."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from experiments.config import Config
from experiments.text_data import load_text_splits
from experiments.text_model import ModelParts, text_parts
from experiments.text_recipes import is_text
from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.algorithms.remixmatch import ANGLES
from ssl_weighting.bert_adamw import BertAdamW, WarmupLinear
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.data.augmentation import Augmentation, clean_view
from ssl_weighting.data.contamination import RATES, contaminate, with_foreign_classes
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.images import load_images
from ssl_weighting.data.pipeline import BatchSource, validation_batch_at
from ssl_weighting.data.splits import make_splits, with_validation_as_labels
from ssl_weighting.data.synthetic import NAMES as TOY_SETS
from ssl_weighting.data.synthetic import SyntheticConfig, load_synthetic
from ssl_weighting.ema import ExponentialMovingAverage, frozen_statistics_forward
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import mlp, wide_resnet
from ssl_weighting.nesterov import NesterovSGD
from ssl_weighting.schedules import FixMatchCosine
from ssl_weighting.weight_store import LEARNED, WeightStore

# Algorithms whose second view is a weak one, or that have none.
WEAK_VIEWS = ("pseudo_label", "vat", "mean_teacher", "mixmatch")


@dataclasses.dataclass
class Run:
    """The parts of one training run."""

    config: Config
    splits: DataSplits
    trainer: BilevelTrainer
    evaluator: Evaluator


def load_splits(config: Config, cache_dir: str | None = None) -> DataSplits:
    """Return the four sets that `config` names."""
    if config.dataset in TOY_SETS:
        noise = {} if config.noise < 0 else {"noise": config.noise}
        sizes = {
            "num_labeled": config.num_labeled,
            "val_size": config.val_size,
            "num_unlabeled": config.num_unlabeled,
            "num_test": config.num_test,
        }
        splits = load_synthetic(SyntheticConfig(config.dataset, seed=config.seed, **sizes, **noise))
        return with_validation_as_labels(splits) if config.validation_as_labels else splits
    if is_text(config.dataset):
        return _with_fewer_tests(load_text_splits(config, cache_dir), config.num_test)
    raw = _load_images(
        config.dataset, config.data_dir or None, config.image_size or None, cache_dir
    )
    rate = config.contamination_rate or RATES[config.contamination]
    if config.contamination == "foreign":
        raw = with_foreign_classes(raw, rate)
    splits = make_splits(
        raw,
        config.num_labeled,
        config.val_size or None,
        seed=config.seed,
        val_seed=config.val_seed,
        num_unlabeled=config.num_unlabeled or None,
        allow_overlap=config.allow_overlap,
        validation_as_labels=config.validation_as_labels,
    )
    splits = contaminate(splits, config.contamination, rate, config.seed)
    return _with_fewer_tests(splits, config.num_test)


# Twelve runs of a family read, and resize, their images once.
_load_images = functools.lru_cache(maxsize=1)(load_images)


def build(config: Config, splits: DataSplits) -> Run:
    """Return the run's parts, freshly initialised from `config.seed`."""
    keras.utils.set_random_seed(config.seed)
    parts = text_parts(config, splits) if config.model == "bert" else _pixel_parts(config, splits)
    model, validation = parts.model, parts.validation
    ema = ExponentialMovingAverage(model.trainable_variables, config.ema_decay)
    source, lambda_source = _sources(config, parts.source_of)
    size = config.val_batch or lambda_source.unlabeled_batch
    if not config.val_replace:
        size = min(size, len(validation))

    def validation_at(k):
        with tf.device("CPU:0"):  # 64-bit integer arithmetic, like the other batches
            return validation_batch_at(
                validation, k, size, seed=config.seed, replace=config.val_replace
            )

    trainer = BilevelTrainer(
        model,
        algorithm_of(config, model, ema, splits.num_classes),
        _theta_optimizer(config),
        _weight_store(config, len(splits.unlabeled.labels)),
        ema,
        source,
        lambda_source,
        validation_at,
        _bilevel_settings(config),
        _lambda_settings(config),
        jit_compile=config.jit,
    )
    return Run(config, splits, trainer, Evaluator(model, ema, parts.preprocess, parts.batch))


def algorithm_of(config, model, ema, num_classes: int):
    """Return the base algorithm with all of its settings."""
    return make_algorithm(
        config.algorithm,
        threshold=config.threshold,
        temperature=config.temperature,
        unlabeled_coefficient=config.wu,
        ramp_steps=config.ramp_steps,
        entropy_coefficient=config.entropy_coefficient,
        tsa=config.tsa,
        num_steps=config.steps,
        beta=config.mixup_beta,
        epsilon=config.vat_epsilon,
        broadcast_mask=config.preset == "released",
        teacher=frozen_statistics_forward(model, ema.shadow),
        num_classes=num_classes,
        seed=config.seed,
    )


def _pixel_parts(config, splits):
    """Images or points."""
    images = splits.labeled.inputs.ndim == 4
    augmentation = _augmentation(config, images)

    def source_of(size, stream):
        return BatchSource(splits, config.labeled_batch, size, config.seed, augmentation, stream)

    batch = 500 if images else 10_000  # points are cheap, calls are not
    return ModelParts(_model(config, splits), source_of, splits.validation, clean_view, batch)


def _model(config, splits):
    shape = splits.labeled.inputs.shape[1:]
    if splits.labeled.inputs.dtype == np.int32:
        raise ValueError(f"--model must be bert for texts. Received: --model={config.model}")
    if config.model == "mlp":
        if len(shape) != 1:
            raise ValueError(f"--model=mlp takes points; {splits.name} has inputs of shape {shape}")
        return mlp(shape[0], splits.num_classes, reading=config.mlp_reading, seed=config.seed)
    if len(shape) != 3:
        raise ValueError(
            f"--model=wide_resnet takes images; {splits.name} has inputs of shape {shape}"
        )
    return wide_resnet(
        tuple(shape),
        splits.num_classes,
        depth=config.depth,
        width=config.width,
        base_filters=config.base_filters,
        batch_norm_decay=config.batch_norm_decay,
        num_angles=ANGLES if config.algorithm == "remixmatch" else 0,
        seed=config.seed,
    )


def _theta_optimizer(config):
    rate = config.learning_rate
    if config.lr_schedule == "cosine":
        rate = FixMatchCosine(config.learning_rate, config.steps)
    if config.lr_schedule == "warmup_linear":
        rate = WarmupLinear(config.learning_rate, config.steps, config.lr_warmup_steps)
    if config.optimizer == "bert_adamw":
        return BertAdamW(rate, config.weight_decay)
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
    return NesterovSGD(rate) if config.optimizer == "nesterov" else keras.optimizers.Adam(rate)


def _weight_store(config, num_unlabeled):
    optimizer = {
        "madam": lambda: MAdam(
            config.lambda_lr,
            epsilon=config.madam_epsilon,
            step_count=config.madam_t,
            mask=config.madam_mask,
        ),
        "adam": lambda: keras.optimizers.Adam(config.lambda_lr, epsilon=config.madam_epsilon),
        "sgd": lambda: keras.optimizers.SGD(config.lambda_lr),
    }[config.lambda_optimizer]()
    return WeightStore(
        num_unlabeled,
        config.weighting,
        optimizer if config.weighting in LEARNED else None,
        init=config.lambda_init,
        lam_min=config.lambda_min,
        lam_max=config.lambda_max,
        seed=config.seed,
    )


def _augmentation(config, images):
    if not images:
        return Augmentation.none()
    if config.algorithm in WEAK_VIEWS:
        return Augmentation.weak_only(flip=config.flip)
    return Augmentation.fixmatch(flip=config.flip)


def _sources(config, source_of):
    source = source_of(config.unlabeled_batch if config.uses_unlabeled else 0, 0)
    if config.weighting not in LEARNED or not config.infl_fresh_batch:
        return source, source  # a second one would hold U in memory twice for nothing
    return source, source_of(config.lambda_batch or config.unlabeled_batch, 1)


def _bilevel_settings(config):
    return BilevelSettings(
        inner_steps=config.inner_steps,
        warmup_steps=config.lambda_warmup_steps,
        lambda_at_start=config.lambda_at_start,
        fresh_batch=config.infl_fresh_batch,
        stale_weights=config.stale_w,
        own_features=config.infl_own_features,
        weight_decay=0.0 if "adamw" in config.optimizer else config.weight_decay,
        score_every_step=config.score_every_step,
    )


def _lambda_settings(config):
    return LambdaStepSettings(
        influence_params=config.influence_params,
        inverse_hessian=config.inverse_hessian,
        solve=SolveOptions(
            damping=config.damping,
            iterations=config.solve_iterations,
            tolerance=config.solve_tolerance,
            scale=config.solve_scale,
            repeats=config.solve_repeats,
            seed=config.seed,
        ),
        sample_size=config.solve_sample,
        per_example_engine=config.per_example_engine,
        max_memory=round(config.max_memory * 1e9) or None,
        hess_l2=None if config.hess_l2_coeff < 0 else config.hess_l2_coeff,
        hess_wu=config.hess_wu,
        include_bias=config.theta_hat == "kernel_bias",
        mask_in_gradient=config.infl_mask_grad,
        batch_norm=config.infl_bn,
        curvature=config.curvature,
    )


def _with_fewer_tests(splits, num_test):
    if not num_test or num_test >= len(splits.test.labels):
        return splits
    chosen = np.sort(np.random.default_rng(0).permutation(len(splits.test.labels))[:num_test])
    return dataclasses.replace(splits, test=splits.test.take(chosen))
