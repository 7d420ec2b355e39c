"""Alg. 1: N steps on theta, then one step on the example weights along Eq. 6, and again.

Model, algorithm, optimizer, weight store and data arrive as arguments; nothing here knows a data
set, a flag or a file.
"""

from __future__ import annotations

import operator
import time

import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.bilevel_settings import BilevelSettings as BilevelSettings
from ssl_weighting.lambda_step import (
    LAST_LAYER,
    LambdaStep,
    LambdaStepSettings,
    Measured,
    make_scope,
    rank_correlation,
)
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.theta import devices as replicas
from ssl_weighting.theta.ema import frozen_statistics_forward
from ssl_weighting.theta.fused_batch_norm import FusedBatchNorm
from ssl_weighting.theta.replay import Replay
from ssl_weighting.theta.weight_decay import is_decayed

_HALVES = (slice(0, None, 2), slice(1, None, 2))
_MEANS = ("loss", "loss_labeled", "loss_unlabeled", "mask_rate")


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; Lambda was left untouched."""


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
        jit_compile: compile the theta-step with XLA; for one device.
        devices: `Devices` that share each theta-step; model and optimizer were made in their scope.
            The Lambda-step runs on the first alone: it is half a percent of the time.
        rates: `CtaRates` that learn from the probes of labeled batches, or None.
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
        rates=None,
        devices: replicas.Devices | None = None,
    ):
        _check_own_features(settings, lambda_settings)
        self.model, self.algorithm, self.optimizer = model, algorithm, optimizer
        self.store, self.ema, self.source, self.settings = store, ema, source, settings
        self.lambda_source, self.validation_at = lambda_source, validation_at
        self.rates = rates
        self.params = list(model.trainable_variables)
        self.devices = devices or replicas.Devices()
        _check_devices(self.devices, jit_compile, lambda_settings)
        with self.devices.scope():
            optimizer.build(self.params)
        self._fused = FusedBatchNorm(model)
        self.step = self.lambda_steps = 0
        self.scope = scope = make_scope(
            model, lambda_settings, settings.weight_decay, settings.weight_decay_scope
        )
        self.scores = self._make_scores(lambda_settings) if settings.score_every_step else None
        self.replay = None
        if lambda_settings.inverse_hessian == "unrolled":
            self.replay = self._make_replay(scope, lambda_settings.solve.iterations)
        self._lambda_step = LambdaStep(
            model, algorithm, store, lambda_settings, scope=scope, replay=self.replay
        )
        self._seconds_per_step = float("inf")
        self._iterator, self._iterator_step = None, -1
        self._compile(jit_compile)

    @property
    def members(self) -> tuple[BilevelTrainer, ...]:
        """The trainers of single models in this one: itself (see `cross_fit`)."""
        return (self,)

    def train(self, num_steps: int) -> dict[str, float]:
        """Take `num_steps` theta-steps, to `next_pause` at most.

        Returns:
            Means over the steps: loss, loss_labeled, loss_unlabeled, mask_rate; learning_rate; and
            what `rates` say.

        Raises:
            NonFiniteError: a loss that is not finite, with its step.
        """
        if self.replay and self.settings.lambda_due(self.step + self.replay.count):
            self.replay.keep(self.step)
        self._publish_rates()
        if self._iterator_step != self.step:
            self._iterator = iter(self.source.dataset(self.step))
        count, started = tf.constant(num_steps, tf.int64), time.monotonic()
        done, total = self._train_loop(self._iterator, tf.constant(self.step, tf.int64), count)
        self.step += num_steps
        self._iterator_step = self.step
        means = {k: float(v) / num_steps for k, v in total.items()}
        if int(done) < num_steps:
            raise NonFiniteError(
                f"The training loss is not finite at step {self.step - num_steps + int(done)}: "
                f"{means}. Lambda is untouched. Lower the learning rate or check the inputs, and "
                "resume from the last checkpoint."
            )
        self._seconds_per_step = (time.monotonic() - started) / num_steps
        means["learning_rate"] = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        return means | (self.rates.statistics() if self.rates else {})

    def next_pause(self) -> int:
        """Return the first step after this one at which a block of theta-steps must end."""
        due = self.settings.next_lambda_step(self.step)
        kept = due - self.replay.count if self.replay else due
        pause = kept if kept > self.step else due
        return min(pause, self.rates.next_publication(self.step)) if self.rates else pause

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
        if self.settings.own_features:
            return self._lambda_step_within_theta_step()
        measured = self.measure()
        if self.settings.stale_weights:
            started = time.monotonic()
            measured.report["train"] = self.train(1)
            measured.report["train_seconds"] = time.monotonic() - started
        self._lambda_step.apply(measured, self.scores)
        self.lambda_steps += 1
        return measured.report

    def measure(self) -> Measured:
        """Return Eq. 6 on the batches of the next Lambda-step; no weight is changed.

        Raises:
            NonFiniteError: a validation loss, Hessian or influence that is not finite.
        """
        self._publish_rates()
        k = tf.constant(self.lambda_steps, tf.int64)
        fresh = self.settings.fresh_batch
        batch = self.lambda_source.at(k) if fresh else self.source.at(self.step)
        validation = self.validation_at(k)
        measured = self._lambda_step.measure(*batch, validation, self.step)
        _refuse_non_finite(measured, self.step)
        if self.settings.measure_noise:
            measured.report["halves_spearman"] = self._agreement_of_halves(batch, validation)
        return measured

    def _lambda_step_within_theta_step(self):
        self._publish_rates()
        started, step = time.monotonic(), self.step
        validation = self.validation_at(tf.constant(self.lambda_steps, tf.int64))
        now = tf.constant(step, tf.int64)
        out, measured = self._both_steps(*self.source.at(step), validation, now)
        self.step += 1
        measured = self._lambda_step.reported(measured)
        _refuse_non_finite(measured, step)
        self._lambda_step.apply(measured, self.scores)
        self.lambda_steps += 1
        means = {name: float(out[name]) for name in _MEANS}
        means["learning_rate"] = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        # Of one call the theta-step's part is known from the steps before.
        theta = min(time.monotonic() - started, self._seconds_per_step)
        return measured.report | {"train": means, "train_seconds": theta}

    def _agreement_of_halves(self, batch, validation):
        """Rank correlation of the scores by every second example of V' and by the others."""
        halves = [tf.nest.map_structure(operator.itemgetter(s), validation) for s in _HALVES]
        found = [self._lambda_step.measure(*batch, half, self.step) for half in halves]
        return rank_correlation(*(measured.lam_gradient for measured in found))

    def _publish_rates(self):
        if self.rates and self.rates.publish_if_due(self.step):
            self._iterator_step = -1  # what was made ahead was made with the old rates

    def _compile(self, jit_compile):
        # AutoGraph would convert every function below these, for seconds, and find nothing to do.
        self._theta_step = self._theta_step_fn
        if self.devices.count == 1:  # several meet in the middle of it: no function of its own
            self._theta_step = tf.function(
                self._theta_step_fn, jit_compile=jit_compile, autograph=False
            )
        self._both_steps = tf.function(self._both_steps_fn, autograph=False)
        self._train_loop = tf.function(self._train_loop_fn, autograph=False)

    def _make_scores(self, lambda_settings):
        sizes = self.store.num_unlabeled, self.scope.size
        return StaleScores(*sizes, lambda_settings.mask_in_gradient, self.scope.logit_map)

    def _make_replay(self, scope, count):
        def loss(*arguments):
            return self._loss(*arguments)[0]

        parts = (self.model, self.optimizer, loss, self.source)
        return Replay(*parts, scope.variables, scope.dtype, count)

    def _train_loop_fn(self, iterator, start, count):
        def more(done, finite, total):
            return (done < count) & finite

        def step(done, finite, total):
            out = self.devices.run(self._theta_step, *next(iterator), start + done)
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
        forward = replicas.divided(self._forward, labeled.label.shape[0])
        with tf.GradientTape() as tape:
            loss, rows = self._loss(forward, self.params, labeled, unlabeled, step)
            scaled = self.optimizer.scale_loss(replicas.share(loss))
        measured = measure(rows) if measure else None
        # Of embeddings as slices, repeated tokens apart: clipping would square them apart too.
        gradients = [
            g if g is None else tf.convert_to_tensor(g)
            for g in tape.gradient(scaled, [p.value for p in self.params])
        ]
        self.optimizer.apply(replicas.spread_bad_news(gradients), self.params)
        replicas.average(self.model.non_trainable_variables)
        if replicas.is_first():
            self._keep(rows, labeled, unlabeled)
        means = {"loss": loss, **_split_losses(rows)}
        return (means, measured) if measure else means

    def _keep(self, rows, labeled, unlabeled):
        """Write what is written once a step, whatever the number of devices."""
        if self.scores:
            self.scores.add(rows, tf.size(unlabeled.index))
        if rows.memory:
            self.algorithm.remember(rows.memory)
        self.ema.update()
        if self.rates:
            self.rates.learn(labeled, self._averaged_probabilities(labeled.probe.inputs))

    def _loss(self, forward, params, labeled, unlabeled, step):
        """Return the objective of one theta-step at `params` and the rows that it sums."""
        rows = self.algorithm(forward, labeled, unlabeled, step)
        lam = self.store.gather(rows.ids, rows.confidence, rows.logits.shape[-1], step)
        loss = objective.weighted_objective(rows, objective.row_weights(rows, lam))
        if self.settings.weight_decay:
            scope, pairs = self.settings.weight_decay_scope, zip(params, self.params, strict=True)
            decayed = [p for p, v in pairs if is_decayed(v, scope)]
            loss += self.settings.weight_decay * objective.l2_penalty(decayed)
        return loss, rows

    def _averaged_probabilities(self, inputs):
        values = [v.value for v in self.ema.shadow]
        others = [v.value for v in self.model.non_trainable_variables]
        outputs, _ = self.model.stateless_call(values, others, inputs, training=False)
        return tf.nn.softmax(outputs["logits"])

    def _forward(self, inputs, *, makes_rows=True, moves_statistics=True):
        with self._fused():
            if moves_statistics:
                return self.model(inputs, training=True)
            return frozen_statistics_forward(self.model, self.params)(inputs)


def _refuse_non_finite(measured, step):
    if not measured.report["finite"]:
        raise NonFiniteError(
            f"The Lambda-step at step {step} met a non-finite value: {measured.report}. "
            "Lambda is untouched. Raise the damping or lower the learning rate."
        )


def _check_own_features(settings, lambda_settings):
    needs = lambda_settings.influence_params, lambda_settings.inverse_hessian
    if settings.own_features and (needs[0] != LAST_LAYER or needs[1] == "unrolled"):
        raise ValueError(
            f"`own_features` must come with influence_params={LAST_LAYER} and not with unrolled. "
            f"Received: influence_params={needs[0]}, inverse_hessian={needs[1]}"
        )


def _check_devices(devices, jit_compile, lambda_settings):
    if devices.count > 1 and (jit_compile or lambda_settings.inverse_hessian == "unrolled"):
        raise ValueError(
            "Several devices need `jit_compile` to be off, since they meet inside the theta-step, "
            "and another `inverse_hessian` than unrolled, which repeats steps on one device. "
            f"Received: {devices.count} devices, jit_compile={jit_compile}, "
            f"inverse_hessian={lambda_settings.inverse_hessian!r}"
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
