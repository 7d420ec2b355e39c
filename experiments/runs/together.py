"""What the processes of one run tell each other beside gradients."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

import ssl_weighting
from experiments.assemble.run import Run
from experiments.options.config import Config, options_as_json
from experiments.options.effects import effect_of
from experiments.options.entry import CONTENT
from experiments.runs.image_reading import image_reading
from experiments.runs.machine import this_machine
from experiments.runs.results import code_commit
from experiments.runs.state import variables
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.theta.devices import Devices
from ssl_weighting.theta.rendezvous import WorkerLost


def agree(devices: Devices, stop: bool, most: int) -> tuple[bool, int]:
    """Return whether any process wants to stop, and the chief's `most` theta-steps of a piece."""
    every = devices.gathered(np.array([stop, most], np.int64))
    return bool(every[:, 0].any()), int(every[0, 1])


def premises(config: Config, splits: DataSplits) -> dict[str, str]:
    """Return what the processes of a run must share before its parts are made, by name."""
    options = {
        f"--{name}": repr(value)
        for name, value in options_as_json(config).items()
        if name != "out" and effect_of(name) != CONTENT
    }
    reading = image_reading(config, splits) or {}
    return options | {
        "source of images (--source)": str(reading.get("source")),
        "split_hash": splits.split_hash,
        "commit": code_commit(),
        "version of ssl_weighting": ssl_weighting.__version__,
        "version of tensorflow": tf.__version__,
        "version of keras": keras.__version__,
        "version of numpy": np.__version__,
    }


def parts_of(run: Run) -> dict[str, str]:
    """Return what the parts of a run must share in all of its processes, by name."""
    shapes = [list(p.shape) for t in run.trainer.members for p in t.params]
    return {"inputs": str(sorted(run.inputs.items())), "shapes of the parameters": str(shapes)}


def refuse_different(devices: Devices, parts: Mapping[str, str]) -> None:
    """Make sure that all processes have the same parts; all must call it.

    Args:
        parts: name -> value.

    Raises:
        ValueError: a process has another part than the chief, or one more; names both.
    """
    if devices.workers == 1:
        return
    # Names first: with other ones the exchange of the parts would have another size on each.
    if _differences(devices, {"names": str(list(parts))}).any():
        raise ValueError(
            "All workers must have the same code. Received: other options on one worker than on "
            f"worker 0; commit {code_commit() or 'unknown'} on this one, worker {devices.worker}"
        )
    differs = _differences(devices, parts)
    if differs.any():
        worker, part = (int(place[0]) for place in np.nonzero(differs))
        name = list(parts)[part]
        raise ValueError(
            f"All workers must have the same {name}. Received: another one on worker {worker} than "
            f"on worker 0; {parts[name]} on this one, worker {devices.worker}. Give all the same "
            "command, data and code"
        )


def machines_alike(devices: Devices) -> bool:
    """Return whether all processes run on machines that round alike; all must call it."""
    return not _differences(devices, {"machine": str(sorted(this_machine().items()))}).any()


def _differences(devices, parts):
    """Return which part of which process is not the chief's, [workers, parts] bool."""
    digests = [hashlib.sha256(f"{name}={value}".encode()).digest() for name, value in parts.items()]
    mine = np.frombuffer(b"".join(digests), np.uint8).reshape(len(parts), -1)
    every = devices.gathered(mine)
    return (every != every[0]).any(axis=2)


def share_state(run: Run) -> None:
    """Give every process the state of the chief's run, if that goes on; all must call it."""
    devices, trainer = run.trainer.devices, run.trainer
    if devices.workers == 1:
        return
    mine = np.array([trainer.step, trainer.lambda_steps], np.int64)
    step, lambda_steps = devices.from_chief([mine])[0].tolist()
    if not step:
        return
    trainer.step, trainer.lambda_steps = step, lambda_steps  # first: of what trains at that step
    for variable in variables(run).values():
        value = devices.from_chief([np.asarray(variable.numpy())])[0]
        if not devices.is_chief:
            variable.assign(value)
    for member in trainer.members:
        member.theta.unreported = devices.from_chief([member.theta.unreported])[0]


@contextlib.contextmanager
def told_of_lost_workers(devices: Devices, trainer=None) -> Iterator[None]:
    """Say in words that another process of the run has ended.

    Args:
        devices: of the run; trainer: once there is one, which knows the step.

    Raises:
        WorkerLost: it has.
    """
    try:
        yield
    except tf.errors.OpError as error:
        gone = isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError)
        if devices.workers == 1 or not (gone or "ollective" in error.message):
            raise
        where = "before the first step" if trainer is None else f"at about step {trainer.step}"
        raise WorkerLost(
            f"A worker was lost {where}; its own last words say why, if it had time for any. Give "
            "the same command again to all workers: the run goes on from its last checkpoint"
        ) from error
