"""All state of a run as named arrays: what a checkpoint holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.assemble.run import Run
from experiments.options.config import RETIRED, Config, options_as_json, renewed
from experiments.options.effects import effect_of, is_free
from experiments.options.entry import CONTENT
from experiments.runs.log import NOTHING, Written
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.checkpointing import TABLES, Checkpoints
from ssl_weighting.data.row_chunks import Column, Stored, Tables
from ssl_weighting.madam import widened
from ssl_weighting.theta.step import NonFiniteError
from ssl_weighting.weight_store import WeightStore

LARGE = 2**20  # examples of U from which what there is of each lies in chunks, see `row_chunks`
_MODEL = ("params/", "non_trainable/", "ema/")
_COUNTS = re.compile(r"^(weights/\d+/visits|scores/\d+/count)$")  # int32 in earlier versions
_NUMBERING = re.compile(r"_\d+(?=[/_]|$)")


def variables(run: Run) -> dict:
    """Return every variable of the run by a stable name.

    Keras numbers the layers of a process, not of a model (conv2d_12 in the second run), so these
    numbers are dropped; the place in its group tells members apart.
    """
    return variables_of(run.trainer.members, run.trainer.store)


def variables_of(members: Sequence[BilevelTrainer], store: WeightStore) -> dict:
    """Return every variable of some trainers and of the Lambda that they share, as `variables`."""
    groups = {
        "params": [v for t in members for v in t.params],
        "non_trainable": [v for t in members for v in t.model.non_trainable_variables],
        "ema": [v for t in members for v in t.ema.variables],
        "theta_optimizer": [v for t in members for v in t.optimizer.variables],
        "weights": store.variables,
        "algorithm": [v for t in members for v in getattr(t.algorithm, "variables", [])],
        "scores": [v for t in members if t.scores for v in t.scores.variables],
        "replay": [v for t in members if t.replay for v in t.replay.variables],
        "cta_rates": [v for t in members if t.rates for v in t.rates.variables],
    }
    return {
        f"{group}/{k:04d}/{_NUMBERING.sub('', v.path)}": v
        for group, members in groups.items()
        for k, v in enumerate(members)
    }


def capture(run: Run, written: Written = NOTHING) -> dict[str, np.ndarray | Tables]:
    """Return copies of all state; the batches need none, they are pure functions of the step.

    Of a U of more than `LARGE` examples what there is of each is not copied: under the name
    `TABLES` the state has a `Tables` that reads it.

    Args:
        run: where it stands.
        written: how far its metrics.jsonl was.

    Raises:
        NonFiniteError: theta, its average or a BatchNorm statistic is not finite. No checkpoint
            may hold such values, or resuming would never get past them.
    """
    every, tables = variables(run), tables_of(run)
    apart = {column.key for column in tables.columns} if tables else ()
    state = {name: np.array(v.numpy()) for name, v in every.items() if name not in apart}
    bad = [k for k, v in state.items() if k.startswith(_MODEL) and not np.isfinite(v).all()]
    if bad:
        raise NonFiniteError(
            f"Not finite after step {run.trainer.step}: {', '.join(bad[:5])}. No checkpoint is "
            "written. Lower the learning rate or check the inputs, and resume from the last one."
        )
    state["lambda_steps"] = np.array(run.trainer.lambda_steps)
    state["metrics_bytes"] = np.array(written.size)
    state["metrics_sha256"] = np.frombuffer(written.sha256, np.uint8)
    unreported = np.stack([member.theta.unreported for member in run.trainer.members])
    if unreported.any():  # within a block of theta-steps
        state["unreported"] = unreported
    return state | ({TABLES: tables} if tables else {})


def tables_of(run: Run) -> Tables | None:
    """Return what there is of each example of a large U, for a checkpoint; None: U is not large."""
    store = run.trainer.store
    if store.num_unlabeled <= LARGE:
        return None
    # A refit's are others of the same name, which stay as they are.
    scoring = [m for m in run.trainer.members if m.scores and m.store.learns]
    own = {id(v) for v in sum([member.scores.tables for member in scoring], store.tables)}
    # What a refresh of scores has cleared was among the ids of its Lambda-step.
    changed = [store.changed.rows(), *(member.met() for member in scoring)]
    known = all(rows is not None for rows in changed)
    return Tables(
        store.num_unlabeled,
        tuple(
            Column(name, str(v.dtype), lambda rows, v=v: tf.gather(v.value, rows).numpy())
            for name, v in variables(run).items()
            if id(v) in own
        ),
        np.unique(np.concatenate(changed)) if known else None,
        store.changed,
    )


def restore(run: Run, step: int, state: dict[str, np.ndarray | Stored]) -> Written:
    """Put `state` back; return how far metrics.jsonl had been written.

    Raises:
        ValueError: an array is missing or has another shape or dtype.
    """
    run.trainer.step, run.trainer.lambda_steps = step, int(state["lambda_steps"])
    # Of what trains at that step.
    state = _with_influences(run, _with_wide_squares(run, _with_newer_scores(run, state)))
    every, stored = variables(run), state.get(TABLES)
    rows, kinds = ((stored.saved.rows,), stored.saved.columns) if stored else ((), {})
    for name, variable in every.items():
        value = state.get(name)
        expected = (tuple(variable.shape), str(variable.dtype))
        found = None if value is None else (value.shape, str(value.dtype))
        if name in kinds:
            found = rows, kinds[name]
        if found != expected:
            raise ValueError(f"Checkpoint entry {name} must be {expected}. Received: {found}")
    for name, variable in every.items():
        if name not in kinds:
            variable.assign(state[name])
    run.trainer.store.note(None)
    if stored:
        restore_tables(stored, every)
        run.trainer.store.changed.clear(stored.saved)
    for place, member in enumerate(run.trainer.members):
        nothing = np.zeros_like(member.theta.unreported)
        member.theta.unreported = state["unreported"][place] if "unreported" in state else nothing
    sha256 = state.get("metrics_sha256", np.zeros(0, np.uint8))  # older checkpoints have none
    return Written(int(state["metrics_bytes"]), sha256.tobytes())


def restore_tables(stored: Stored, every: dict) -> None:
    """Put a table back, chunk by chunk; `every` has the variables of its columns by name."""
    for start, block in stored.blocks():
        for key, values in block.items():
            rows = np.arange(start, start + len(values))
            every[key].value.scatter_update(tf.IndexedSlices(values, rows))


def _with_newer_scores(run, state):
    """Return `state` with counts in float32, where earlier versions had int32, and `since`.

    Where that was not recorded the scores that wait are looked for in all of U, once.
    """
    unknown = {
        name: np.array(-1)
        for name in variables(run)
        if re.match(r"scores/\d+/since$", name) and name not in state
    }
    counts = {
        name: value.astype(np.float32)
        for name, value in state.items()
        if _COUNTS.match(name) and value.dtype == np.int32
    }
    return state | unknown | counts


def _with_wide_squares(run, state):
    """Return `state` with the second moments of Lambda in float64; earlier versions had float32."""
    slots = [name for name in variables(run) if re.match(r"weights/\d+/m?adam/lam_", name)]
    there = len(slots) > 1 and all(name in state for name in slots)
    if not there or str(state[slots[1]].dtype) != "float32":
        return state
    moments, lost = widened(*(state[name] for name in slots))
    print(
        "the checkpoint has second moments of Λ in float32, as earlier versions did: "
        f"{lost} of them were too small for it and start anew, the others go on",
        flush=True,
    )
    return state | dict(zip(slots, moments, strict=True))


def _with_influences(run, state):
    """Return `state` with the influences a visit, which earlier versions did not record.

    Of examples that were visited before they stay unknown.
    """
    names = [name for name in variables(run) if re.search(r"/influence_(mean|deviation)$", name)]
    visits = next((value for name, value in state.items() if name.endswith("/visits")), None)
    if visits is None or any(name in state for name in names):
        return state
    unknown = np.where(visits > 0, np.float32(np.nan), np.float32(0))
    print(
        "the checkpoint has no influences a visit, as those of earlier versions: of the "
        f"{np.isnan(unknown).sum()} examples that were visited before they stay unknown",
        flush=True,
    )
    return state | dict.fromkeys(names, unknown)


def fingerprint(config: Config, run: Run) -> dict:
    """Return what a run must share with the checkpoint it resumes from, key by key.

    Where data, BERT and paraphrases lie is left out: the same bytes from elsewhere are the same.
    """
    options = _decisive(options_as_json(config))
    shapes = [list(p.shape) for t in run.trainer.members for p in t.params]
    return options | {
        "dataset": config.dataset.partition(":")[0],  # csv of csv:PATH
        "devices": run.trainer.devices.count,  # 0 means as many as are found
        "split_hash": run.splits.split_hash,
        "inputs": "; ".join(f"{name} {digest}" for name, digest in run.inputs.items()),
        "model_parameters": int(sum(np.prod(s) for s in shapes)),
    }


def _decisive(options):
    """Return what a run must share of its options, also of a run of when more had to be shared."""
    return {
        name: value
        for name, value in renewed(options).items()
        if not is_free(name) and effect_of(name) != CONTENT
    }


def checkpoints_of(config: Config, run: Run) -> Checkpoints:
    """Return the checkpoints of the run in `config.out`.

    A run that is older than an option counts as a run with the option's default. With
    `resume_with_devices` a checkpoint of any number of devices counts as of this one.
    """
    now = fingerprint(config, run)
    other = {"devices": now["devices"]} if config.resume_with_devices else {}
    return Checkpoints(
        Path(config.out) / "checkpoints",
        now,
        config.keep_checkpoints,
        defaults=options_as_json(Config()) | RETIRED | {"inputs": ""},
        reading=lambda options: _decisive(options) | other,
    )
