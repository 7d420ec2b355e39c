"""What makes a run's numbers worth less than they look: one list, from the run's own record.

A warning is "what is wrong: the numbers". The log prints them, those that no step can change before
the first one; summary.json holds all of them, and the report opens with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.options.config import Config
from experiments.pages.statistics import LAST_EVALUATIONS
from experiments.runs.machine import changes
from experiments.runs.run_files import read_text
from ssl_weighting.training.solved import STEPS

TESTED, TESTED_OF_A_CLASS = 100, 5  # test examples, below which an error is hardly a number
COVERED = 0.5  # share of U whose λ was updated
MOVED = 0.05  # of the initial λ
HELD = 0.1  # share of an average that initial values make up


def foreseen(config: Config, configuration: Mapping[str, Any]) -> list[str]:
    """Return the warnings that hold before the first step.

    Args:
        config: the run's options.
        configuration: what its config.json holds.
    """
    return [
        *_averages(config),
        *(_evaluations(evaluations(config)) if config.inner == STEPS else ()),
        *_test_set(configuration["class_names"], configuration["class_counts"]["test"]),
        *_machines(configuration["machines"]),
    ]


def evaluations(config: Config) -> int:
    """Return how often a run is evaluated: when it is due, and at the end."""
    return -(-config.steps // config.eval_every)


def warnings_of(config: Config, configuration: Mapping[str, Any], summary: Mapping) -> list[str]:
    """Return all warnings of a run that has taken its last step.

    Args:
        config, configuration: as in `foreseen`.
        summary: what summary.json will hold: "lam_quantiles" and "coverage".
    """
    found = foreseen(config, configuration)
    if config.uses_unlabeled:
        found += _mask(config, Path(config.out) / "metrics.jsonl")
    if config.learns:
        found += _weights(config.lambda_init, summary["lam_quantiles"], summary["coverage"])
    return found


def _averages(config):
    # Neither average is corrected for its initial values: they keep decay^steps.
    found = []
    for what, decay, name in (
        ("the averaged parameters, which are evaluated,", config.ema_decay, "ema_decay"),
        ("BatchNorm's moving statistics", config.batch_norm_decay, "batch_norm_decay"),
    ):
        held = decay**config.steps
        if held > HELD and (name == "ema_decay" or config.model == "wide_resnet"):
            found.append(
                f"{what} still hold more than {HELD:.0%} of their initial values: {held:.0%} after "
                f"{config.steps} steps with --{name}={decay:g}"
            )
    return found


def _evaluations(count):
    wanted = LAST_EVALUATIONS
    if count >= wanted:
        return []
    text = f"fewer than {wanted} evaluations behind “median of the last {wanted}”"
    return [f"{text}: {count}, lower --eval_every"]


def _test_set(names, counts):
    total, found = sum(counts), []
    if total < TESTED:
        found.append(
            f"fewer than {TESTED} test examples: {total}, each of which is {100 / total:.1f} points"
        )
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < TESTED_OF_A_CLASS]
    if few:
        found.append(f"fewer than {TESTED_OF_A_CLASS} test examples of a class: {', '.join(few)}")
    return found


def _machines(machines):
    if len(machines) < 2:
        return []
    what = changes(machines)
    return [f"made on several machines, and not bit for bit the unbroken run: {what}"]


def _mask(config, path):
    start = max(config.lambda_warmup_steps, config.lr_warmup_steps)
    lines = map(json.loads, filter(str.strip, read_text(path).splitlines()))
    rates = [x["mask_rate"] for x in lines if x["kind"] == "train" and x["step"] > start]
    empty = np.mean([rate == 0 for rate in rates]) if rates else 0.0
    if empty <= 0.5:
        return []
    return [
        "no unlabeled example passed the mask after the warm-up: the rate is 0 in "
        f"{empty:.0%} of the log lines from step {start} on, lower --threshold"
    ]


def _weights(initial: float, quantiles: Sequence[float], coverage: float):
    found = []
    if coverage < COVERED:
        found.append(f"fewer than {COVERED:.0%} of λ were updated: {coverage:.1%}")
    low, high = quantiles[1], quantiles[5]
    if max(initial - low, high - initial) < MOVED * (initial or 1.0):
        found.append(
            f"Λ hardly moved: 90 % of λ lie from {low:.3f} to {high:.3f}, they began at {initial:g}"
        )
    return found
