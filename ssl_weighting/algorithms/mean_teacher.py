"""Mean-Teacher (Tarvainen & Valpola 2017): predictions of the averaged net are the targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from ssl_weighting.algorithms.rows import (
    Block,
    alone,
    batch_size,
    both,
    labeled_block,
    stack_blocks,
)
from ssl_weighting.algorithms.settings import Checked, Passes
from ssl_weighting.algorithms.targets import frozen_probabilities, ramp
from ssl_weighting.losses import Brier
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class MeanTeacher(Checked):
    """l_U(u) = mean_c (p_teacher(weak) - softmax(z(other weak view)))^2, the teacher frozen.

    Attributes:
        teacher: inputs -> {"logits"} of the averaged parameters, with batch statistics.
        wu: of the unlabeled loss (50 upstream), a mean over the whole unlabeled batch.
        ramp_steps: wu rises linearly from 0 over so many steps (upstream 0.4 of the run); 0: none.
    """

    teacher: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    wu: float = 50.0
    ramp_steps: int = 0
    uses_unlabeled = True

    def passes(self) -> Passes:
        """Return the views that each pass joins."""
        return (("labeled", "strong"), ("weak",))

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U rows.

        DEVIATION: the student sees both batches in one forward where upstream makes two, so that
        BatchNorm sees both.
        """
        outputs = forward(tf.concat([labeled.inputs, unlabeled.strong], axis=0))
        q = frozen_probabilities(self.teacher(unlabeled.weak)["logits"])
        consistency = Block(
            Brier(q),
            alone(unlabeled.ids),
            1 / batch_size(unlabeled.ids),
            wu=self.wu * ramp(step, self.ramp_steps),
            confidence=both(tf.reduce_max(q, axis=1)),
        )
        return stack_blocks(outputs, [labeled_block(labeled, q.shape[-1]), consistency])
