"""The smoke form of a run: the same program and flags, small enough for a CPU, on offline data.

What stays: the net's depth, the image size, the classes, the ratio of unlabeled examples, every
switch of the algorithm and of Eq. 6. What shrinks: batches and sets by 16, channels by 4, and the
steps to a few.
"""

from __future__ import annotations

import dataclasses
import math

from experiments.options.algorithm import MIXING
from experiments.options.config import Config
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.images.mnist_like import load_digits

MARK = "SMOKE"  # heads whatever such a run says, so that nobody takes it for a result
BATCHES, CHANNELS = 16, 4  # divisors
STEPS, INNER_STEPS = 4, 2  # one Lambda-step when weights are learned, one evaluation at the end
CLASSES = 10
UNLABELED = TEST = 260  # at least |D| of 4,000 labels; one size, so that one graph evaluates both


def shrunk(config: Config) -> dict[str, int]:
    """Return the options in which the smoke form of a configuration differs from it."""
    smaller = {
        name: max(least, getattr(config, name) // BATCHES)
        for name, least in (
            ("labeled_batch", 1), ("lambda_batch", 1), ("val_batch", 1),
            ("num_labeled", CLASSES), ("val_size", CLASSES),
        )
        if getattr(config, name)
    }  # fmt: skip
    if config.labeled_set != "drawn":  # fewer of UDA's first labels are not of all classes
        smaller["num_labeled"] = max(50, smaller["num_labeled"])
    quarters = 4 if config.algorithm == "remixmatch" else 1
    unit = math.lcm(max(config.devices, 1), quarters // math.gcd(quarters, config.unlabeled_ratio))
    smaller["labeled_batch"] = _up_to(smaller["labeled_batch"], unit)
    if config.algorithm in MIXING and config.lambda_batch:
        unit = math.lcm(smaller["labeled_batch"], quarters)
        smaller["lambda_batch"] = _up_to(smaller["lambda_batch"], unit)
    if config.inverse_hessian == "unrolled":  # it looks back on the few steps that there are
        smaller["solve_iterations"] = min(config.solve_iterations, INNER_STEPS - config.stale_w)
    return smaller | {
        "base_filters": max(1, config.base_filters // CHANNELS),
        "num_unlabeled": UNLABELED,
        "num_test": TEST,
        "steps": STEPS,
        "inner_steps": INNER_STEPS,
        "lambda_warmup_steps": min(config.lambda_warmup_steps, 1),
        "lr_warmup_steps": min(config.lr_warmup_steps, 1),
        "lambda_init": config.lambda_init,  # UDA's depends on the number of labels
        "eval_every": STEPS,
        "checkpoint_every": STEPS,
        "log_every": STEPS,
    }


def _up_to(size, unit):
    return math.ceil(size / unit) * unit


def stand_in(name: str) -> RawDataset:
    """Return scikit-learn's digits under another name, in colour: [n, 32, 32, 3] uint8."""
    digits = load_digits()
    source = f"{MARK}: {digits.source}, in the place of {name}"
    parts = {part: _in_colour(getattr(digits, part)) for part in ("train", "test")}
    return dataclasses.replace(digits, name=name, source=source, **parts)


def _in_colour(grey: Examples) -> Examples:
    return dataclasses.replace(grey, inputs=grey.inputs.repeat(3, axis=3))
