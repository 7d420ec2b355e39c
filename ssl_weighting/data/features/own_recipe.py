"""A recipe for a user's own data: what is trained, and for how long, from a few counts.

Pure rules, without TensorFlow: a `Situation` in, settings by the names of the library's arguments
and the programs' options out. The same situation gives the same settings on every machine; time is
reckoned with constants, never measured. docs/own_data.md shows what the numbers were chosen by.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

WHOLE, MOST = -1, 8192  # of `lambda_batch`: all of U, which is so many examples at most
COVERAGE = 0.8  # share of U whose weights are sure to be moved
STEPS, LEAST_STEPS = 1500, 300  # theta-steps of a phase; where time is short
LAMBDA_STEPS, LEAST_LAMBDA_STEPS = 60, 15  # of a run
EVALUATIONS, WARM_UP = 20, 10  # one over their shares of a phase
LABELED_BATCH, RATIO = 64, 4
QUARTER = 4
# Ridge of a linear head, by the number of standardised features: the logits' prior spread is that
# of one feature, however many there are.
RIDGE = 1e-3
# Work of a CPU core in a second, a third of what was measured on a shared 2-core machine of 2024:
# multiplications and additions of a Lambda-step, and of a theta-step with its batch.
FLOPS = 1e10
OVERHEAD = 25.0  # seconds: start, compilation, evaluations, tables
STEP_OVERHEAD = 2e-3  # seconds of a theta-step that are not arithmetic
GPU = 10  # times the work of a CPU
SHARE = 0.8  # of the promised time that is planned for


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
        views: strong views of an example of U that a backbone makes; 0: none.
        minutes: in which the training shall end.
        gpu: whether it has a GPU.
        learns: whether weights are learned.
        uses_unlabeled: whether the algorithm reads U.
    """

    labels: int
    least: int
    classes: int
    unlabeled: int
    width: int
    validation: int = 0
    views: int = 0
    minutes: float = 15.0
    gpu: bool = False
    learns: bool = True
    uses_unlabeled: bool = True

    @property
    def size_of_u(self) -> int:
        """|U|, which holds the labeled examples too."""
        return self.labels + self.unlabeled


def own_recipe(s: Situation) -> dict[str, Any]:
    """Return the settings of a linear head on features, by name.

    Raises:
        ValueError: too few labels, one class, nothing unlabeled, or too little time.
    """
    check_situation(s)
    found: dict[str, Any] = {
        "optimizer": "adam", "learning_rate": 3e-3, "lr_schedule": "constant",
        "weight_decay": ridge(s.width), "ema_decay": 0.0,
        "labeled_batch": LABELED_BATCH, "unlabeled_ratio": RATIO,
    }  # fmt: skip
    if s.uses_unlabeled:
        found |= {"wu": 1.0, "ramp_steps": 0}
    found |= validation_of(s)
    steps, lambda_steps = planned(s)
    found |= {"steps": steps, "eval_every": max(1, steps // EVALUATIONS)}
    if not s.learns:
        return found
    warm_up = steps // WARM_UP
    return found | {
        "lambda_lr": 0.15, "lambda_max": 3.0, "inverse_hessian": "conjugate_gradient",
        "solve_iterations": 50, "solve_tolerance": 1e-3, "damping": 0.01,
        "lambda_batch": WHOLE if s.size_of_u <= MOST else MOST,
        "lambda_warmup_steps": warm_up,
        "inner_steps": max(1, (steps - warm_up) // lambda_steps),
    }  # fmt: skip


def ridge(width: int) -> float:
    """Return the weight decay of a linear head on `width` standardised features."""
    return float(f"{RIDGE * width:.2g}")


def validation_of(s: Situation) -> dict[str, Any]:
    """Return whose labels validate: the set's own V, or each of two folds the other's model.

    In the end a new model learns from all of them.
    """
    if s.validation:
        return {"validation": "held_out", "val_size": 0, "refit": True}
    return {"validation": "cross_fit", "val_size": 0, "folds": 2, "refit": True}


def planned(s: Situation) -> tuple[int, int]:
    """Return theta-steps of a phase and Lambda-steps of the run that fit the time.

    A set of more than `MOST` examples has as many Lambda-steps, at random batches of that size, as
    make sure of `COVERAGE`: batches run through epochs, so that k of them hold k times their size.

    Raises:
        ValueError: the fewest do not fit; names the time that would.
    """
    needed = math.ceil(COVERAGE * s.size_of_u / MOST) if s.learns else 0
    steps, lambda_steps = STEPS, max(LAMBDA_STEPS, needed) if s.learns else 0
    budget = SHARE * 60 * s.minutes
    while seconds(s, steps, lambda_steps) > budget:
        if steps <= LEAST_STEPS and lambda_steps <= max(needed, LEAST_LAMBDA_STEPS * s.learns):
            least = math.ceil(10 * seconds(s, steps, lambda_steps) / (SHARE * 60)) / 10
            raise ValueError(
                f"--minutes must be at least {least:g} for training on these {s.size_of_u} examples"
                f". Received: --minutes={s.minutes:g}"
            )
        steps = max(LEAST_STEPS, round(0.8 * steps))
        lambda_steps = max(needed, LEAST_LAMBDA_STEPS * s.learns, round(0.8 * lambda_steps))
    return steps, lambda_steps


def seconds(s: Situation, steps: int, lambda_steps: int) -> float:
    """Return the seconds that a run takes at most, by the constants of this file."""
    folds = 1 if s.validation else 2
    batch = LABELED_BATCH * (1 + RATIO * s.uses_unlabeled)
    head = s.width * s.classes
    speed = FLOPS * (GPU if s.gpu else 1)
    phases = 1 + folds * s.learns
    theta = phases * steps * (STEP_OVERHEAD + 6 * batch * head / speed)
    rows = min(s.size_of_u, MOST) * 2
    # A product with H passes all rows twice, forth and back.
    one = 4 * rows * head * 50 / speed + 0.02
    return OVERHEAD + theta + folds * lambda_steps * one


def check_situation(s: Situation) -> None:
    """Check that there is something to learn from.

    Raises:
        ValueError: there is not; says what to add.
    """
    if s.classes < 2:
        raise ValueError(
            f"The labels must be of at least two classes. Received: {s.classes}. Label examples of "
            "another one"
        )
    if s.least < 2 and not s.validation and s.learns:
        raise ValueError(
            "Every class must have at least two labels for training, one of which validates. "
            f"Received: {s.least} of the rarest class. Label more, bring a validation part, or use "
            "--weighting=fixed, which learns no weights"
        )
    if s.uses_unlabeled and not s.unlabeled:
        raise ValueError(
            f"There must be unlabeled examples beside the {s.labels} labeled ones. Received: none. "
            "Add some, or use --algorithm=supervised"
        )
    if not s.minutes > 0:
        raise ValueError(f"--minutes must be greater than 0. Received: {s.minutes:g}")
