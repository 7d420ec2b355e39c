"""What a run writes while it goes: metrics.jsonl, timing.jsonl, TensorBoard, a progress line."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.pages.wording import clock
from experiments.runs.board import Board
from experiments.runs.times import Times


class Written(NamedTuple):
    """How far metrics.jsonl had been written, and the SHA-256 of that much of it."""

    size: int = 0
    sha256: bytes = b""  # empty: not known, of an older checkpoint


NOTHING = Written()

ESTIMATED_OVER = 1.0  # seconds of training that an estimate is made from, or a tenth of the run


class RunLog:
    """Appends to the logs of one run folder.

    metrics.jsonl holds deterministic values only, so that a resumed run's file equals the unbroken
    one's byte for byte; wall-clock figures go to timing.jsonl.

    Args:
        folder: run folder.
        total_steps: length of the run, for the progress line.
        written: metrics.jsonl at the checkpoint being resumed; what stands behind that was written
            by steps that will be taken again.
        step: the step being resumed.
        model_steps: step -> theta-steps of single models up to it, where these are side by side.
        lambda_until: up to which step there are Lambda-steps; 0: there are none.

    Raises:
        ValueError: metrics.jsonl is not what it was at the checkpoint. Nothing was changed.
    """

    def __init__(
        self,
        folder: str | Path,
        total_steps: int,
        written: Written = NOTHING,
        step: int = 0,
        model_steps: Callable[[int], int] = int,
        lambda_until: int = 0,
    ):
        self.folder, self.total_steps, self.step = Path(folder), total_steps, step
        self.model_steps, self.lambda_until = model_steps, lambda_until
        self.path = self.folder / "metrics.jsonl"
        self.size, self.digest = written.size, _digest(self.path, written, step)
        self.seconds = {"theta": 0.0, "lambda": 0.0}
        self.first_calls, self.before = {}, {}
        self.started, self.first_step = time.monotonic(), None
        self.progress_at, self.latest, self.estimated = -math.inf, {}, False
        self.warming = False

    def __enter__(self):
        with open(self.path, "ab") as file:
            file.truncate(self.size)
        self.board = Board(self.folder / "tensorboard")
        self.times = Times(self.folder / "timing.jsonl")
        self.before = self.times.cut(self.step)
        return self

    def __exit__(self, *_):
        self.board.close()

    @property
    def written(self) -> Written:
        """What is on disk of metrics.jsonl, for the checkpoint."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return Written(self.size, self.digest.digest())

    def write(self, kind: str, step: int, **values) -> None:
        """Append one line to metrics.jsonl and the scalars to TensorBoard.

        Raises:
            OSError: the line cannot be written; names the file.
        """
        line = {"kind": kind, "step": step} | {k: _clean(v) for k, v in values.items()}
        content = f"{json.dumps(line, allow_nan=False)}\n".encode()
        try:
            with open(self.path, "ab") as file:
                file.write(content)
        except OSError as error:
            raise OSError(
                error.errno,
                f"could not write {self.path}: {error.strerror or error}. Free some space and give "
                "the same command again: the run goes on from its last checkpoint",
            ) from error
        self.size += len(content)
        self.digest.update(content)
        self.latest |= line
        self.board.scalars(kind, step, {k: v for k, v in line.items() if isinstance(v, float)})

    def histogram(self, step: int, weights) -> None:
        """Write the distribution of lambda, of all or of some examples, to TensorBoard."""
        self.board.histogram(step, weights)

    def spent(self, kind: str, seconds: float) -> None:
        """Count the time of a call of "theta" or "lambda" steps, or of a "refit"'s theta-steps.

        The first call of each kind traces and compiles; it is kept apart, or it would decide the
        Lambda-steps' share in short runs.
        """
        if kind not in self.first_calls:
            self.first_calls[kind] = seconds
        else:
            self.seconds["theta" if kind == "refit" else kind] += seconds

    def lambda_share(self) -> float:
        """Return the Lambda-steps' share of the training time so far, in [0, 1]."""
        lam, theta = self._total("lambda"), self._total("theta")
        return lam / max(theta + lam, 1e-9)

    def timing(self, step: int) -> None:
        """Append one line to timing.jsonl."""
        line = {
            "step": step,
            "elapsed_seconds": self.elapsed(),
            "theta_seconds": self._total("theta"),
            "lambda_seconds": self._total("lambda"),
            "first_call_seconds": sum(self.first_calls.values()),
            "lambda_share": self.lambda_share(),
        }
        self.times.add(line)

    def elapsed(self) -> float:
        """Return the seconds spent on this run, earlier sittings included."""
        return self.before.get("elapsed_seconds", 0.0) + time.monotonic() - self.started

    def progress(self, step: int, name: str, *, every: float = 5.0) -> None:
        """Print one line, at most once in `every` seconds and at the end; before it an estimate."""
        warming = self._awaits_lambda(step)
        if self.first_step is None or (self.warming and not warming):
            self._start_counting(step)
        self.warming, now = warming, time.monotonic()
        compiled = sum(self.first_calls.values()) - self.compiled  # Lambda-steps come later
        self._estimate(step, max(now - self.started_steps - compiled, 0.0), name)
        if step < self.total_steps and now - self.progress_at < every:
            return
        self.progress_at = now
        rate = self._work(self.first_step, step) / max(now - self.started_steps, 1e-9)
        left = self._work(step, self.total_steps) / rate if rate > 0 else math.nan
        eta = f"{clock(left)}{' without Λ-steps' if warming and left > 0 else ''}"
        print(
            _progress_text(step, self.total_steps, eta, self.latest, self.lambda_share(), name),
            flush=True,
        )

    def _awaits_lambda(self, step):
        """Return whether Lambda-steps will come and none did yet: the times leave them out."""
        return step < self.lambda_until and "lambda" not in self.first_calls

    def _start_counting(self, step):
        self.first_step, self.started_steps = step, time.monotonic()
        self.compiled, self.lambda_before = sum(self.first_calls.values()), self.seconds["lambda"]

    def _estimate(self, step, seconds, name):
        """Print, once, how long the run will take, from steps that compile nothing any more."""
        taken, left = step - self.first_step, self.total_steps - step
        enough = seconds >= ESTIMATED_OVER or taken >= self.total_steps / 10
        if step < self.lambda_until:  # one that compiled nothing must be in it
            enough &= self.seconds["lambda"] > self.lambda_before
        if self.estimated or not (taken and left and enough):
            return
        self.estimated, each = True, seconds / self._work(self.first_step, step)
        models = self._work(step - 1, step)
        print(
            f"{name}: estimated time {clock(each * self._work(step, self.total_steps))} for the "
            f"{left} steps that are left, at {each * models:.3g} s a step in the last {taken}",
            flush=True,
        )

    def _work(self, step, until):
        """Return the theta-steps of single models in between: a refit trains fewer side by side."""
        return self.model_steps(until) - self.model_steps(step)

    def _total(self, kind):
        return self.before.get(f"{kind}_seconds", 0.0) + self.seconds[kind]


def _progress_text(step, total, eta, latest, share, name):
    parts = [f"{name}  {step}/{total}", f"ETA {eta}"]
    for label, key, form in (
        ("loss", "loss", "{:.3f}"),
        ("labeled", "loss_labeled", "{:.3f}"),
        ("unlabeled", "loss_unlabeled", "{:.3f}"),
        ("mask", "mask_rate", "{:.0%}"),
        ("test error", "test_error", "{:.1f} %"),
        ("coverage", "coverage", "{:.0%}"),
    ):
        if key in latest:
            parts.append(f"{label} {form.format(latest[key])}")
    if "lam_quantiles" in latest:
        low, middle, high = (latest["lam_quantiles"][k] for k in (1, 3, 5))
        parts.append(f"λ 5/50/95 % {low:.2f}/{middle:.2f}/{high:.2f}")
        parts.append(f"Λ {share:.1%} of the time")
    return "  ".join(parts)


def _clean(value):
    # JSON has no NaN; a value that is not finite is left out of plots as null.
    values = value if isinstance(value, list) else [value]
    return None if any(isinstance(v, float) and not math.isfinite(v) for v in values) else value


def _digest(path, written, step):
    """Return the running digest of metrics.jsonl; refuse a file that a checkpoint does not know."""
    content = b""
    if written.size and path.exists():
        with open(path, "rb") as file:
            content = file.read(written.size)
    found, advice = hashlib.sha256(content), "Restore it, or give a new --out to train anew."
    if len(content) < written.size:
        raise ValueError(
            f"{path} has {len(content)} bytes, the checkpoint was taken at {written.size}: the log "
            f"has been cut. {advice}"
        )
    if written.sha256 and found.digest() != written.sha256:
        raise ValueError(
            f"{path} was changed: its first {written.size} bytes are not those that the run had "
            f"written at the checkpoint of step {step}. {advice}"
        )
    return found
