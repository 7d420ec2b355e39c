"""Alg. 1: N steps on theta, then one step on the example weights along Eq. 6, and again.

Model, algorithm, optimizer, weight store and data arrive as arguments; nothing here knows a data
set, a flag or a file.
"""

from __future__ import annotations

import dataclasses
import time

import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.ema import frozen_statistics_forward
from ssl_weighting.lambda_step import LAST_LAYER, LambdaStep, LambdaStepSettings, make_scope
from ssl_weighting.replay import Replay
from ssl_weighting.stale_scores import StaleScores

_MEANS = ("loss", "loss_labeled", "loss_unlabeled", "mask_rate")


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; Lambda was left untouched."""


@dataclasses.dataclass(frozen=True)
class BilevelSettings:
    """The switches of Alg. 1 outside Eq. 6.

    Attributes:
        inner_steps: N, theta-steps between Lambda-steps.
        warmup_steps: theta-steps before Lambda may move.
        lambda_at_start: first Lambda-step before any theta-step (the release) rather than after
            the first N (Alg. 1).
        fresh_batch: the Lambda-step samples its own D', U' (Alg. 1, line 7); otherwise it reuses
            the batch of the theta-step that follows (the release).
        stale_weights: that theta-step still sees the weights from before (the release).
        own_features: the Lambda-step takes loss rows and features of that theta-step, dropout and
            all, so that only V passes through the net for it (last layer, with `stale_weights`).
        weight_decay: coefficient of 0.5 ||K||^2 over kernels in the training objective.
        score_every_step: score the batch of every theta-step with the last direction (last layer
            only); the mean of the scores moves the weights at the next Lambda-step.
    """

    inner_steps: int = 512
    warmup_steps: int = 0
    lambda_at_start: bool = False
    fresh_batch: bool = True
    stale_weights: bool = False
    own_features: bool = False
    weight_decay: float = 0.0
    score_every_step: bool = False

    def __post_init__(self):
        """Check ranges.

        Raises:
            ValueError: a value out of range.
        """
        if self.inner_steps < 1:
            raise ValueError(f"`inner_steps` must be >= 1. Received: {self.inner_steps}")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(
                "`warmup_steps` and `weight_decay` must be >= 0. Received: "
                f"warmup_steps={self.warmup_steps}, weight_decay={self.weight_decay}"
            )
        if self.own_features and (self.fresh_batch or not self.stale_weights):
            raise ValueError(
                "`own_features` must come with stale_weights=True and fresh_batch=False: the "
                "Lambda-step is part of a theta-step. Received: "
                f"stale_weights={self.stale_weights}, fresh_batch={self.fresh_batch}"
            )

    def lambda_due(self, step: int) -> bool:
        """Return whether a Lambda-step stands before theta-step number `step` (from 0)."""
        past = step - self.warmup_steps
        return past % self.inner_steps == 0 and (past > 0 or (past == 0 and self.lambda_at_start))

    def next_lambda_step(self, step: int) -> int:
        """Return the first step after `step` before which a Lambda-step may stand."""
        past = max(step - self.warmup_steps, -1)
        return self.warmup_steps + (past // self.inner_steps + 1) * self.inner_steps


class BilevelTrainer:
    """Runs Alg. 1 on a model.

    Args:
        model: Keras model inputs -> {"features", "logits"} with a Dense layer "head".
        algorithm: (forward, labeled, unlabeled, step) -> LossRows.
        optimizer: Keras optimizer of theta.
        store: `WeightStore`.
        ema: `ExponentialMovingAverage` of theta.
        source: training batches; `.at(step)` and `.dataset(start)` (data.pipeline.BatchSource).
        lambda_source: batches of the Lambda-step, same interface.
        validation_at: k -> LabeledBatch, the V' of Lambda-step k.
        settings: `BilevelSettings`; lambda_settings: `LambdaStepSettings`.
        jit_compile: compile the theta-step with XLA.

    Raises:
        ValueError: `own_features` with a Lambda-step that needs more than features.
    """

    def __init__(
        self,
        model,
        algorithm,
        optimizer,
        store,
        ema,
        source,
        lambda_source,
        validation_at,
        settings: BilevelSettings,
        lambda_settings: LambdaStepSettings,
        jit_compile: bool = True,
    ):
        _check_own_features(settings, lambda_settings)
        self.model, self.algorithm, self.optimizer = model, algorithm, optimizer
        self.store, self.ema, self.source, self.settings = store, ema, source, settings
        self.lambda_source, self.validation_at = lambda_source, validation_at
        self.params = list(model.trainable_variables)
        optimizer.build(self.params)
        self.step = 0
        self.lambda_steps = 0
        self.scope = scope = make_scope(model, lambda_settings, settings.weight_decay)
        self.scores = self.replay = None
        if settings.score_every_step:
            mask = lambda_settings.mask_in_gradient
            sizes = store.num_unlabeled, scope.size
            self.scores = StaleScores(*sizes, mask, scope.logit_map)
        if lambda_settings.inverse_hessian == "unrolled":
            self.replay = self._make_replay(scope, lambda_settings.solve.iterations)
        self._lambda_step = LambdaStep(
            model, algorithm, store, lambda_settings, scope=scope, replay=self.replay
        )
        # AutoGraph would convert every function below these, for seconds, and find nothing to do.
        self._theta_step = tf.function(
            self._theta_step_fn, jit_compile=jit_compile, autograph=False
        )
        self._both_steps = tf.function(self._both_steps_fn, autograph=False)
        self._seconds_per_step = float("inf")
        self._train_loop = tf.function(self._train_loop_fn, autograph=False)
        self._iterator, self._iterator_step = None, -1

    def train(self, num_steps: int) -> dict[str, float]:
        """Take `num_steps` theta-steps, to `next_pause` at most.

        Returns:
            Means over the steps: loss, loss_labeled, loss_unlabeled, mask_rate; learning_rate.

        Raises:
            NonFiniteError: a loss that is not finite, with its step.
        """
        if self.replay and self.settings.lambda_due(self.step + self.replay.count):
            self.replay.keep(self.step)
        if self._iterator_step != self.step:
            self._iterator = iter(self.source.dataset(self.step))
        count, started = tf.constant(num_steps, tf.int64), time.monotonic()
        done, total = self._train_loop(self._iterator, tf.constant(self.step, tf.int64), count)
        self.step += num_steps
        self._iterator_step = self.step
        means = {k: float(v) / num_steps for k, v in total.items()}
        self._seconds_per_step = (time.monotonic() - started) / num_steps
        if int(done) < num_steps:
            raise NonFiniteError(
                f"The training loss is not finite at step {self.step - num_steps + int(done)}: "
                f"{means}. Lambda is untouched. Lower the learning rate or check the inputs, and "
                "resume from the last checkpoint."
            )
        means["learning_rate"] = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        return means

    def next_pause(self) -> int:
        """Return the first step after this one at which a block of theta-steps must end."""
        due = self.settings.next_lambda_step(self.step)
        kept = due - self.replay.count if self.replay else due
        return kept if kept > self.step else due

    def lambda_step(self) -> dict[str, float]:
        """Move Lambda along Eq. 6 at the current theta (lines 7-12).

        With `stale_weights` the theta-step that follows is taken here too, between the measurement
        and the update, because it must see the old weights.

        Returns:
            What `LambdaStep` reports; with `stale_weights` also "train", as `train` returns it, and
            the "train_seconds" it took.

        Raises:
            NonFiniteError: a validation loss, Hessian or influence that is not finite.
        """
        s = self.settings
        k = tf.constant(self.lambda_steps, tf.int64)
        if s.own_features:
            return self._lambda_step_within_theta_step(k)
        batch = self.lambda_source.at(k) if s.fresh_batch else self.source.at(self.step)
        measured = self._lambda_step.measure(*batch, self.validation_at(k), self.step)
        self._refuse_non_finite(measured, self.step)
        if s.stale_weights:
            started = time.monotonic()
            measured.report["train"] = self.train(1)
            measured.report["train_seconds"] = time.monotonic() - started
        self._lambda_step.apply(measured, self.scores)
        self.lambda_steps += 1
        return measured.report

    def _lambda_step_within_theta_step(self, k):
        started, step = time.monotonic(), self.step
        batch = self.source.at(step)
        out, measured = self._both_steps(*batch, self.validation_at(k), tf.constant(step, tf.int64))
        self.step += 1
        measured = self._lambda_step.reported(measured)
        self._refuse_non_finite(measured, step)
        self._lambda_step.apply(measured, self.scores)
        self.lambda_steps += 1
        means = {name: float(out[name]) for name in _MEANS}
        means["learning_rate"] = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        # Of one call the theta-step's part is known from the steps before.
        theta = min(time.monotonic() - started, self._seconds_per_step)
        return measured.report | {"train": means, "train_seconds": theta}

    def _refuse_non_finite(self, measured, step):
        if not measured.report["finite"]:
            raise NonFiniteError(
                f"The Lambda-step at step {step} met a non-finite value: {measured.report}. "
                "Lambda is untouched. Raise the damping or lower the learning rate."
            )

    def _make_replay(self, scope, count):
        def loss(*arguments):
            return self._loss(*arguments)[0]

        parts = (self.model, self.optimizer, loss, self.source)
        return Replay(*parts, scope.variables, scope.dtype, count)

    def _train_loop_fn(self, iterator, start, count):
        def more(done, finite, total):
            return (done < count) & finite

        def step(done, finite, total):
            out = self._theta_step(*next(iterator), start + done)
            finite = tf.math.is_finite(out["loss"])
            total = {name: total[name] + out[name] for name in total}
            return done + tf.cast(finite, tf.int64), finite, total

        zeros = {name: tf.constant(0.0) for name in _MEANS}
        state = (tf.constant(0, tf.int64), tf.constant(True), zeros)
        done, _, total = tf.while_loop(more, step, state)
        return done, total

    def _both_steps_fn(self, labeled, unlabeled, validation, step):
        """Take a theta-step and, before it moves theta, measure Eq. 6 on its own rows."""

        def measure(rows):
            count = tf.size(unlabeled.index)
            return self._lambda_step.measure_rows(rows, [], count, validation, step)

        return self._theta_step_fn(labeled, unlabeled, step, measure)

    def _theta_step_fn(self, labeled, unlabeled, step, measure=None):
        with tf.GradientTape() as tape:
            loss, rows = self._loss(self._forward, self.params, labeled, unlabeled, step)
        if self.scores:
            self.scores.add(rows, tf.size(unlabeled.index))
        if rows.memory:
            self.algorithm.remember(rows.memory)
        measured = measure(rows) if measure else None
        gradients = tape.gradient(loss, [p.value for p in self.params])
        self.optimizer.apply(gradients, self.params)
        self.ema.update()
        means = {"loss": loss, **_split_losses(rows)}
        return (means, measured) if measure else means

    def _loss(self, forward, params, labeled, unlabeled, step):
        """Return the objective of one theta-step at `params` and the rows that it sums."""
        rows = self.algorithm(forward, labeled, unlabeled, step)
        lam = self.store.gather(rows.ids, rows.confidence, rows.logits.shape[-1], step)
        loss = objective.weighted_objective(rows, objective.row_weights(rows, lam))
        if self.settings.weight_decay:
            kernels = [p for p, v in zip(params, self.params, strict=True) if v.name == "kernel"]
            loss += self.settings.weight_decay * objective.l2_penalty(kernels)
        return loss, rows

    def _forward(self, inputs, *, makes_rows=True, moves_statistics=True):
        if moves_statistics:
            return self.model(inputs, training=True)
        return frozen_statistics_forward(self.model, self.params)(inputs)


def _check_own_features(settings, lambda_settings):
    needs = lambda_settings.influence_params, lambda_settings.inverse_hessian
    if settings.own_features and (needs[0] != LAST_LAYER or needs[1] == "unrolled"):
        raise ValueError(
            f"`own_features` must come with influence_params={LAST_LAYER} and not with unrolled. "
            f"Received: influence_params={needs[0]}, inverse_hessian={needs[1]}"
        )


def _split_losses(rows):
    labeled = tf.cast(rows.ids[:, 0] < 0, tf.float32)
    each = objective.row_coefficients(rows, None) * rows.loss
    count = tf.maximum(tf.reduce_sum(1 - labeled), 1)
    return {
        "loss_labeled": tf.reduce_sum(labeled * each),
        "loss_unlabeled": tf.reduce_sum((1 - labeled) * each),
        "mask_rate": tf.reduce_sum((1 - labeled) * rows.mask) / count,
    }
