"""A run that takes over the compiled functions of one like it that the same process has finished.

Tracing and compiling is a quarter of a short run. Two runs that differ in their seed alone have the
same functions; what they differ in is variables, and batches, which are arguments. So the second
run is the first one with the state of a fresh one put into it, as from a checkpoint of step 0.
"""

from __future__ import annotations

import numpy as np

from experiments.assemble.run import Run
from experiments.options.effects import effect_of
from experiments.options.entry import BOOKKEEPING
from experiments.runs.state import capture, restore, variables

# Whose functions hold the seed, or what it has drawn.
_SEEDED = {
    "algorithm": ("vat", "mixmatch", "remixmatch"),
    "weighting": ("shuffled", "random", "oracle"),
    "inverse_hessian": ("stochastic_cg", "unrolled"),
}


class Kept:
    """The last run of a process that may serve again; none at first."""

    def __init__(self):
        self._run, self._kind = None, None

    def in_place_of(self, fresh: Run) -> Run:
        """Return a run that is `fresh` to the bit: the kept one, if both have the same functions.

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
    plain = not (run.members or config.refit or config.learns_rates)
    seeded = any(getattr(config, name) in values for name, values in _SEEDED.items())
    if seeded or not plain or run.trainer.devices.count > 1:
        return None
    options = {
        name: value
        for name, value in vars(config).items()
        if name not in ("seed", "val_seed") and effect_of(name) != BOOKKEEPING
    }
    sets = run.splits.labeled, run.splits.unlabeled, run.splits.validation, run.splits.test
    shapes = [(part.inputs.shape, str(part.inputs.dtype)) for part in sets]
    state = [(name, tuple(v.shape), str(v.dtype)) for name, v in variables(run).items()]
    return options, shapes, state, _constants(run.trainer.model)


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
    run.trainer.theta.forget()
    restore(run, 0, capture(fresh))
    run.config, run.splits, run.inputs = fresh.config, fresh.splits, fresh.inputs
    run.evaluator.preprocess = fresh.evaluator.preprocess
    new = fresh.trainer
    run.trainer.source = run.trainer.theta.source = new.source
    run.trainer.lambda_source, run.trainer.validation_at = new.lambda_source, new.validation_at
