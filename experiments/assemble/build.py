"""From a configuration to the objects of Alg. 1: data, model, algorithm, Lambda, trainer."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from experiments.assemble.backbone_sets import BackboneSplits, backbone_set, with_inputs
from experiments.assemble.contaminants import twins, with_foreign_texts
from experiments.assemble.excluded import digest_of_excluded, without_excluded
from experiments.assemble.hardware import open_devices
from experiments.assemble.run import Run
from experiments.assemble.text_data import load_text_splits
from experiments.assemble.text_model import text_parts
from experiments.assemble.views import augmentation_of, rates_of
from experiments.options.config import Config
from experiments.options.features import has_backbone
from experiments.options.kinds import FEATURE_ROWS, POINTS, TEXTS, kind_of
from experiments.options.smoke import stand_in
from ssl_weighting.algorithms.remixmatch import ANGLES
from ssl_weighting.data import example_table
from ssl_weighting.data.contamination import RATES, contaminate, with_foreign_classes
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.features.by_name import load_features
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.data.images.uda_labels import uda_labeled_rows
from ssl_weighting.data.memory import STREAM, require
from ssl_weighting.data.pipeline import BatchSource
from ssl_weighting.data.splits import make_splits, with_fewer_tests, with_validation_as_labels
from ssl_weighting.data.synthetic import SyntheticConfig, load_synthetic
from ssl_weighting.models import mlp, wide_resnet
from ssl_weighting.training.features import feature_parts
from ssl_weighting.training.phases import Single, build_training
from ssl_weighting.training.settings import TrainingSettings, fields_of, named
from ssl_weighting.training.trainer import ModelParts, make_trainer


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
    piled = {}
    if config.contamination == "foreign":
        raw = _with_foreign(config, raw, rate, cache_dir)
    elif config.contamination == "corrupt" and has_backbone(config):
        piled["spoil"] = twins(config, cache_dir)
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
        labeled_imbalance=config.labeled_imbalance,
    )
    # Last: D, V, and what is drawn or spoilt of U are those of the run without a list.
    spoilt = contaminate(splits, config.contamination, rate, config.seed, **piled)
    splits = without_excluded(config, spoilt)
    if has_backbone(config):
        splits = with_inputs(splits, raw)
    return with_fewer_tests(splits, config.num_test)


def _with_foreign(config, raw, rate, cache_dir):
    if has_backbone(config) and kind_of(config.dataset) is TEXTS:
        return with_foreign_texts(config, raw, rate, cache_dir)
    return with_foreign_classes(raw, rate)


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
        config.source,
        config.jpeg_draft,
    )


def _once(load):
    """Return `load` that keeps the last set, unless it is so large that memory is dear."""
    kept = {}

    def loaded(*asked):
        if asked not in kept:
            kept.clear()  # before the next one takes its room
            raw = load(*asked)
            if sum(part.inputs.nbytes for part in raw.parts.values()) >= example_table.LARGE:
                return raw
            kept[asked] = raw
        return kept[asked]

    return loaded


# Twelve runs of a family read, and resize, their images once.
_load_images = _once(load_images)
_load_features = _once(load_features)


def build(config: Config, splits: DataSplits) -> Run:
    """Return the run's parts, freshly initialised from `config.seed`.

    Raises:
        ValueError: an option does not fit the data or the machine.
    """
    learns_on_v = config.validation == "held_out" and (config.learns or not config.refit)
    if learns_on_v and not len(splits.validation):
        raise ValueError(
            "--val_size must be greater than 0: each evaluation measures V too. Received: "
            f"--val_size={config.val_size}. --validation_as_labels trains on V too, "
            "--validation=cross_fit needs none"
        )
    return _run(config, build_training(settings_of(config), splits, single_of(config)))


def single_of(config: Config) -> Single:
    """Return what makes the trainer of one model of a run."""

    def single(settings, splits, store, seed):
        keras.utils.set_random_seed(seed)
        rates = rates_of(config)
        return make_trainer(
            settings,
            splits,
            lambda: _parts(config, splits, seed, rates),
            store,
            options=_algorithm_options(config),
            rates=rates,
            devices=open_devices(config),
            lambda_workers=config.lambda_workers,
        )

    return single


def _run(config, training) -> Run:
    learning = training.learning and _run(
        dataclasses.replace(config, refit=False), training.learning
    )
    members = tuple(_run(config, member) for member in training.members)
    inputs = {**training.inputs, **digest_of_excluded(config)}
    parts = (training.splits, training.trainer, training.evaluator, members, inputs)
    return Run(config, *parts, learning)


def _parts(config, splits, seed, rates) -> ModelParts:
    """Return the net and its batches, of texts, images, points or features."""
    if config.model == "bert":
        return text_parts(config, splits, seed)
    if config.model == "features":
        _check_points(config, splits)
        inputs = splits.inputs if isinstance(splits, BackboneSplits) else {}
        return feature_parts(settings_of(config), splits, seed)._replace(inputs=inputs)
    _check_memory(splits.unlabeled.inputs)
    augmentation = augmentation_of(config, splits, rates)

    def source_of(size, stream):
        # Theta-steps alone, stream 0, learn CTAugment's rates.
        made = augmentation.without_probes() if stream else augmentation
        return BatchSource(splits, config.labeled_batch, size, config.seed, made, stream)

    batch = 500 if splits.test.inputs.ndim == 4 else 10_000  # points are cheap, calls are not
    model = _model(config, splits, seed)
    return ModelParts(model, source_of, splits.validation, clean_view, batch)


def _check_memory(inputs):
    """Refuse arrays of which there is no room for the copy that batches are made of."""
    if isinstance(inputs, np.ndarray) and inputs.nbytes < example_table.LARGE:
        need = 2 * inputs.nbytes  # for a moment
        require(need, "The unlabeled inputs, as TensorFlow has them,", STREAM)


def settings_of(config: Config) -> TrainingSettings:
    """Return the options that the library's trainer is made with."""
    return TrainingSettings(**named(config, fields_of(TrainingSettings)))


def _algorithm_options(config):
    return {
        # BERT has no BatchNorm: views that teach nothing need no backward pass.
        "separate_weak": config.model == "bert" and not config.entropy_coefficient,
        "broadcast_mask": config.preset == "released",
    }


def _check_points(config, splits):
    shape = splits.labeled.inputs.shape[1:]
    if len(shape) != 1:
        raise ValueError(
            f"--model={config.model} takes points; {splits.name} has inputs of shape {shape}"
        )


def _model(config, splits, seed):
    shape = splits.labeled.inputs.shape[1:]
    if splits.labeled.inputs.dtype == np.int32:
        raise ValueError(f"--model must be bert for texts. Received: --model={config.model}")
    if config.model == "mlp":
        _check_points(config, splits)
        return mlp(shape[0], splits.num_classes, precision=config.precision, seed=seed)
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
