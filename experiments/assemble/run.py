"""The parts of one run of Alg. 1, as `build` makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.options.config import Config
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.cross_fit import CrossFitTrainer, Ensemble
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.refit import RefitTrainer


@dataclasses.dataclass
class Run:
    """The parts of one training run."""

    config: Config
    splits: DataSplits
    trainer: BilevelTrainer | CrossFitTrainer | RefitTrainer
    evaluator: Evaluator | Ensemble
    members: tuple[Run, ...] = ()  # of --validation=cross_fit: the runs of its single models
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of `ModelParts`
    learning: Run | None = None  # of --refit: where its Lambda comes from

    @property
    def now(self) -> Run:
        """The run whose models train now: before a refit `learning`, else itself."""
        learns = isinstance(self.trainer, RefitTrainer) and not self.trainer.refits
        return self.learning if learns else self

    def validate(self) -> tuple[float | None, float | None]:
        """Return error in % and loss on the labels that validate: V's, or each left-out fold's.

        A refit learns from them all: then there are none, and neither number.
        """
        if self.config.refit:
            return None, None
        runs = self.members or (self,)
        found = [run.evaluator.error_and_loss(run.splits.validation) for run in runs]
        error, loss = np.mean(found, axis=0)
        return float(error), float(loss)
