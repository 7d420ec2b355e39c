"""A recipe for a user's own data: what is trained, and for how long, from a few counts.

Pure rules, without TensorFlow: a `Situation` in, settings by the names of the library's arguments
and the programs' options out. The same situation gives the same settings on every machine; time is
reckoned with constants, never measured. docs/own_data.md shows what the numbers were chosen by.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ssl_weighting.data.numbers import check_whole
from ssl_weighting.training.recipes import FEATURES, LAMBDA_STEPS, MOST, WARM_UP, WHOLE

COVERAGE = 0.8  # share of U whose weights are sure to be moved
STEPS, LEAST_STEPS = 1500, 300  # theta-steps of a phase; where time is short
LEAST_LAMBDA_STEPS = 15  # of a run, where time is short
EVALUATIONS = 20  # of a phase
LABELED_BATCH, RATIO = FEATURES["labeled_batch"], FEATURES["unlabeled_ratio"]
QUARTER = 4
# Ridge of a linear head for each standardised feature, so that logits vary as much with many as
# with few.
RIDGE = 3e-4
# A linear head on a frozen net's features sees so many principal components, whose mean variance is
# 1, where there are more features than `FEW` and no more labels than `HELD`: more labels hold all
# features, and gain by it. Arrays of one's own are left as they are: the components of columns in
# different units are those of the largest unit.
COMPONENTS, FEW, HELD = 60, 100, 150
# They settle in fewer steps, and more Lambda-steps drive the weights to their ends.
STEPS_OF_COMPONENTS, LAMBDA_STEPS_OF_COMPONENTS, WARM_UP_OF_COMPONENTS = 500, 20, 4
RATE_OF_COMPONENTS = 0.02
# Their ridge up to so many labels; beyond them it falls as their power 1.5.
RIDGE_OF_COMPONENTS, SO_MANY = 0.3, 80
WU, WU_OF_COMPONENTS = 1.0, 0.5
# Work of a CPU core in a second, a third of what was measured on a shared 2-core machine of 2024:
# multiplications and additions of a Lambda-step, and of a theta-step with its batch.
FLOPS = 1e10
OVERHEAD = 25.0  # seconds: start, compilation, evaluations, tables
STEP_OVERHEAD = 2e-3  # seconds of a theta-step that are not arithmetic
GPU = 10  # times the work of a CPU
# Seconds of a theta-step of a Wide-ResNet-10-1 on 16 + 64 images of 32x32 in two views, with its
# share of the Lambda-steps.
STEP_OF_A_NET, MOST_STEPS_OF_A_NET, LAMBDA_STEPS_OF_A_NET = 0.3, 5000, 100


class TimeTooShort(ValueError):
    """Training needs more `seconds` than there are."""

    def __init__(self, seconds: float):
        super().__init__(f"`seconds` must be at least {seconds:.0f} for training on this data")
        self.seconds = seconds


@dataclasses.dataclass(frozen=True)
class Situation:
    """What a user has.

    Attributes:
        labels: labeled examples to train on, a validation set's own not counted.
        least: of the rarest class among them.
        classes: how many.
        unlabeled: examples of unknown class.
        width: features of an example.
        validation: examples of the set's own validation part; 0: it has none.
        seconds: that training may take; not positive: too little time was left for it.
        gpu: whether there is a GPU.
        learns: whether weights are learned.
        uses_unlabeled: whether the algorithm reads U.
        linear: whether the head is one layer.
        frozen: whether the features are a frozen net's, of known width.
        components: that were asked for, 0 for all features; None: as the rule says.
        steps: theta-steps of a phase that were asked for; 0: as many as there is time for.
        held_out: whether V was asked for, in place of cross-fit.
        folds: of a cross-fit.
        group: examples of which an unlabeled batch must be a multiple, see `recipes.group_of`.
    """

    labels: int
    least: int
    classes: int
    unlabeled: int
    width: int
    validation: int = 0
    seconds: float = 900.0
    gpu: bool = False
    learns: bool = True
    uses_unlabeled: bool = True
    linear: bool = True
    frozen: bool = False
    components: int | None = None
    steps: int = 0
    held_out: bool = False
    folds: int = 2
    group: int = 1

    @property
    def size_of_u(self) -> int:
        """|U|, which holds the labeled examples too."""
        return self.labels + self.unlabeled

    @property
    def shown(self) -> int:
        """How many components a linear head sees; 0: all features, standardised."""
        if self.components is not None or not self.linear:
            return self.components or 0
        if not self.frozen or self.width <= FEW or self.labels > HELD:
            return 0
        return min(COMPONENTS, max(1, self.size_of_u // 2))

    @property
    def sees_components(self) -> bool:
        """Whether it is a linear head on components."""
        return self.linear and self.shown > 0


def own_recipe(s: Situation) -> dict[str, Any]:
    """Return what a head on features has other than `recipes.FEATURES`, by name.

    Raises:
        ValueError: too few labels, one class, or nothing unlabeled.
        TimeTooShort: it cannot be done in time.
    """
    check_situation(s)
    steps, lambda_steps = planned(s)
    ridge_of_head = ridge(s.width) if s.linear else FEATURES["weight_decay"]
    found = validation_of(s) | {"weight_decay": ridge_of_head, "steps": steps}
    if s.uses_unlabeled:
        found["wu"] = WU_OF_COMPONENTS if s.sees_components else WU
    if s.shown:
        found["components"] = s.shown
    if s.sees_components:
        found |= {
            "learning_rate": RATE_OF_COMPONENTS,
            "weight_decay": ridge_of_components(s.labels),
        }
    if not s.learns:
        return found
    warm_up = steps // (WARM_UP_OF_COMPONENTS if s.sees_components else WARM_UP)
    return found | {
        "lambda_lr": 0.15, "solve_iterations": 50, "solve_tolerance": 1e-3,
        "lambda_batch": _lambda_batch(s),
        "lambda_warmup_steps": warm_up,
        "inner_steps": max(1, (steps - warm_up) // lambda_steps),
    }  # fmt: skip


def _lambda_batch(s):
    if s.group == 1:
        return WHOLE if s.size_of_u <= MOST else MOST
    return max(1, min(s.size_of_u, MOST) // s.group) * s.group


def net_recipe(s: Situation, large: bool) -> tuple[dict[str, Any], float]:
    """Return the settings of a small Wide-ResNet on images themselves, and the seconds they take.

    V is the set's own, or a quarter of the labels; a new net learns from all in the end.

    Args:
        s: what there is; its `width` is not read.
        large: whether images are larger than a side of 32, to which they are then resized.

    Raises:
        ValueError: as `own_recipe`.
        TimeTooShort: less than `LEAST_STEPS` would fit.
    """
    s = dataclasses.replace(s, held_out=True)
    check_situation(s)
    phases = 1 + s.learns
    one = STEP_OF_A_NET / (GPU if s.gpu else 1)
    steps = s.steps or min(MOST_STEPS_OF_A_NET, int((s.seconds - OVERHEAD) / phases / one))
    if steps < LEAST_STEPS and not s.steps:
        raise TimeTooShort(OVERHEAD + phases * LEAST_STEPS * one)
    found: dict[str, Any] = {"image_size": 32} if large else {}
    found |= validation_of(s) | {
        "depth": 10, "width": 1, "jit": True, "labeled_batch": 16, "unlabeled_ratio": RATIO,
        "steps": steps, "ema_decay": 0.99, "batch_norm_decay": 0.99,
        "eval_every": max(1, steps // EVALUATIONS),
    }  # fmt: skip
    if s.learns:
        size = math.ceil(COVERAGE * s.size_of_u / LAMBDA_STEPS_OF_A_NET / 64) * 64
        found |= {
            "lambda_lr": 0.05, "lambda_max": 3.0, "lambda_warmup_steps": steps // WARM_UP,
            "inner_steps": max(1, (steps - steps // WARM_UP) // LAMBDA_STEPS_OF_A_NET),
            "lambda_batch": max(64, size),
        }  # fmt: skip
    return found, OVERHEAD + phases * steps * one


def ridge(width: int) -> float:
    """Return the weight decay of a linear head on `width` standardised features."""
    return float(f"{RIDGE * width:.2g}")


def ridge_of_components(labels: int) -> float:
    """Return the weight decay of a linear head on components, by the labels that hold it."""
    return float(f"{RIDGE_OF_COMPONENTS * min(1.0, SO_MANY / labels) ** 1.5:.2g}")


def validation_of(s: Situation) -> dict[str, Any]:
    """Return whose labels validate: the set's own V, or each fold of the model that lacks it.

    Where V was asked for and there is none, it is a quarter of the labels, one of each class or
    more.

    In the end a new model learns from all of them.
    """
    if s.validation:
        return {"validation": "held_out", "val_size": 0, "refit": True}
    if s.held_out:
        size = max(s.classes, s.labels // QUARTER)
        return {"validation": "held_out", "val_size": size, "refit": True}
    return {"validation": "cross_fit", "val_size": 0, "folds": s.folds, "refit": True}


def planned(s: Situation) -> tuple[int, int]:
    """Return theta-steps of a phase and Lambda-steps of the run that fit the time.

    A set of more than `MOST` examples has as many Lambda-steps, at random batches of that size, as
    make sure of `COVERAGE`: batches run through epochs, so that k of them hold k times their size.

    Raises:
        TimeTooShort: the fewest do not fit.
    """
    needed = math.ceil(COVERAGE * s.size_of_u / MOST) if s.learns else 0
    least = max(needed, LEAST_LAMBDA_STEPS) if s.learns else 0
    most, moves = STEPS, LAMBDA_STEPS
    if s.sees_components:
        most, moves = STEPS_OF_COMPONENTS, LAMBDA_STEPS_OF_COMPONENTS
    steps, lambda_steps = s.steps or most, max(least, moves) if s.learns else 0
    while seconds(s, steps, lambda_steps) > s.seconds and not s.steps:
        if steps <= LEAST_STEPS and lambda_steps <= least:
            raise TimeTooShort(seconds(s, steps, lambda_steps))
        steps = max(LEAST_STEPS, round(0.8 * steps))
        lambda_steps = max(least, round(0.8 * lambda_steps))
    return steps, min(lambda_steps, max(1, steps // 2)) if s.learns else 0


def seconds(s: Situation, steps: int, lambda_steps: int) -> float:
    """Return the seconds that a run takes at most, by the constants of this file."""
    folds = 1 if s.validation or s.held_out else s.folds
    batch = LABELED_BATCH * (1 + RATIO * s.uses_unlabeled)
    head = (s.shown or s.width) * s.classes
    fixed = s.width * s.shown  # the map to the components
    speed = FLOPS * (GPU if s.gpu else 1)
    phases = 1 + folds * s.learns
    theta = phases * steps * (STEP_OVERHEAD + (6 * head + 2 * fixed) * batch / speed)
    rows = min(s.size_of_u, MOST) * 2
    # A product with H passes all rows twice, forth and back.
    one = (4 * head * 50 + 2 * fixed) * rows / speed + 0.02
    covariance = phases * s.size_of_u * s.width**2 * 4 / speed if s.shown else 0.0
    return OVERHEAD + covariance + theta + folds * lambda_steps * one


def check_situation(s: Situation) -> None:
    """Check that there is something to learn from.

    Raises:
        ValueError: there is not, and what to add; or a number that is none.
    """
    for name, least in (("steps", 0), ("folds", 2), ("group", 1)):
        check_whole(name, getattr(s, name), least)
    if s.classes < 2:
        raise ValueError(
            f"The labels must be of at least two classes. Received: {s.classes}. Label examples of "
            "another one"
        )
    if s.least < 2 and not (s.validation or s.held_out) and s.learns:
        raise ValueError(
            "Every class must have at least two labels for training, one of which validates. "
            f"Received: {s.least} of the rarest class; where there is no test part, one of each "
            "class at least is held out for testing. Label more, bring a validation part, or use "
            "--weighting=fixed, which learns no weights"
        )
    if s.uses_unlabeled and not s.unlabeled:
        raise ValueError(
            f"There must be unlabeled examples beside the {s.labels} labeled ones. Received: none. "
            "Add some, or use --algorithm=supervised"
        )
