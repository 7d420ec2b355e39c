"""MixMatch (Berthelot et al. 2019): MixUp of labels and of sharpened mean guesses."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.algorithms.mixup import grouped_forward, mixup
from ssl_weighting.algorithms.rows import Block, stack_blocks
from ssl_weighting.algorithms.settings import Checked
from ssl_weighting.algorithms.targets import frozen_probabilities, ramp, sharpen
from ssl_weighting.checks import one_hot_labels
from ssl_weighting.losses import Brier, SoftmaxCrossEntropy
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class MixMatch(Checked):
    """Cross-entropy on mixed labeled rows, mean_c (p - q)^2 on mixed unlabeled ones.

    q = sharpen(mean of softmax(z) over two weak views), the same for both; labeled and unlabeled
    rows are mixed with one another. A mixed row weighs m w(first parent) + (1 - m) w(second), where
    w is lambda of an unlabeled parent and 1 of a labeled one.

    Attributes:
        temperature: T of sharpening (0.5 upstream).
        mixup_beta: MixUp's Beta(beta, beta) (0.5 upstream, 0.75 in its paper).
        wu: of the unlabeled loss, w_match (100 upstream).
        ramp_steps: it rises linearly from 0 over so many steps (16,384 upstream); 0: no ramp.
        seed: of MixUp's draws, with the step.
    """

    temperature: float = 0.5
    mixup_beta: float = 0.5
    wu: float = 100.0
    ramp_steps: int = 16_384
    seed: int = 0
    uses_unlabeled = True

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + 2 U rows; `unlabeled.strong` is the second weak view."""
        views = (unlabeled.weak, unlabeled.strong)
        guesses = [frozen_probabilities(_logits(forward, view)) for view in views]
        mean = (guesses[0] + guesses[1]) / 2
        q = sharpen(mean, self.temperature)
        b, classes = labeled.inputs.shape[0], q.shape[-1]
        targets = tf.concat([one_hot_labels(labeled, classes), q, q], axis=0)
        mixed = mixup(
            tf.concat([labeled.inputs, *views], 0), targets, self.mixup_beta, self.seed, step
        )
        ids = tf.concat([-tf.ones([b], tf.int64), unlabeled.ids, unlabeled.ids], 0)
        confidence = tf.reduce_max(mean, axis=1)
        confidence = tf.concat([tf.ones([b]), confidence, confidence], 0)
        wu = self.wu * ramp(step, self.ramp_steps)
        outputs, places = grouped_forward(forward, mixed.inputs, b, tracked=0)
        blocks = mixed_blocks(mixed, ids, confidence, b, wu, Brier)
        return stack_blocks(outputs, blocks, places[:, None])


def mixed_blocks(mixed, ids, confidence, b: int, wu, unlabeled_loss) -> list[Block]:
    """Return the blocks of B labeled and of all unlabeled mixed rows.

    Args:
        mixed: `Mixed` of N rows, the labeled ones first; ids, confidence: [N].
        b: B; wu: of the mean unlabeled row; unlabeled_loss: targets -> row loss.
    """
    n = ids.shape[0] - b
    labeled, unlabeled = slice(None, b), slice(b, None)
    kinds = ((labeled, SoftmaxCrossEntropy, 1 / b, 1.0), (unlabeled, unlabeled_loss, 1 / n, wu))
    return [
        Block(
            loss(mixed.targets[rows]),
            mixed.parents(ids)[rows],
            coefficient,
            factor,
            mixed.shares[rows],
            confidence=mixed.parents(confidence)[rows],
        )
        for rows, loss, coefficient, factor in kinds
    ]


def _logits(forward, inputs):
    return forward(inputs, makes_rows=False, moves_statistics=False)["logits"]
