"""All state of a run as named arrays: what a checkpoint holds."""

from __future__ import annotations

import json

import numpy as np

from experiments.build import Run
from experiments.config import Config

# Options that a resumed run may change: they do not touch what is computed.
FREE = ("out", "resume", "keep_checkpoints", "data_dir")


def variables(run: Run) -> dict:
    """Return every variable of the run by a stable name."""
    trainer, model = run.trainer, run.trainer.model
    groups = {
        "params": trainer.params,
        "non_trainable": model.non_trainable_variables,
        "ema": trainer.ema.shadow,
        "theta_optimizer": trainer.optimizer.variables,
        "weights": trainer.store.variables,
    }
    return {
        f"{group}/{k:04d}/{v.path}": v
        for group, members in groups.items()
        for k, v in enumerate(members)
    }


def capture(run: Run, metrics_bytes: int) -> dict[str, np.ndarray]:
    """Return copies of all state; the batches need none, they are pure functions of the step."""
    state = {name: np.array(v.value) for name, v in variables(run).items()}
    state["lambda_steps"] = np.array(run.trainer.lambda_steps)
    state["metrics_bytes"] = np.array(metrics_bytes)
    return state


def restore(run: Run, step: int, state: dict[str, np.ndarray]) -> int:
    """Put `state` back; return the length that metrics.jsonl had.

    Raises:
        ValueError: an array is missing or has another shape or dtype.
    """
    for name, variable in variables(run).items():
        value = state.get(name)
        expected = (tuple(variable.shape), str(variable.dtype))
        found = None if value is None else (value.shape, str(value.dtype))
        if found != expected:
            raise ValueError(f"Checkpoint entry {name} must be {expected}. Received: {found}")
    for name, variable in variables(run).items():
        variable.assign(state[name])
    run.trainer.step, run.trainer.lambda_steps = step, int(state["lambda_steps"])
    return int(state["metrics_bytes"])


def fingerprint(config: Config, run: Run) -> dict:
    """Return what a run must share with the checkpoint it resumes from, key by key."""
    options = {k: v for k, v in options_as_json(config).items() if k not in FREE}
    shapes = [list(p.shape) for p in run.trainer.params]
    return options | {
        "split_hash": run.splits.split_hash,
        "source": run.splits.source,
        "model_parameters": int(sum(np.prod(s) for s in shapes)),
    }


def options_as_json(config: Config) -> dict:
    """Return the options as strict JSON values (infinity as a string)."""
    options = dict(vars(config))
    return json.loads(
        json.dumps({k: "inf" if v == float("inf") else v for k, v in options.items()})
    )
