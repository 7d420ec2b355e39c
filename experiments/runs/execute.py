"""Take one configuration from nothing, or from its last checkpoint, to a finished run folder.

Of several processes of a run one, the chief, reads checkpoints, evaluates and writes. All train and
stop together: what decides over pieces, pauses and the end is the same in each of them.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import tensorflow as tf

from experiments.assemble.build import build, load_splits
from experiments.assemble.hardware import divide_the_cpu, join_workers, limit_threads
from experiments.options.config import Config
from experiments.pages.statistics import LAST_EVALUATIONS
from experiments.runs import results
from experiments.runs.again import Kept
from experiments.runs.beginning import refuse_foreign
from experiments.runs.clock import Clock
from experiments.runs.evaluation import evaluate, log_lambda
from experiments.runs.header import announce, first_input, warn
from experiments.runs.image_reading import as_read, told_of_the_first_choice
from experiments.runs.lambda_history import history_of
from experiments.runs.lock import held
from experiments.runs.log import NOTHING, RunLog
from experiments.runs.quiet import QuietLog, quiet
from experiments.runs.state import capture, checkpoints_of, restore
from experiments.runs.stop import Stop
from experiments.runs.together import (
    agree,
    machines_alike,
    parts_of,
    premises,
    refuse_different,
    share_state,
    told_of_lost_workers,
)
from experiments.runs.warnings import evaluations
from ssl_weighting.data.numbers import rows_not_finite
from ssl_weighting.data.reading import named_errors
from ssl_weighting.training.solved import SOLVE

_kept = Kept()


def execute(
    config: Config,
    program: str,
    *,
    cache_dir: str | None = None,
    on_step=lambda run: None,
    snapshot_steps=(),
    again: bool = False,
) -> dict | None:
    """Run `config` to its end and return its summary; None if a signal stopped it (state saved).

    In a process of a run that is not its chief the summary is that process' number alone.

    Args:
        config: validated options; `config.out` is the run folder.
        program: name of the absl program, for config.json.
        cache_dir: where downloaded data lies.
        on_step: called with the run at each of `snapshot_steps` (pictures of the toy sets).
        snapshot_steps: theta-steps at which to stop for it.
        again: whether compiled functions of the last such run are used again, and kept for the next
            one: the same bits sooner, for the memory of a run.

    Raises:
        ValueError: an option does not fit the data, or the folder holds another run, finished or
            going on, or somebody's own files of the names that a run writes.
        OSError: the data is not there, the disk is full, or another process of the run has ended.
        NonFiniteError: training is not finite any more; names the step.
        MemoryError: the machine or the device has not enough.
    """
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    limit_threads(config)
    devices = join_workers(config)
    folder = held(Path(config.out)) if devices.is_chief else contextlib.nullcontext()
    with quiet(devices), told_of_lost_workers(devices), folder:
        if devices.is_chief:
            refuse_foreign(config)
        divide_the_cpu(config)
        try:
            run = _made(config, cache_dir, again, devices)
            summary = _execute(run, program, on_step, sorted(snapshot_steps))
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(
                f"{error.message.splitlines()[0]}. Lower --labeled_batch, --unlabeled_ratio, "
                "--val_batch or the size of the model"
            ) from error
        devices.barrier()  # whoever ended before the chief had written would be missed as lost
    return summary


def _made(config, cache_dir, again, devices):
    folder = Path(config.out)
    with told_of_the_first_choice(config, folder):
        splits = load_splits(as_read(config, folder), cache_dir)
        _refuse_not_finite(splits)
        refuse_different(devices, premises(config, splits))
        devices.alike = machines_alike(devices)
        run = build(config, splits)
    refuse_different(devices, parts_of(run))
    run = _kept.in_place_of(run) if again else run
    if run.trainer.store.learns:
        run.trainer.parameters.check(first_input(run))
    return run


def _execute(run, program, on_step, snapshot_steps):
    config, devices = run.config, run.trainer.devices
    checkpoints = checkpoints_of(config, run)
    written = _resume(run, checkpoints) if devices.is_chief else NOTHING
    share_state(run)
    log = _begun(run, program, written) if devices.is_chief else QuietLog()
    try:
        with told_of_lost_workers(devices, run.trainer), Stop() as stop, log:
            finished = _loop(run, log, checkpoints, stop, on_step, snapshot_steps)
    finally:
        for member in run.trainer.members:  # they hold memory and threads
            member.theta.forget()
    if not finished:
        return None
    if not devices.is_chief:
        return {"worker": devices.worker}
    summary = results.write_results(run, log.elapsed(), log.lambda_share())
    print(
        f"finished {config.out}: {summary['method']}, {_error(config, summary)}, Λ took "
        f"{summary['lambda_share']:.1%} of the time",
        flush=True,
    )
    warn(summary["warnings"])
    return summary


def _begun(run, program, written):
    """Return the log of a run that begins or goes on, and say which it is."""
    config, out = run.config, Path(run.config.out)
    until = (config.learning_steps or config.total_steps) if run.trainer.store.learns else 0
    log = RunLog(out, config.total_steps, written, run.trainer.step, config.model_steps, until)
    stated = results.write_config(run, program)  # first: by this file the run knows its folder
    if run.trainer.step < config.total_steps:  # the run is not complete until it says so
        (out / "summary.json").unlink(missing_ok=True)
    announce(run, stated)
    return log


def _error(config, summary):
    """Return the error that is compared, in words; as `RunRecord.test_error`."""
    if config.inner == SOLVE:
        return f"test error {summary['test_error_last']:.2f} %"
    count = min(evaluations(config), LAST_EVALUATIONS)
    error = f"test error {summary['test_error_median20']:.2f} %"
    return f"{error} (median of the last {count} evaluations)"


def _refuse_not_finite(splits):
    """A NaN may come out of a ReLU as 0: no loss would tell."""
    for name in ("labeled", "unlabeled", "validation", "test"):
        inputs = getattr(splits, name).inputs
        if len(bad := rows_not_finite(inputs)):
            raise ValueError(
                f"The inputs of the {name} examples must be finite. Received: NaN or infinity in "
                f"{len(bad)} of {len(inputs)}, first in number {bad[0]}. Mend or remove them."
            )


def _resume(run, checkpoints):
    if not run.config.resume:
        if checkpoints.paths():
            raise ValueError(
                f"{run.config.out} already holds checkpoints and --resume=false. "
                "Give another --out, or delete that folder."
            )
        return NOTHING
    found = checkpoints.restore()
    if found is None:
        return NOTHING
    step, state, complaints = found
    for complaint in complaints:
        print(f"{complaint} Falling back to the checkpoint before it.", flush=True)
    print(f"resuming at step {step}", flush=True)
    return restore(run, step, state)


@named_errors()
def _loop(run, log, checkpoints, stop, on_step, snapshot_steps):
    trainer, config, devices = run.trainer, run.config, run.trainer.devices
    clock = Clock(log, trainer.step, config.learning_steps)
    history, told = None, lambda run: None
    if devices.is_chief:
        history = history_of(config, len(run.splits.unlabeled), trainer.step)
        told = on_step
    if trainer.step in snapshot_steps:
        told(run)
    stops = functools.partial(_next_stop, config=config, snapshot_steps=snapshot_steps)
    most = clock.most
    events = trainer.steps(config.total_steps, stops, lambda: most)
    for event, seconds in clock.timed(events):
        clock.count(event, seconds, trainer.step)
        if devices.is_chief:
            _record(run, log, history, event)
        if event.kind == "lambda":
            continue
        whole = event.kind == "train"
        # Asked once: the answer may change on any line.
        stopping, most = agree(devices, stop.asked(), clock.most)
        saves = stopping or (whole and _due(event.step, config.checkpoint_every, config))
        if devices.is_chief:
            if saves:
                checkpoints.save(event.step, capture(run, log.written))
            log.progress(event.step, "/".join(Path(config.out).parts[-2:]))
        if stopping and event.step < config.total_steps:
            return False
        if whole and event.step in snapshot_steps:
            told(run)
    return True


def _record(run, log, history, event):
    """Write down what an event has to tell, and evaluate where that is due."""
    if event.kind == "lambda":
        log_lambda(run, log, event)
    if event.kind != "train":
        return
    log.write("train", event.step, **event.report)
    log.timing(event.step)
    if _due(event.step, run.config.eval_every, run.config):
        evaluate(run, log, history)


def _due(step, every, config):
    taken = (step - 1) % config.steps + 1  # of the refit, or of what learns before it
    return taken % every == 0 or taken == config.steps


def _next_stop(step, config, snapshot_steps):
    start = step // config.steps * config.steps
    periods = (config.log_every, config.eval_every, config.checkpoint_every)
    stops = [start + ((step - start) // period + 1) * period for period in periods]
    return min(stops + [s for s in snapshot_steps if s > step])
