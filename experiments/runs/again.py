"""A run that takes over the compiled functions of one like it that the same process has finished.

Tracing and compiling is a quarter of a short run. Two runs that differ in their seed alone have the
same functions; what they differ in is variables, and batches, which are arguments. So the second
run is the first one with the state of a fresh one put into it, as from a checkpoint of step 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.assemble.run import Run
from experiments.options.effects import effect_of
from experiments.options.entry import BOOKKEEPING
from experiments.runs.state import variables_of
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.refit import RefitTrainer

# Whose functions hold the seed, or what it has drawn.
_SEEDED = {
    "algorithm": ("vat", "mixmatch", "remixmatch"),
    "weighting": ("random", "oracle"),
    "inverse_hessian": ("stochastic_cg", "unrolled"),
}


class Kept:
    """The last run of a process that may serve again; none at first."""

    def __init__(self):
        self._run, self._kind = None, None

    def in_place_of(self, fresh: Run) -> Run:
        """Return a run that is `fresh` to the bit: the kept one, if both have the same functions.

        To the bit are variables and batches; the initial values that a saved net's configuration
        names are those of the kept run, and its saved values replace them.

        Else `fresh` itself, which is kept from now on. What is returned is the caller's until the
        next call.

        Args:
            fresh: a run at step 0.
        """
        kind = _kind_of(fresh)
        if kind is None:
            return fresh
        if kind != self._kind:
            self._run, self._kind = fresh, kind
        elif fresh is not self._run:
            _move_into(self._run, fresh)
        return self._run


def _kind_of(run):
    """Return what two runs share that may have the same functions; None: no other may have them."""
    config = run.config
    seeded = any(getattr(config, name) in values for name, values in _SEEDED.items())
    if seeded or config.learns_rates or run.trainer.devices.count > 1:
        return None
    options = {
        name: value
        for name, value in vars(config).items()
        if name not in ("seed", "val_seed") and effect_of(name) != BOOKKEEPING
    }
    every = _variables(run)
    state = [(name, tuple(v.shape), str(v.dtype)) for name, v in every.items()]
    constants = [_constants(trainer.model) for trainer in _trainers(run)]
    return options, [_data_of(one) for one in _runs(run)], state, constants


def _runs(run) -> Iterator[Run]:
    """Yield a run and those that it is made of: single models, and what learns for a refit."""
    yield run
    for part in (*run.members, *([run.learning] if run.learning else ())):
        yield from _runs(part)


def _trainers(run) -> list[BilevelTrainer]:
    """Return the trainers of all models of a run, of both phases."""
    every = [one.trainer for one in _runs(run)]
    # That of a refit is what learns and what refits.
    every += [trainer.refit for trainer in every if isinstance(trainer, RefitTrainer)]
    return [trainer for trainer in every if isinstance(trainer, BilevelTrainer)]


def _variables(run):
    return variables_of(_trainers(run), run.trainer.store)


def _data_of(run):
    """Return the shapes of a run's sets, and the class sizes where they are in the functions."""
    sets = run.splits.labeled, run.splits.unlabeled, run.splits.validation, run.splits.test
    shapes = [(part.inputs.shape, str(part.inputs.dtype)) for part in sets]
    classes = np.bincount(run.splits.labeled.labels).tolist() if run.config.class_balanced else []
    return shapes, classes


def _constants(model):
    """Return what a net holds of its data that is no variable: how it standardises."""
    return [
        np.asarray(value, np.float64).tolist()
        for layer in model.layers
        if layer.name == "standardize"
        for value in layer.get_config().values()
        if isinstance(value, np.ndarray | list | tuple)
    ]


def _move_into(run, fresh):
    """Make `run` equal to `fresh`, a run of its kind at step 0, in all but its functions."""
    run.trainer.step = run.trainer.lambda_steps = 0
    for old, new in zip(_variables(run).values(), _variables(fresh).values(), strict=True):
        old.assign(new)
    run.trainer.store.note(None)
    run.trainer.store.take_controls_of(fresh.trainer.store)
    for old, new in zip(_trainers(run), _trainers(fresh), strict=True):
        old.theta.forget()
        old.theta.unreported = np.zeros_like(old.theta.unreported)
        old.source = old.theta.source = new.source
        old.lambda_source, old.validation_at = new.lambda_source, new.validation_at
    for old, new in zip(_runs(run), _runs(fresh), strict=True):
        old.config, old.splits, old.inputs = new.config, new.splits, new.inputs
        old.trainer.source = new.trainer.source
        if not old.members:
            old.evaluator.preprocess = new.evaluator.preprocess
