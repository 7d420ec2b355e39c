"""Write RUN/scorer at the end of a run: the raw model, v of Eq. 6, and how views are made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from experiments.assemble.build import settings_of
from experiments.assemble.pile_views import pile_views
from experiments.assemble.run import Run
from experiments.runs.scorer_files import (
    DIRECTION,
    FOLDER,
    FORMAT,
    MODEL,
    SETTINGS,
    VIEWS,
    digest_of_arrays,
    digest_of_file,
    reason_for_none,
)
from ssl_weighting.algorithms import ClassBalanced
from ssl_weighting.algorithms.anchored import Anchored
from ssl_weighting.data.files import replacing_folder
from ssl_weighting.lambda_step import LambdaStep, make_parameters
from ssl_weighting.scoring import Direction, final_direction
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.settings import lambda_settings

# What `Parameters` are made with, and what Eq. 6 carries over to a weight.
_SWITCHES = (
    "influence_params", "theta_hat", "per_example_engine", "max_memory", "curvature", "infl_bn",
    "infl_mask_grad",
)  # fmt: skip


def write_scorer(run: Run) -> None:
    """Write RUN/scorer, where there is something to write; nothing of the run changes.

    v is that of the next Lambda-step with the gradient of all of V. BatchNorm has its moving
    statistics, whatever --infl_bn says: scores of an example must not depend on others.

    Raises:
        OSError: it cannot be written.
    """
    if reason_for_none(run.config):
        return
    settings = dataclasses.replace(lambda_settings(settings_of(run.config)), infl_bn="moving")
    direction = last_direction(run, settings)
    if not direction.finite or direction.status == "diverged":
        print(
            f"{run.config.out} leaves no {FOLDER}/: its last v is not usable ({direction.status}, "
            f"validation loss {direction.validation_loss}). A larger --damping may help",
            flush=True,
        )
        return
    with replacing_folder(Path(run.config.out) / FOLDER) as folder:
        _write(run, settings, direction, folder)


def last_direction(run: Run, settings) -> Direction:
    """Return v at the end of a run.

    Args:
        run: of one model.
        settings: `LambdaStepSettings`.
    """
    trainer, s = run.trainer, run.trainer.settings
    how = s.weight_decay, s.weight_decay_scope
    parameters = make_parameters(trainer.model, settings, *how)
    made = trainer.model, trainer.algorithm, trainer.store, settings
    step = LambdaStep(*made, parameters=parameters)
    if s.infl_fresh_batch:
        batch = trainer.lambda_source.at(trainer.lambda_steps)
    else:
        batch = trainer.source.at(trainer.step)
    size = len(trainer.validation_at(0).label)  # what Lambda-steps had memory for
    return final_direction(step, batch, _parts_of_v(run, size), trainer.step)


def _parts_of_v(run, size):
    v = run.splits.validation
    for start in range(0, len(v), size):
        inputs = run.evaluator.preprocess(v.inputs[start : start + size])
        yield LabeledBatch(inputs, v.labels[start : start + size])


def _write(run, settings, direction, folder):
    model, v, s = run.trainer.model, run.splits.validation, settings
    algorithm, anchor = _base(run.trainer.algorithm)
    model.save(folder / MODEL)
    vectors = {"v": direction.vector, "val_gradient": direction.val_gradient}
    np.savez(folder / DIRECTION, **vectors, **anchor)
    made = pile_views(run.config, run.splits, run.trainer.rates)
    if made.arrays:
        np.savez(folder / VIEWS, **made.arrays)
    solved = {"inverse_hessian": s.inverse_hessian, "damping": s.solve.damping}
    solved |= {"status": direction.status, "iterations": direction.iterations}
    content = {
        "format": FORMAT,
        "step": run.trainer.step,
        "seed": run.config.seed,
        "class_names": list(run.splits.class_names),
        "split_hash": run.splits.split_hash,
        "validation": digest_of_arrays([v.inputs[:], v.labels]),
        "theta": digest_of_arrays(np.array(x.value) for x in model.weights),
        "algorithm": {"name": run.config.algorithm} | dataclasses.asdict(algorithm),
        "influence": {name: getattr(s, name) for name in _SWITCHES},
        "solved": solved | {"validation_loss": direction.validation_loss},
        "views": made.settings,
        "files": {path.name: digest_of_file(path) for path in sorted(folder.iterdir())},
    }
    (folder / SETTINGS).write_text(json.dumps(content, indent=1, allow_nan=False))


def _base(algorithm):
    """Return the base algorithm in its wrappers, and the arrays of the anchor, if it has one."""
    anchor = {}
    if isinstance(algorithm, Anchored):
        names = "anchor_kernel", "anchor_bias"
        values = (np.array(v.value) for v in algorithm.variables)
        algorithm, anchor = algorithm.algorithm, dict(zip(names, values, strict=True))
    if isinstance(algorithm, ClassBalanced):  # weighs labeled rows alone
        algorithm = algorithm.algorithm
    return algorithm, anchor
