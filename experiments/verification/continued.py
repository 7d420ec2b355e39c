"""A net's influences against training it on: the truth for runs that end at no minimum.

From where a run ended its whole net takes `STEPS` more steps of gradient descent with momentum, on
the objective of one batch as the Lambda-step sees it, with targets and masks as they are. How
L_S(V) after them moves with each lambda_u is differentiated through the steps, backwards:

    v' = m v + grad f(theta, lambda),  theta' = theta - r v'
    b = a_v - r a_theta                                      (a: the gradient of L_S(V) at the end)
    dL/dlambda += d (grad f . b) / dlambda,  a_theta += d (grad f . b) / dtheta,  a_v <- m b

That is training again with lambda_u a little larger, for all u at once. No H is solved, and nothing
of the methods' damping or truncation is in it. But n steps reach only as far as a damping of about
(1 - m) / (r n) would let a solve reach, 1/30 here: flatter directions count in part.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.options.config import Config
from experiments.verification.scores import Examination, restored
from ssl_weighting.models.network import Network, replaced_calls, sublayers
from ssl_weighting.objective import l2_penalty, row_weights, weighted_objective
from ssl_weighting.structs import LabeledBatch, LossRows
from ssl_weighting.theta.weight_decay import is_decayed

STEPS, RATE, MOMENTUM = 100, 0.03, 0.9
_NORM = keras.layers.BatchNormalization


class Compared(NamedTuple):
    """What was found of the examples of one batch that pass the mask."""

    ids: np.ndarray  # [n] int64
    scores: np.ndarray  # [n] Eq. 6, as the run computes it
    truth: np.ndarray  # [n] d L_S(V) / d lambda_u after more training
    unsound = 0  # as `run_agreement.Compared`: nothing is left out


def compared(folder: Path, config: Config, sampled: int, cache: str | None) -> Compared:
    """Compare the influences of a run at its last checkpoint with more training.

    Args:
        folder: of a run with learned weights; config: its options.
        sampled: how many of the scored examples are compared, at most.
        cache: where prepared data lies.

    Raises:
        FileNotFoundError: no checkpoint lies there.
        ValueError: `restored` refuses the run, or its net diverges in the steps.
    """
    size = config.lambda_batch or config.unlabeled_batch
    run = restored(folder, size if size > 0 else 10**9, cache)
    examination, trainer = Examination(run), run.trainer
    validation = trainer.validation_at(tf.constant(0, tf.int64))
    measured = examination.lambda_step.measure(*examination.batch, validation, trainer.step)
    scores = dict(zip(measured.ids.numpy().tolist(), measured.lam_gradient.numpy(), strict=True))
    training = _training(trainer, examination.batch, validation, config)
    changes = training.changes().numpy()
    if not np.isfinite(changes).all():
        raise ValueError(
            f"The net must stay finite over {STEPS} steps of size {RATE:g}. Received: {folder}"
        )
    parents = training.rows.ids.numpy()[:, 0]
    truth = {u: changes[parents == u].sum() for u in examination.ids.tolist()}
    rng = np.random.default_rng([config.seed, 2])
    ids = np.sort(rng.choice(list(truth), min(sampled, len(truth)), replace=False))
    return Compared(
        ids, np.array([scores[u] for u in ids]), np.array([truth[u] for u in ids], np.float64)
    )


def _training(trainer, batch, validation, config):
    network = Network(trainer.model, "all")
    inputs = []

    def forward(x, *, makes_rows=True, **_):
        if makes_rows:
            inputs.append(x)
        return trainer.parameters.forward(x)

    rows = trainer.algorithm(forward, *batch, tf.constant(trainer.step, tf.int64))
    classes = rows.logits.shape[-1]
    lam = trainer.store.gather(rows.ids, rows.confidence, classes, trainer.step)
    decay = config.weight_decay, config.weight_decay_scope
    batch = config.model == "wide_resnet" and config.infl_bn == "batch"
    return Continued(network, rows, inputs, lam, validation, *decay, of_batch=batch)


class Continued:
    """Training of a whole net on one batch, from its present parameters, and its derivative.

    Args:
        network: all parameters of the net, made with batch_norm='moving'.
        rows: its loss rows; inputs: what the forward that made them was called on.
        lam: [R, 2], the weights of the parents of each row.
        validation: V.
        weight_decay: coefficient of 0.5 ||.||^2 in the objective; scope: what it covers.
        of_batch: whether BatchNorm takes the statistics of each forward, as in training, in place
            of the moving ones.
        steps: how many; rate: their size; momentum: of the velocity.
    """

    def __init__(
        self,
        network: Network,
        rows: LossRows,
        inputs: list,
        lam: tf.Tensor | None,
        validation: LabeledBatch,
        weight_decay: float = 0.0,
        scope: str = "kernels",
        *,
        of_batch: bool = False,
        steps: int = STEPS,
        rate: float = RATE,
        momentum: float = MOMENTUM,
    ):
        self.network, self.rows, self.validation = network, rows, validation
        self.inputs = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *inputs)
        self.weights = tf.ones_like(rows.loss) if lam is None else row_weights(rows, lam)
        self.decayed = [is_decayed(v, scope) for v in network.variables]
        self.weight_decay = weight_decay
        self.steps, self.rate, self.momentum = steps, rate, momentum
        norms = [p for p in sublayers(network.model) if isinstance(p, _NORM)] if of_batch else []
        self.calls = {layer: _normalised(layer) for layer in norms if layer.trainable}
        self.gradient = tf.function(self._gradient, autograph=False)
        self.pulled = tf.function(self._pulled, autograph=False)
        self.loss = tf.function(self._loss, autograph=False)

    def trained(self, shift: tf.Tensor) -> list[tf.Tensor]:
        """Return the parameters [p] before each step and after the last.

        Args:
            shift: [R], what is added to the weight of each row.
        """
        theta = self.network.flatten(self.network.values())
        velocity, found = tf.zeros_like(theta), [theta]
        for _ in range(self.steps):
            velocity = self.momentum * velocity + self.gradient(theta, shift)
            theta = theta - self.rate * velocity
            found.append(theta)
        return found

    def changes(self) -> tf.Tensor:
        """Return d L_S(V) / d w_r after the steps, [R], in the dtype of the net."""
        shift = tf.zeros_like(self.weights)
        *before, last = self.trained(shift)
        with tf.GradientTape() as tape:
            tape.watch(last)
            loss = self.loss(last)
        a_theta = tape.gradient(loss, last)
        a_velocity, total = tf.zeros_like(a_theta), tf.zeros_like(shift)
        for theta in reversed(before):
            b = a_velocity - self.rate * a_theta
            of_theta, of_shift = self.pulled(theta, shift, b)
            a_theta, a_velocity = a_theta + of_theta, self.momentum * b
            total += of_shift
        return total

    def _objective(self, theta, shift):
        values = self.network.unflatten(theta)
        logits = self._logits(values, self.inputs)
        if self.rows.positions is not None:
            logits = tf.gather(logits, self.rows.positions[:, 0])
        rows = self.rows._replace(loss=self.rows.loss_of_logits(logits))
        kept = [value for value, is_in in zip(values, self.decayed, strict=True) if is_in]
        decay = self.weight_decay * l2_penalty(kept) if kept else 0.0
        return weighted_objective(rows, self.weights + shift) + decay

    def _gradient(self, theta, shift):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = self._objective(theta, shift)
        return tape.gradient(value, theta)

    def _pulled(self, theta, shift, direction):
        """Return d (grad f . direction) / d theta [p] and / d shift [R]."""
        with tf.GradientTape() as tape:
            tape.watch([theta, shift])
            product = tf.reduce_sum(self._gradient(theta, shift) * direction)
        return tape.gradient(product, [theta, shift])

    def _loss(self, theta):
        logits = self._logits(self.network.unflatten(theta), self.validation.inputs)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(self.validation.label, logits)
        return tf.reduce_mean(losses)

    def _logits(self, values, inputs):
        with replaced_calls(self.calls):
            return self.network(values, inputs)


def _normalised(layer):
    """Return a call by the statistics of the batch that can be differentiated twice.

    Those of Keras have a stop_gradient in the variance: right once, wrong twice.
    """
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]

    def call(x, **_):
        kept = [axis % x.shape.rank for axis in axes]
        others = [axis for axis in range(x.shape.rank) if axis not in kept]
        centred = x - tf.reduce_mean(x, others, keepdims=True)
        variance = tf.reduce_mean(centred**2, others, keepdims=True)
        shape = [x.shape[axis] if axis in kept else 1 for axis in range(x.shape.rank)]
        found = centred * tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            found *= tf.reshape(tf.convert_to_tensor(layer.gamma), shape)
        if layer.center:
            found += tf.reshape(tf.convert_to_tensor(layer.beta), shape)
        return found

    return call
