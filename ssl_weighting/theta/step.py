"""The theta-step, lines 4 and 5 of Alg. 1: sample D' and U', then theta <- theta - alpha grad L."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.checks import check_labeled, check_number, check_unlabeled
from ssl_weighting.data.open_iterators import lets_go_at_exit
from ssl_weighting.models.network import named_outputs
from ssl_weighting.theta.deferred import block_of, made_ahead
from ssl_weighting.theta.devices import (
    Devices,
    average,
    clipped_together,
    divided,
    fail_together,
    is_first,
    loss_per_device,
)
from ssl_weighting.theta.ema import frozen_statistics_forward
from ssl_weighting.theta.fused_batch_norm import FusedBatchNorm
from ssl_weighting.theta.weight_decay import is_decayed

MEANS = ("loss", "loss_labeled", "loss_unlabeled", "mask_rate")


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite; Lambda was left untouched."""


class ThetaStep:
    """Takes theta-steps, as many as asked for, in one compiled loop.

    Args:
        model: Keras model inputs -> logits or {"features", "logits"}.
        algorithm: (forward, labeled, unlabeled, step) -> LossRows.
        optimizer: Keras optimizer of theta; it is built here.
        store: `WeightStore`, which is read.
        ema: `ExponentialMovingAverage` of theta.
        source: training batches; `.dataset(start)` (data.pipeline.BatchSource).
        weight_decay: coefficient of 0.5 ||K||^2 in the objective.
        weight_decay_scope: what it covers, a name in `weight_decay.SCOPES`.
        jit: compile the step with XLA; for one device.
        devices: `Devices` that share each step.
        rates: `CtaRates` that learn from the probes of labeled batches, or None.
        scores: `StaleScores` that gather the rows of every step, or None.

    Attributes:
        unreported: [1 + |MEANS|] float64, the steps since the last `report` and the sums over them:
            state, where a run is saved between two reports.
    """

    def __init__(
        self,
        model,
        algorithm,
        optimizer,
        store,
        ema,
        source,
        *,
        weight_decay: float = 0.0,
        weight_decay_scope: str = "kernels",
        jit: bool = True,
        devices: Devices | None = None,
        rates=None,
        scores=None,
    ):
        check_number("weight_decay", weight_decay)
        self.model, self.algorithm, self.optimizer = model, algorithm, optimizer
        self.store, self.ema, self.source = store, ema, source
        self.weight_decay, self.weight_decay_scope = weight_decay, weight_decay_scope
        self.devices, self.rates, self.scores = devices or Devices(), rates, scores
        self.params = list(model.trainable_variables)
        self.num_classes = None  # known once rows have been made
        with self.devices.scope():
            optimizer.build(self.params)
        self._fused = FusedBatchNorm(model)
        self.unreported = np.zeros(1 + len(MEANS))
        self.forget()
        lets_go_at_exit(self)
        # AutoGraph would convert every function below these, for seconds, and find nothing to do.
        one = self.on_batch
        if self.devices.count == 1:  # several meet in the middle of it: no function of its own
            one = tf.function(self.on_batch, jit_compile=jit, autograph=False)
        self._block = block_of(self.devices, one)

    def forget(self) -> None:
        """Throw away the batches that were made ahead."""
        self._batches = self._next = None  # the batches from theta-step `_next` on

    def take(self, step: int, count: int) -> dict[str, float]:
        """Take the theta-steps number `step` to `step + count - 1` and `report`.

        Raises:
            NonFiniteError: a loss that is not finite, with its step.
        """
        self.advance(step, count)
        return self.report()

    def advance(self, step: int, count: int) -> None:
        """Take the theta-steps number `step` to `step + count - 1`.

        The sums go on in float32, step by step, where the last call left them: in how many pieces
        the steps between two reports are taken changes no bit.

        Raises:
            NonFiniteError: a loss that is not finite, with its step.
            ValueError: labels or ids of another shape or out of range.
        """
        if self.rates and self.rates.publish_if_due(step):
            self.forget()  # they were made with the old rates
        if self._next != step:
            self._batches = iter(made_ahead(self.source.dataset(step), self.devices))
        start = tf.constant(step, tf.int64), tf.constant(count, tf.int64)
        total = tf.unstack(tf.constant(self.unreported[1:], tf.float32))
        done, total = self._block(self._batches, *start, dict(zip(MEANS, total, strict=True)))
        self._next = step + count
        sums = [float(total[name]) for name in MEANS]
        self.unreported = np.array([self.unreported[0] + count, *sums])
        if int(done) < count:
            self._refuse_bad_batch(step + int(done))
            means = self.report()
            raise NonFiniteError(
                f"The training loss is not finite at step {step + int(done)}: {means}. Lambda is "
                "untouched. Lower the learning rate or check the inputs, and resume from the last "
                "checkpoint."
            )

    def report(self) -> dict[str, float]:
        """Return means over the steps since the last report.

        Returns:
            loss, loss_labeled, loss_unlabeled, mask_rate; learning_rate; and what `rates` say.
        """
        count, *sums = self.unreported.tolist()
        self.unreported = np.zeros_like(self.unreported)
        means = self.means(dict(zip(MEANS, sums, strict=True)), count)
        return means | (self.rates.statistics() if self.rates else {})

    def _refuse_bad_batch(self, step):
        """Say so where labels or ids, which are NaN by then, are why a loss is not finite."""
        labeled, unlabeled = next(iter(self.source.dataset(step)))
        check_labeled(labeled, "labeled", self.num_classes)
        check_unlabeled(unlabeled, self.store.num_unlabeled)

    def means(self, total: dict, count: float) -> dict[str, float]:
        """Return the means over `count` steps of what `on_batch` summed up, and learning_rate."""
        means = {name: float(total[name]) / count for name in MEANS}
        return means | {"learning_rate": float(tf.convert_to_tensor(self.optimizer.learning_rate))}

    def on_batch(self, labeled, unlabeled, step, measure=None):
        """Take one theta-step on a batch, within a `tf.function`.

        Args:
            labeled: D'; unlabeled: U'.
            step: scalar int64, its number.
            measure: called with its `LossRows` before theta moves, or None.

        Returns:
            The losses of the batch by the names `MEANS`; with `measure` also what it returned.
        """
        check_labeled(labeled, "labeled", self.num_classes)
        check_unlabeled(unlabeled, self.store.num_unlabeled)
        forward = divided(self.forward, labeled.label.shape[0])
        with tf.GradientTape() as tape:
            loss, rows = self.loss(forward, self.params, labeled, unlabeled, step)
            self.num_classes = rows.logits.shape[-1]
            scaled = self.optimizer.scale_loss(loss_per_device(loss))
        measured = measure(rows) if measure else None
        # Of embeddings as slices, repeated tokens apart: clipping would square them apart too.
        gradients = [
            g if g is None else tf.convert_to_tensor(g)
            for g in tape.gradient(scaled, [p.value for p in self.params])
        ]
        gradients = clipped_together(gradients, self.optimizer)
        self.optimizer.apply(fail_together(gradients), self.params)
        average(self.model.non_trainable_variables)
        if is_first():
            self._keep(rows, labeled, unlabeled)
        means = {"loss": loss, **_split_losses(rows)}
        return (means, measured) if measure else means

    def loss(self, forward, params, labeled, unlabeled, step):
        """Return the objective of one theta-step at `params` and the rows that it sums."""
        rows = self.algorithm(forward, labeled, unlabeled, step)
        lam = self.store.gather(rows.ids, rows.confidence, rows.logits.shape[-1], step)
        loss = objective.weighted_objective(rows, objective.row_weights(rows, lam))
        if self.weight_decay:
            pairs = zip(params, self.params, strict=True)
            decayed = [p for p, v in pairs if is_decayed(v, self.weight_decay_scope)]
            loss += self.weight_decay * objective.l2_penalty(decayed)
        return loss, rows

    def objective(self, *arguments) -> tf.Tensor:
        """Return the first of what `loss` returns."""
        return self.loss(*arguments)[0]

    def forward(self, inputs, *, makes_rows=True, moves_statistics=True):
        """Call the model as a theta-step does (see `structs.Forward`)."""
        del makes_rows
        with self._fused():
            if moves_statistics:
                return named_outputs(self.model(inputs, training=True))
            return frozen_statistics_forward(self.model, self.params)(inputs)

    def _keep(self, rows, labeled, unlabeled):
        """Write what is written once a step, whatever the number of devices."""
        if self.scores:
            self.scores.add(rows, tf.size(unlabeled.ids))
        if rows.memory:
            self.algorithm.remember(rows.memory)
        self.ema.update()
        if self.rates:
            self.rates.learn(labeled, self._averaged_probabilities(labeled.probe.inputs))

    def _averaged_probabilities(self, inputs):
        values = [v.value for v in self.ema.shadow]
        others = [v.value for v in self.model.non_trainable_variables]
        outputs, _ = self.model.stateless_call(values, others, inputs, training=False)
        return tf.nn.softmax(outputs["logits"])


def _split_losses(rows):
    labeled = tf.cast(rows.ids[:, 0] < 0, tf.float32)
    each = objective.row_coefficients(rows, None) * rows.loss
    count = tf.maximum(tf.reduce_sum(1 - labeled), 1)
    return {
        "loss_labeled": tf.reduce_sum(labeled * each),
        "loss_unlabeled": tf.reduce_sum((1 - labeled) * each),
        "mask_rate": tf.reduce_sum((1 - labeled) * rows.mask) / count,
    }
