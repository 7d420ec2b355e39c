"""What a run writes while it goes: metrics.jsonl, timing.jsonl, TensorBoard, a progress line."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import tensorflow as tf

ESTIMATED_OVER = 1.0  # seconds of training that an estimate is made from, or a tenth of the run


class RunLog:
    """Appends to the logs of one run folder.

    metrics.jsonl holds deterministic values only, so that a resumed run's file equals the unbroken
    one's byte for byte; wall-clock figures go to timing.jsonl.

    Args:
        folder: run folder.
        total_steps: length of the run, for the progress line.
        metrics_bytes: length of metrics.jsonl at the checkpoint being resumed; what stands behind
            it was written by steps that will be taken again.
        step: the step being resumed.

    Raises:
        ValueError: metrics.jsonl is shorter than the checkpoint says.
    """

    def __init__(self, folder: str | Path, total_steps: int, metrics_bytes: int = 0, step: int = 0):
        self.folder, self.total_steps = Path(folder), total_steps
        self.path = self.folder / "metrics.jsonl"
        self.path.touch()
        if self.path.stat().st_size < metrics_bytes:
            raise ValueError(
                f"{self.path} has {self.path.stat().st_size} bytes, the checkpoint was taken at "
                f"{metrics_bytes}: the log has been cut. Restore it or give a new --out."
            )
        os.truncate(self.path, metrics_bytes)
        self.board = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
        self.seconds = {"theta": 0.0, "lambda": 0.0}
        self.first_calls = {}
        self.before = _truncate_timing(self.folder / "timing.jsonl", step)
        self.started, self.first_step = time.monotonic(), None
        self.progress_at, self.latest, self.estimated = -math.inf, {}, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.board.close()

    @property
    def bytes_written(self) -> int:
        """Length of metrics.jsonl, for the checkpoint; everything up to there is on disk."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def write(self, kind: str, step: int, **values) -> None:
        """Append one line to metrics.jsonl and the scalars to TensorBoard."""
        line = {"kind": kind, "step": step} | {k: _clean(v) for k, v in values.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        self.latest |= line
        with self.board.as_default(step=step):
            for name, value in line.items():
                if isinstance(value, float) and name != "step":
                    tf.summary.scalar(f"{kind}/{name}", value)

    def histogram(self, step: int, weights) -> None:
        """Write the distribution of lambda [|U|] to TensorBoard."""
        with self.board.as_default(step=step):
            tf.summary.histogram("lambda/weights", weights)

    def spent(self, kind: str, seconds: float) -> None:
        """Count the time of a call of "theta" or "lambda" steps.

        The first call of each kind traces and compiles; it is kept apart, or it would decide the
        Lambda-steps' share in short runs.
        """
        if kind not in self.first_calls:
            self.first_calls[kind] = seconds
        else:
            self.seconds[kind] += seconds

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
        with open(self.folder / "timing.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")

    def elapsed(self) -> float:
        """Return the seconds spent on this run, earlier sittings included."""
        return self.before.get("elapsed_seconds", 0.0) + time.monotonic() - self.started

    def progress(self, step: int, name: str, *, every: float = 5.0) -> None:
        """Print one line, at most once in `every` seconds and at the end; before it an estimate."""
        if self.first_step is None:
            self.first_step, self.started_steps = step, time.monotonic()
            self.compiled = sum(self.first_calls.values())
        now = time.monotonic()
        compiled = sum(self.first_calls.values()) - self.compiled  # Lambda-steps come later
        self._estimate(step, max(now - self.started_steps - compiled, 0.0), name)
        if step < self.total_steps and now - self.progress_at < every:
            return
        self.progress_at = now
        rate = (step - self.first_step) / max(now - self.started_steps, 1e-9)
        left = (self.total_steps - step) / rate if rate > 0 else math.nan
        print(
            _progress_text(step, self.total_steps, left, self.latest, self.lambda_share(), name),
            flush=True,
        )

    def _estimate(self, step, seconds, name):
        """Print, once, how long the run will take, from steps that compile nothing any more."""
        taken, left = step - self.first_step, self.total_steps - step
        enough = seconds >= ESTIMATED_OVER or taken >= self.total_steps / 10
        if self.estimated or not (taken and left and enough):
            return
        self.estimated, each = True, seconds / taken
        print(
            f"{name}: estimated time {_clock(left * each)} for the {left} steps that are left, at "
            f"{each:.3g} s a step in the last {taken}",
            flush=True,
        )

    def _total(self, kind):
        return self.before.get(f"{kind}_seconds", 0.0) + self.seconds[kind]


def _progress_text(step, total, left, latest, share, name):
    parts = [f"{name}  {step}/{total}", f"ETA {_clock(left)}"]
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


def _clock(seconds):
    if not math.isfinite(seconds):
        return "--:--"
    minutes, rest = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
        if minutes >= 60
        else f"{minutes}:{rest:02d}"
    )


def _clean(value):
    # JSON has no NaN; a value that is not finite is left out of plots as null.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _truncate_timing(path, step):
    """Drop the lines of steps that will be taken again; return the last that stays."""
    kept = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break  # cut short by a kill: figures of time may be lost, results are not affected
        if line["step"] > step or step == 0:
            break
        kept.append(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    return kept[-1] if kept else {}
