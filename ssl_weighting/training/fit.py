"""A head on rows of numbers, trained from beginning to end without a file of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ssl_weighting.data.copies import are_copies
from ssl_weighting.data.examples import DataSplits, RawDataset
from ssl_weighting.data.splits import make_splits
from ssl_weighting.training.features import feature_parts, shown_of
from ssl_weighting.training.head import Head
from ssl_weighting.training.phases import build_training
from ssl_weighting.training.settings import TrainingSettings
from ssl_weighting.training.trainer import Training, make_trainer

REPORTS = 20  # of a phase: blocks of theta-steps that the history tells of


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a training leaves behind.

    Attributes:
        heads: whose mean probabilities are the model's: one, or those of a cross-fit.
        lam: [m] float32, λ of each unlabeled row; NaN where it was left out of U as a copy of an
            example of V.
        visits: [m] int32, how often each λ was moved.
        influence: [m] float64, mean of Eq. 6 over the visits of each; NaN without one.
        influence_error: [m] float64, its standard error; NaN below two visits.
        history: of each event its phase, kind and step, with what was reported.
    """

    heads: tuple[Head, ...]
    lam: np.ndarray
    visits: np.ndarray
    influence: np.ndarray
    influence_error: np.ndarray
    history: list[dict[str, Any]]


def fit_head(
    settings: TrainingSettings,
    raw: RawDataset,
    val_size: int | None,
    say: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """Train on features as the programs do; the same settings and rows give the same bits.

    No random state outside is read or changed.

    Args:
        settings: from `feature_settings`.
        raw: the set, all of whose labeled rows are trained on.
        val_size: |V|, drawn from the labels by `settings.seed`; None: all of `raw.validation`.
        say: is told of the progress, a line at a time.

    Raises:
        ValueError: rows or settings that do not fit.
        NonFiniteError: training is not finite any more.
    """
    seed = settings.seed
    splits = make_splits(raw, None, val_size, seed, val_seed=seed)
    training = build_training(settings, splits, _single)
    history = []
    for entry in _events(training, settings):
        history.append(entry)
        say(_line(entry, settings))
    for member in training.trainer.members:
        member.theta.forget()
    models = training.members or (training,)
    heads = tuple(_head_of(model, settings) for model in models)
    return Fitted(heads, *_by_row(raw, splits, training.trainer.store), history)


def _single(settings, splits, store, seed) -> Training:
    return make_trainer(settings, splits, lambda: feature_parts(settings, splits, seed), store)


def _events(training, settings) -> Iterator[dict[str, Any]]:
    every, before = max(1, settings.steps // REPORTS), settings.steps if training.learning else 0
    for event in training.trainer.steps(settings.steps + before, lambda step: step + every):
        if event.kind != "piece":
            refits = settings.refit and event.step > before
            phase = "refit" if refits else "learning"
            yield {"phase": phase, "kind": event.kind, "step": event.step, **event.report}


def _line(entry, settings):
    steps = settings.steps * (2 if settings.refit and settings.learns else 1)
    loss = entry["loss"] if entry["kind"] == "train" else entry["validation_loss"]
    name = "loss" if entry["kind"] == "train" else "Λ-step, validation loss"
    return f"step {entry['step']} of {steps}, {entry['phase']}: {name} {loss:.4f}"


def _head_of(training, settings) -> Head:
    model, ema = training.evaluator.model, training.evaluator.ema
    values = [np.array(v.value) for v in ema.in_place_of(model.trainable_variables)]
    layers = tuple(zip(values[::2], values[1::2], strict=True))
    return Head(shown_of(settings, training.splits), layers)


def _by_row(raw, splits: DataSplits, store):
    """Return λ, visits, influence and error of `raw.unlabeled`, which stands at the end of U."""
    if raw.unlabeled is None:
        return np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0)
    kept = ~are_copies(raw.unlabeled, splits.validation)
    last = slice(len(splits.unlabeled) - kept.sum(), None)

    def of_rows(values, missing):
        found = np.full(len(kept), missing, values.dtype)
        found[kept] = values[last]
        return found

    influence, error = store.influence_per_visit()
    return (
        of_rows(store.table().numpy(), np.nan),
        of_rows(store.visits.numpy().astype(np.int32), 0),
        of_rows(influence, np.nan),
        of_rows(error, np.nan),
    )
