"""The phases of a run: learn Lambda on V or across folds, then refit one model with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ssl_weighting.cross_fit import CrossFitTrainer, Ensemble
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.folds import cross_fit_folds
from ssl_weighting.data.splits import with_validation_as_labels
from ssl_weighting.refit import RefitTrainer
from ssl_weighting.training.optimizers import weight_store
from ssl_weighting.training.settings import TrainingSettings
from ssl_weighting.training.trainer import Training
from ssl_weighting.weight_store import WeightStore

# (settings, splits, Lambda, seed of the net) -> the trainer of one model.
Single = Callable[[TrainingSettings, DataSplits, WeightStore, int], Training]

# What a trainer that takes theta-steps alone has no use for.
THETA_ALONE = {
    "score_every_step": False, "stale_w": False, "infl_own_features": False, "measure_noise": False,
    "inverse_hessian": "identity", "infl_fresh_batch": True,
}  # fmt: skip
SEED_OF_THE_REFIT = 500  # added to the run's; of a cross-fit's model number k it is 1000 k


def build_training(settings: TrainingSettings, splits: DataSplits, single: Single) -> Training:
    """Return all that `settings.validation`, `folds` and `refit` ask for.

    Args:
        settings: of the run.
        splits: D, U and V, which is empty for a cross-fit.
        single: makes a trainer of one model.

    Raises:
        ValueError: a setting does not fit the data.
    """
    s, store = settings, weight_store(settings, len(splits.unlabeled.labels))
    if not s.refit:
        return _learning(s, splits, store, single)
    learning = _learning(s, splits, store, single) if s.learns else None
    labels = splits
    if s.validation == "held_out" and len(splits.validation):
        labels = with_validation_as_labels(splits)
    alone = dataclasses.replace(s, **THETA_ALONE)
    training = single(alone, labels, store.frozen(), s.seed + SEED_OF_THE_REFIT)
    if learning:
        training.trainer = RefitTrainer(learning.trainer, training.trainer, s.steps)
    return dataclasses.replace(training, learning=learning)


def _learning(settings, splits, store, single) -> Training:
    """Return what validates: on V, or model by model on the fold that it lacks."""
    s = settings
    if s.validation == "held_out":
        return single(s, splits, store, s.seed)
    # The seed of the batches stays: all models must score the same ones.
    members = tuple(
        single(s, fold, store, s.seed + 1000 * k)
        for k, fold in enumerate(cross_fit_folds(splits, s.seed, s.folds))
    )
    trainer = CrossFitTrainer([member.trainer for member in members])
    evaluator = Ensemble([member.evaluator for member in members])
    return Training(splits, trainer, evaluator, members, members[0].inputs)
