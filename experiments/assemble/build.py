"""From a configuration to the objects of Alg. 1: data, model, algorithm, Lambda, trainer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from experiments.assemble.backbone_sets import BackboneSplits, backbone_set, with_inputs
from experiments.assemble.excluded import digest_of_excluded, without_excluded
from experiments.assemble.hardware import open_devices
from experiments.assemble.optimizers import theta_optimizer, weight_store
from experiments.assemble.run import Run
from experiments.assemble.text_data import load_text_splits
from experiments.assemble.text_model import ModelParts, text_parts
from experiments.assemble.views import augmentation_of, given_views, rates_of
from experiments.options.config import Config
from experiments.options.features import HIDDEN_LAYERS, has_backbone
from experiments.options.influence import MOST, WHOLE
from experiments.options.kinds import FEATURE_ROWS, POINTS, TEXTS, kind_of
from experiments.options.smoke import stand_in
from ssl_weighting.algorithms import ORACLE, SETTINGS, Oracle, make_algorithm
from ssl_weighting.algorithms.remixmatch import ANGLES
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.cross_fit import CrossFitTrainer, Ensemble
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.features.by_name import load_features
from ssl_weighting.data.features.statistics import feature_statistics
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.contamination import RATES, contaminate, with_foreign_classes
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.data.images.uda_labels import uda_labeled_rows
from ssl_weighting.data.pipeline import BatchSource, ViewsSource, validation_batch_at
from ssl_weighting.data.splits import (
    cross_fit_folds,
    make_splits,
    with_fewer_tests,
    with_validation_as_labels,
)
from ssl_weighting.data.synthetic import SyntheticConfig, load_synthetic
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.models import mlp, wide_resnet
from ssl_weighting.refit import RefitTrainer
from ssl_weighting.theta.devices import divided
from ssl_weighting.theta.ema import (
    ExponentialMovingAverage,
    batch_norm_statistics,
    frozen_statistics_forward,
)

# What a trainer that takes theta-steps alone has no use for.
THETA_ALONE = {
    "score_every_step": False, "stale_w": False, "infl_own_features": False, "measure_noise": False,
    "inverse_hessian": "identity", "infl_fresh_batch": True,
}  # fmt: skip
SEED_OF_THE_REFIT = 500  # added to the run's; of a cross-fit's model number k it is 1000 k


def load_splits(config: Config, cache_dir: str | None = None) -> DataSplits:
    """Return the four sets that `config` names, without what it excludes."""
    kind = kind_of(config.dataset)
    if kind is POINTS:
        sizes = {
            "num_labeled": config.num_labeled,
            "val_size": config.val_size,
            "num_unlabeled": config.num_unlabeled,
            "num_test": config.num_test,
        }
        splits = load_synthetic(SyntheticConfig(config.dataset, seed=config.seed, **sizes))
        return with_validation_as_labels(splits) if config.validation_as_labels else splits
    if kind is TEXTS and not has_backbone(config):
        return with_fewer_tests(load_text_splits(config, cache_dir), config.num_test)
    raw = _raw(config, cache_dir)
    rate = config.contamination_rate or RATES[config.contamination]
    if config.contamination == "foreign":
        raw = with_foreign_classes(raw, rate)
    splits = make_splits(
        raw,
        config.num_labeled or None,
        config.size_of_v(raw),
        seed=config.seed,
        val_seed=config.val_seed,
        num_unlabeled=config.num_unlabeled or None,
        allow_overlap=config.allow_overlap,
        validation_as_labels=config.validation_as_labels,
        val_order=config.val_order,
        labeled_rows=_labeled_rows(config, raw),
    )
    # Last: D, V, and what is drawn or spoilt of U are those of the run without a list.
    splits = without_excluded(config, contaminate(splits, config.contamination, rate, config.seed))
    if has_backbone(config):
        splits = with_inputs(splits, raw)
    return with_fewer_tests(splits, config.num_test)


def _labeled_rows(config, raw):
    if config.labeled_set == "drawn":
        return None
    return uda_labeled_rows(
        config.labeled_set, config.dataset, raw.train.labels, raw.class_names, config.num_labeled
    )


def _raw(config, cache_dir):
    if kind_of(config.dataset) is FEATURE_ROWS:
        return _load_features(config.dataset)
    if has_backbone(config):
        return backbone_set(config, cache_dir)
    if config.smoke:
        return stand_in(config.dataset)
    return _load_images(
        config.dataset,
        config.data_dir or None,
        config.image_size or None,
        cache_dir,
        config.on_error,
    )


# Twelve runs of a family read, and resize, their images once.
_load_images = functools.lru_cache(maxsize=1)(load_images)
_load_features = functools.lru_cache(maxsize=1)(load_features)


def build(config: Config, splits: DataSplits) -> Run:
    """Return the run's parts, freshly initialised from `config.seed`.

    Raises:
        ValueError: an option does not fit the data or the machine.
    """
    store = weight_store(config, len(splits.unlabeled.labels))
    if not config.refit:
        return _learning(config, splits, store)
    learning = None
    if config.learns:
        learning = _learning(dataclasses.replace(config, refit=False), splits, store)
    alone = dataclasses.replace(config, **THETA_ALONE)
    labels = splits
    if config.validation == "held_out" and len(splits.validation):
        labels = with_validation_as_labels(splits)
    run = _single(alone, labels, store.frozen(), config.seed + SEED_OF_THE_REFIT)
    if learning:
        run.trainer = RefitTrainer(learning.trainer, run.trainer, config.learning_steps)
    return dataclasses.replace(run, config=config, learning=learning)


def _learning(config, splits, store) -> Run:
    """Return what validates: on V, or model by model on the fold that it lacks."""
    if config.validation == "held_out":
        if len(splits.validation):
            return _single(config, splits, store, config.seed)
        raise ValueError(
            "--val_size must be greater than 0: each evaluation measures V too. Received: "
            f"--val_size={config.val_size}. --validation_as_labels trains on V too, "
            "--validation=cross_fit needs none"
        )
    # The seed of the batches stays: all models must score the same ones.
    members = tuple(
        _single(config, fold, store, config.seed + 1000 * k)
        for k, fold in enumerate(cross_fit_folds(splits, config.seed, config.folds))
    )
    trainer = CrossFitTrainer([member.trainer for member in members])
    evaluator = Ensemble([member.evaluator for member in members])
    return Run(config, splits, trainer, evaluator, members, members[0].inputs)


def _single(config, splits, store, seed) -> Run:
    keras.utils.set_random_seed(seed)
    devices = open_devices(config)
    rates = rates_of(config)
    with devices.scope():
        parts = _parts(config, splits, seed, rates)
        optimizer = theta_optimizer(config)
    model, validation = parts.model, parts.validation
    statistics = batch_norm_statistics(model) if config.ema_scope == "all" else ()
    ema = ExponentialMovingAverage(model.trainable_variables, config.ema_decay, statistics)
    source, lambda_source = _sources(config, store.learns, parts.source_of, len(splits.unlabeled))
    size = config.val_batch or lambda_source.unlabeled_batch
    if not config.val_replace:
        size = min(size, len(validation))

    def validation_at(k):
        with tf.device("CPU:0"):  # 64-bit integer arithmetic, like the other batches
            return validation_batch_at(
                validation, k, size, seed=config.seed, val_replace=config.val_replace
            )

    trainer = BilevelTrainer(
        model,
        algorithm_of(config, model, ema, splits),
        optimizer,
        store,
        ema,
        source,
        lambda_source,
        validation_at,
        _bilevel_settings(config),
        lambda_settings(config),
        jit=config.jit,
        rates=rates,
        devices=devices,
    )
    evaluator = Evaluator(model, ema, parts.preprocess, parts.batch, jit=config.jit)
    inputs = {**parts.inputs, **digest_of_excluded(config)}
    return Run(config, splits, trainer, evaluator, inputs=inputs)


def _parts(config, splits, seed, rates) -> ModelParts:
    """Return the net and its batches, of texts, images, points or features."""
    if config.model == "bert":
        return text_parts(config, splits)
    views = given_views(config, splits)
    augmentation = augmentation_of(config, splits, rates)

    def source_of(size, stream):
        if views is not None:
            return ViewsSource(splits, config.labeled_batch, size, config.seed, views, stream)
        # Theta-steps alone, stream 0, learn CTAugment's rates.
        made = augmentation.without_probes() if stream else augmentation
        return BatchSource(splits, config.labeled_batch, size, config.seed, made, stream)

    batch = 500 if splits.test.inputs.ndim == 4 else 10_000  # points are cheap, calls are not
    model = _model(config, splits, seed)
    inputs = splits.inputs if isinstance(splits, BackboneSplits) else {}
    return ModelParts(model, source_of, splits.validation, clean_view, batch, inputs)


def algorithm_of(config, model, ema, splits):
    """Return the base algorithm with all of its settings."""
    made = {
        "num_steps": _tsa_steps(config),
        "strict": config.uda_version != "fixmatch",
        # BERT has no BatchNorm: views that teach nothing need no backward pass.
        "separate_weak": config.model == "bert" and not config.entropy_coefficient,
        "broadcast_mask": config.preset == "released",
        "teacher": divided(frozen_statistics_forward(model, ema.shadow), config.labeled_batch),
        "num_classes": splits.num_classes,
    }
    algorithm = make_algorithm(config.algorithm, **named(config, SETTINGS) | made)
    if config.weighting != ORACLE:
        return algorithm
    return Oracle(algorithm, splits.unlabeled.labels)


def fields_of(settings: type) -> set[str]:
    """Return the names of a dataclass's fields."""
    return {field.name for field in dataclasses.fields(settings)}


def named(config: Config, names: Iterable[str]) -> dict:
    """Return the options that a part of the library takes: they have the same names there."""
    return {name: value for name, value in vars(config).items() if name in names}


def _tsa_steps(config):
    """FixMatch's UDA: a quarter of the run, 65,536 steps at most (its tsa_pos of 8)."""
    if config.uda_version != "fixmatch":
        return config.steps
    return max(1, min(config.steps // 4, 2**16))


def _model(config, splits, seed):
    shape = splits.labeled.inputs.shape[1:]
    if splits.labeled.inputs.dtype == np.int32:
        raise ValueError(f"--model must be bert for texts. Received: --model={config.model}")
    if config.model in ("mlp", "features"):
        if len(shape) != 1:
            raise ValueError(
                f"--model={config.model} takes points; {splits.name} has inputs of shape {shape}"
            )
        options = {"precision": config.precision, "seed": seed}
        if config.model == "features":
            options["hidden_layers"] = HIDDEN_LAYERS[config.head]
            options["standardize"] = feature_statistics(splits)
        return mlp(shape[0], splits.num_classes, **options)
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
        wrn_variant=config.wrn_variant,
        batch_norm_decay=config.batch_norm_decay,
        standardize=_statistics(config, splits),
        num_angles=ANGLES if config.algorithm == "remixmatch" else 0,
        precision=config.precision,
        seed=seed,
    )


def _statistics(config, splits):
    if config.pixel_scaling == "symmetric":
        return None
    return pixel_statistics(config.dataset, splits.unlabeled.inputs)


def _sources(config, learns, source_of, num_unlabeled):
    source = source_of(config.unlabeled_batch if config.uses_unlabeled else 0, 0)
    if not learns or not config.infl_fresh_batch:
        return source, source  # a second one would hold U in memory twice for nothing
    size = min(num_unlabeled, MOST) if config.lambda_batch == WHOLE else config.lambda_batch
    return source, source_of(size or config.unlabeled_batch, 1)


def _bilevel_settings(config):
    decay = 0.0 if "adamw" in config.optimizer else config.weight_decay
    return BilevelSettings(**named(config, fields_of(BilevelSettings)) | {"weight_decay": decay})


def lambda_settings(config: Config) -> LambdaStepSettings:
    """Return the switches of Eq. 6."""
    solve = SolveOptions(
        damping=config.damping,
        iterations=config.solve_iterations,
        tolerance=config.solve_tolerance,
        scale=config.solve_scale,
        repeats=config.solve_repeats,
        seed=config.seed,
    )
    made = {
        "solve": solve,
        "max_memory": round(config.max_memory * 1e9) or None,
        "hess_l2_coeff": None if config.hess_l2_coeff < 0 else config.hess_l2_coeff,
    }
    return LambdaStepSettings(**named(config, fields_of(LambdaStepSettings)) | made)
