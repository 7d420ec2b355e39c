"""Virtual Adversarial Training (Miyato et al. 2018) with entropy minimisation, FixMatch's form."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ssl_weighting.algorithms.rows import (
    Block,
    alone,
    batch_size,
    both,
    labeled_block,
    stack_blocks,
)
from ssl_weighting.algorithms.settings import Checked
from ssl_weighting.algorithms.targets import ramp
from ssl_weighting.losses import ReverseKL, SoftmaxCrossEntropy, entropy
from ssl_weighting.structs import LossRows


@dataclasses.dataclass(frozen=True)
class VAT(Checked):
    """l_U(u) = KL(p(u + r) || p(u)) and H(p(u)), r the direction in which p(u) changes most.

    d ~ N(0, I); r = epsilon * norm(grad_d mean KL(p(u) || p(u + xi norm(d)))), one iteration, where
    norm divides by the largest entry and then by the length. p(u) and r are constants. lambda_u
    multiplies both terms of u.

    Attributes:
        vat_epsilon: epsilon, the length of r in [-1, 1] pixels (6 upstream).
        xi: length of the probe (1e-6 upstream: mostly rounding noise in float32).
        wu: of the KL term (0.3 upstream).
        entropy_coefficient: of the entropy term, never ramped (0.06 upstream).
        ramp_steps: the KL term's coefficient rises from 0 over so many steps; 0: no ramp.
        seed: of the directions, with the step.
    """

    vat_epsilon: float = 6.0
    xi: float = 1e-6
    wu: float = 0.3
    entropy_coefficient: float = 0.06
    ramp_steps: int = 0
    seed: int = 0
    uses_unlabeled = True

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + U + U rows: labels, consistency, entropy.

        DEVIATION: one forward of all three where upstream makes three, so BatchNorm sees them all.
        """
        ids, u = unlabeled.ids, unlabeled.weak
        z = tf.stop_gradient(_targets(forward, u))
        r = self.vat_epsilon * self.direction(forward, u, z, step)
        outputs = forward(tf.concat([labeled.inputs, u + r, u], axis=0))
        n = batch_size(ids)
        confidence = both(tf.reduce_max(tf.nn.softmax(z), axis=1))
        loss, wu = ReverseKL(tf.nn.log_softmax(z)), self.wu
        wu *= ramp(step, self.ramp_steps)
        blocks = [
            labeled_block(labeled, z.shape[-1]),
            Block(loss, alone(ids), 1 / n, wu, confidence=confidence),
            Block(entropy, alone(ids), self.entropy_coefficient / n, confidence=confidence),
        ]
        return stack_blocks(outputs, blocks)

    def direction(self, forward, inputs, logits, step) -> tf.Tensor:
        """Return norm(grad_d mean KL(p || p(inputs + xi norm(d)))), frozen, like `inputs`.

        Args:
            forward: see `structs.Forward`; inputs: [U, ...]; logits: [U, C] at `inputs`.
            step: scalar int, keys d.
        """
        key = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])
        d = tf.random.stateless_normal(tf.shape(inputs), key, dtype=inputs.dtype, alg="philox")
        d = self.xi * _norm(d)
        loss = SoftmaxCrossEntropy(tf.nn.softmax(logits))
        with tf.GradientTape() as tape:
            tape.watch(d)
            mean = tf.reduce_mean(loss(_targets(forward, inputs + d)))
        return tf.stop_gradient(_norm(tape.gradient(mean, d)))


def _targets(forward, inputs):
    return forward(inputs, makes_rows=False, moves_statistics=False)["logits"]


def _norm(d):
    axes = list(range(1, d.shape.rank))
    d = d / (1e-12 + tf.reduce_max(tf.abs(d), axis=axes, keepdims=True))
    return d / tf.sqrt(1e-6 + tf.reduce_sum(d**2, axis=axes, keepdims=True))
