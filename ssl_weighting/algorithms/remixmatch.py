"""ReMixMatch (Berthelot et al. 2020): distribution alignment, anchored views, rotations, MixUp."""

from __future__ import annotations

import keras
import tensorflow as tf

from ssl_weighting.algorithms.mixmatch import mixed_blocks
from ssl_weighting.algorithms.mixup import grouped_forward, mixup
from ssl_weighting.algorithms.rows import Block, alone, both, stack_blocks
from ssl_weighting.algorithms.settings import Checked
from ssl_weighting.algorithms.targets import frozen_probabilities, ramp, sharpen
from ssl_weighting.checks import one_hot_labels
from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.structs import LossRows

BUFFER = 128  # batches that p_model is the mean of
DECAY = 0.999  # of p_data
TINY = 1e-6
ANGLES = 4


class ReMixMatch(Checked):
    """Four terms for an unlabeled example, all multiplied by its weight.

    q = sharpen(align(softmax(z(weak)))) is the target of the weak and of the strong view, in MixUp
    (1.5, ramped) and of the strong view unmixed (0.5, ramped); and the strong view, turned, tells
    its angle through a head of its own (0.5, not ramped): the batch's quarters are turned by 0,
    180, 90 counter-clockwise and 90 clockwise, labels 0 to 3.

    align(p) = normalise(p (1e-6 + p_data) / (1e-6 + p_model)), p_model the mean of the last 128
    batches' guesses, p_data an average of the labels seen.

    The angle's loss does not depend on the last layer, so that in Eq. 6 it has no part there;
    with other parameters the algorithm is refused where it is built into a run.

    Args:
        num_classes: C.
        temperature: T (0.5 upstream); mixup_beta: of MixUp (0.75 upstream).
        wu: w_match (1.5); kl_coefficient: (0.5); rotation_coefficient: (0.5).
        ramp_steps: the first two rise from 0 over so many steps (16,384 upstream); 0: no ramp.
        seed: of MixUp's draws, with the step.
    """

    uses_unlabeled = True

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.5,
        mixup_beta: float = 0.75,
        wu: float = 1.5,
        kl_coefficient: float = 0.5,
        rotation_coefficient: float = 0.5,
        ramp_steps: int = 16_384,
        seed: int = 0,
    ):
        self.num_classes, self.temperature, self.mixup_beta = num_classes, temperature, mixup_beta
        self.wu, self.kl_coefficient = wu, kl_coefficient
        self.rotation_coefficient, self.ramp_steps = rotation_coefficient, ramp_steps
        self.seed = seed
        super().__post_init__()
        uniform = tf.fill([num_classes], 1 / num_classes)
        self.p_data = _state(uniform, "p_data")
        self.guesses = _state(tf.tile(uniform[None], [BUFFER, 1]), "guesses")
        self.place = _state(tf.constant(0, tf.int32), "place")

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in a fixed order."""
        return [self.p_data, self.guesses, self.place]

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B + 2 U mixed rows, U of the strong view, U of its turned one.

        Raises:
            ValueError: images that are not square, or batches of no static size.
        """
        z = forward(unlabeled.weak, makes_rows=False, moves_statistics=False)["logits"]
        guess = frozen_probabilities(z)
        q = sharpen(self.align(guess), self.temperature)
        certain, ids = both(tf.reduce_max(guess, axis=1)), alone(unlabeled.ids)
        ramped = ramp(step, self.ramp_steps) / guess.shape[0]
        one_hot = one_hot_labels(labeled, self.num_classes)
        mixed, places, blocks = self._mixed(forward, labeled, unlabeled, one_hot, q, certain, step)
        strong = forward(unlabeled.strong, moves_statistics=False)
        weight = self.kl_coefficient * ramped
        blocks.append(Block(SoftmaxCrossEntropy(q), ids, weight, confidence=certain))
        turned, loss = _rotation(forward, unlabeled.strong)
        weight = self.rotation_coefficient / guess.shape[0]
        blocks.append(Block(loss, ids, weight, confidence=certain))
        parts = (mixed, strong, turned)
        outputs = {k: tf.concat([part[k] for part in parts], 0) for k in ("features", "logits")}
        rest = tf.range(places.shape[0], places.shape[0] + 2 * guess.shape[0])
        places = tf.concat([places, rest], 0)[:, None]
        memory = (tf.reduce_mean(guess, axis=0), tf.reduce_mean(one_hot, axis=0))
        return stack_blocks(outputs, blocks, places, memory)

    def align(self, guess: tf.Tensor) -> tf.Tensor:
        """Return [U, C], the guesses with the labels' class frequencies."""
        p_model = tf.reduce_mean(self.guesses.value, axis=0)
        aligned = guess * (TINY + self.p_data.value) / (TINY + p_model)
        return aligned / tf.reduce_sum(aligned, axis=1, keepdims=True)

    def remember(self, memory: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Keep the mean guess and the mean label of a theta-step, [C] each."""
        mean_guess, mean_label = memory
        row = tf.one_hot(self.place.value, BUFFER)[:, None]
        self.guesses.assign((1 - row) * self.guesses.value + row * mean_guess[None])
        self.place.assign((self.place.value + 1) % BUFFER)
        self.p_data.assign(DECAY * self.p_data.value + (1 - DECAY) * mean_label)

    def _mixed(self, forward, labeled, unlabeled, one_hot, q, certain, step):
        b, u = labeled.inputs.shape[0], q.shape[0]
        views = tf.concat([labeled.inputs, unlabeled.weak, unlabeled.strong], 0)
        mixed = mixup(views, tf.concat([one_hot, q, q], 0), self.mixup_beta, self.seed, step)
        sure = certain[:, 0]
        ids = tf.concat([-tf.ones([b], tf.int64), unlabeled.ids, unlabeled.ids], 0)
        sure = tf.concat([tf.ones([b]), sure, sure], 0)
        wu = self.wu * ramp(step, self.ramp_steps)
        blocks = mixed_blocks(mixed, ids, sure, b, wu, SoftmaxCrossEntropy)
        outputs, places = grouped_forward(forward, mixed.inputs, b, tracked=2 * u // b)
        return outputs, places, blocks


def turn_quarters(images: tf.Tensor) -> tf.Tensor:
    """Return the batch with its quarters turned by 0, 180, 90 degrees left and 90 right.

    Args:
        images: [U, S, S, channels] with static U, a multiple of 4.

    Raises:
        ValueError: other shapes.
    """
    shape = images.shape
    if shape.rank != 4 or shape[1] != shape[2] or not shape[0] or shape[0] % ANGLES:
        raise ValueError(
            "Rotations need square images in batches of a multiple of 4. "
            f"Received: shape {tuple(shape)}. Change --labeled_batch or --unlabeled_ratio"
        )
    first, second, third, last = tf.split(images, ANGLES)
    across = [tf.transpose(part, [0, 2, 1, 3]) for part in (third, last)]
    turned = [second[:, ::-1, ::-1], across[0][:, ::-1], across[1][:, :, ::-1]]
    return tf.concat([first, *turned], axis=0)


def _rotation(forward, images):
    """Return the outputs of the turned images, and the loss of their angle as a row loss."""
    outputs = forward(turn_quarters(images), moves_statistics=False)
    quarter = images.shape[0] // ANGLES
    angle = tf.repeat(tf.range(ANGLES), quarter)
    loss = SoftmaxCrossEntropy(tf.one_hot(angle, ANGLES))(outputs["angle_logits"])
    # As a function of the class logits it is a constant.
    return outputs, lambda z: tf.cast(loss, z.dtype) + 0.0 * tf.reduce_sum(z, axis=1)


def _state(value, name):
    return keras.Variable(value, trainable=False, name=name, dtype=value.dtype.name)
