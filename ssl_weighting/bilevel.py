"""Alg. 1: N steps on theta, then one step on the example weights along Eq. 6, and again.

Model, algorithm, optimizer, weight store and data arrive as arguments; nothing here knows a data
set, a flag, a file or a clock. Lines 4 and 5 are `theta.step`, lines 8 to 12 `lambda_step`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms.anchored import Anchored
from ssl_weighting.bilevel_settings import BilevelSettings
from ssl_weighting.lambda_across import lambda_step_across
from ssl_weighting.lambda_step import Measured, make_parameters, refuse_non_finite
from ssl_weighting.lambda_step_settings import LAST_LAYER, LambdaStepSettings
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.structs import Event, Most, Stops
from ssl_weighting.theta.devices import Devices, check_devices
from ssl_weighting.theta.replay import Replay
from ssl_weighting.theta.solve import Solve
from ssl_weighting.theta.step import ThetaStep


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
        jit: compile the theta-step with XLA; for one device.
        rates: `CtaRates` that learn from the probes of labeled batches, or None.
        devices: `Devices` that share each theta-step; model and optimizer were made in their scope.
            The Lambda-step runs on the first alone: it is half a percent of the time.
        lambda_workers: who takes it where several processes train, see `lambda_step_across`.

    Attributes:
        step: theta-steps taken; lambda_steps: Lambda-steps taken. To resume, set both.

    Raises:
        ValueError: settings that exclude each other.
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
        jit: bool = True,
        rates=None,
        devices: Devices | None = None,
        lambda_workers: str = "auto",
    ):
        _check_last_layer(settings, lambda_settings)
        self.devices, self.lambda_workers = devices or Devices(), lambda_workers
        check_devices(self.devices, jit, lambda_settings.inverse_hessian)
        self.model, self.algorithm, self.optimizer = model, algorithm, optimizer
        self.store, self.ema, self.source, self.settings = store, ema, source, settings
        self.lambda_source, self.validation_at, self.rates = lambda_source, validation_at, rates
        self.step = self.lambda_steps = 0
        s, solve = settings, lambda_settings
        if s.inner == "solve":
            self.algorithm = Anchored(algorithm, *model.trainable_variables[-2:])
        decay = {"weight_decay": s.weight_decay, "weight_decay_scope": s.weight_decay_scope}
        scored = {"scores_theta_steps": s.score_every_step or s.infl_own_features}
        self.parameters = p = make_parameters(model, solve, **decay, **scored)
        self.scores = None
        if s.score_every_step:
            how = solve.infl_mask_grad, p.logit_map
            self.scores = StaleScores(store.num_unlabeled, p.size, *how)
        self.theta = self._theta_step(decay, jit)
        self.params = self.theta.params
        self.replay = self._made_replay(solve) if solve.inverse_hessian == "unrolled" else None
        self._lambda_step = self._made_lambda_step(solve)
        self._both_steps = tf.function(self._both_steps_fn, autograph=False)
        stale = self._within_theta_step if s.infl_own_features else self._around_theta_step
        self._move_lambda = stale if s.stale_w else self._before_theta_step

    def _made_replay(self, settings):
        take = self.model, self.optimizer, self.theta.objective, self.source
        p = self.parameters
        return Replay(*take, p.variables, p.dtype, settings.solve.iterations)

    def _made_lambda_step(self, settings):
        parts = {"parameters": self.parameters, "replay": self.replay}
        parts["views"] = getattr(self.lambda_source, "views", 1)
        how = self.devices, self.lambda_workers
        return lambda_step_across(*how, self.model, self.algorithm, self.store, settings, **parts)

    def _theta_step(self, decay, jit):
        s, read = self.settings, (self.store, self.ema, self.source)
        if s.inner == "solve":
            how = {"round_steps": s.round_steps, "tolerance": s.inner_tolerance}
            return Solve(self.model, self.algorithm, *read, **decay, **how)
        moved = self.model, self.algorithm, self.optimizer
        how = {"devices": self.devices, "rates": self.rates, "scores": self.scores}
        return ThetaStep(*moved, *read, **decay, jit=jit, **how)

    @property
    def members(self) -> tuple[BilevelTrainer, ...]:
        """The trainers of single models in this one: itself (see `cross_fit`)."""
        return (self,)

    def steps(self, until: int, stops: Stops = None, most: Most = None) -> Iterator[Event]:
        """Run Alg. 1 until `until` theta-steps have been taken; tell of every piece of it.

        Between two events the trainer may be saved, or left for good: another call of `steps`, also
        of a new trainer that was given the same state, goes on exactly there.

        Args:
            until: theta-steps in all, those taken before the call included.
            stops: step -> the first step after it at which a block of theta-steps must end too, so
                that the caller can log, evaluate or save there.
            most: the largest piece of a block to take now, 1 or more; it changes no result.

        Yields:
            `Event`; with `stale_w`, "train" of the theta-step that a Lambda-step took along at once
            after it.

        Raises:
            NonFiniteError: a loss, Hessian or influence that is not finite; Lambda is untouched.
        """
        while self.step < until:  # line 2: while not converged do
            if not self.lambda_step_is_due():  # line 3: for 1 ... N do
                end = min(until, self.next_pause(), stops(self.step) if stops else until)
                left = end - self.step
                self.advance(min(left, most()) if most else left)  # lines 4, 5: theta <- ...
                kind, report = ("train", self.report()) if self.step == end else ("piece", {})
                yield Event(kind, self.step, report)  # line 6: end for
            else:
                step, report = self.step, self.lambda_step()  # lines 7 to 12
                means = report.pop("train", None)
                yield Event("lambda", step, report)
                if means:
                    yield Event("train", self.step, means)
            # line 13: end while

    def lambda_step_is_due(self) -> bool:
        """Return whether a Lambda-step stands before the next theta-step and was not taken yet."""
        due = self.store.learns and self.settings.lambda_due(self.step)
        return due and self.lambda_steps < self.settings.lambda_steps_due(self.step)

    def next_pause(self) -> int:
        """Return the first step after this one at which a block of theta-steps must end."""
        if not (self.store.learns or self.rates):
            return sys.maxsize
        due = self.settings.next_lambda_step(self.step)
        pauses = [due]
        if self.replay and due - self.replay.count > self.step:
            pauses.append(due - self.replay.count)  # whence the last steps will be repeated
        if self.rates:
            pauses.append(self.rates.next_publication(self.step))
        return min(pauses)

    def train(self, num_steps: int) -> dict[str, float]:
        """Take a block of theta-steps (lines 3 to 6), to `next_pause` at most, and `report`.

        Raises:
            ValueError: a Lambda-step is due first, or among these steps.
            NonFiniteError: a loss that is not finite, with its step.
        """
        self.advance(num_steps)
        return self.report()

    def advance(self, num_steps: int) -> None:
        """Take a piece of a block, as `train` without the report; raise the same errors."""
        most = 0 if self.lambda_step_is_due() else self.next_pause() - self.step
        if not 1 <= num_steps <= most:
            raise ValueError(
                "`num_steps` must be at least 1 and end where Alg. 1 pauses, at most "
                f"{most} theta-steps from here. Received: num_steps={num_steps} at step "
                f"{self.step}. Call `lambda_step` where one is due, or let `steps` alternate"
            )
        self._theta_steps(num_steps)

    def report(self) -> dict[str, float]:
        """Return what `ThetaStep.report` returns: means over the steps since the last report."""
        return self.theta.report()

    def lambda_step(self) -> dict[str, float]:
        """Move Lambda along Eq. 6 at the current theta (lines 7 to 12), due or not.

        It counts as the next one that falls due. With `stale_w` the theta-step that follows
        is taken here too, between the measurement and the update: it must see the old weights.

        Returns:
            What `LambdaStep` reports; with `stale_w` also "train", as `train` returns it.

        Raises:
            NonFiniteError: a validation loss, Hessian or influence that is not finite.
        """
        return self._move_lambda()

    def measure(self) -> Measured:
        """Return Eq. 6 on the batches of the next Lambda-step (lines 7 to 11); nothing is changed.

        Raises:
            NonFiniteError: a validation loss, Hessian or influence that is not finite.
        """
        batch, validation = self._lambda_batches()  # line 7
        measured = self._lambda_step.measure(*batch, validation, self.step)  # lines 8 to 11
        refuse_non_finite(measured, self.step)
        if self.settings.measure_noise:
            agreement = self._lambda_step.agreement_of_halves(*batch, validation, self.step)
            measured.report["halves_spearman"] = agreement
        return measured

    def met(self) -> np.ndarray | None:
        """Return ids, rising, of all theta-steps whose scores wait for the next Lambda-step.

        None: not known without a look at all scores; or these are no more than the ids.
        """
        since, made = int(self.scores.since.numpy()), getattr(self.source, "met", None)
        return made(since, self.step) if made and 0 <= since <= self.step else None

    def _before_theta_step(self):
        """As Alg. 1 has it: the theta-step that follows sees the new weights."""
        measured = self.measure()
        self._apply(measured)
        return measured.report

    def _around_theta_step(self):
        """`stale_w`: the theta-step that follows sees the weights from before."""
        measured = self.measure()
        self._theta_steps(1)
        self._apply(measured)
        return measured.report | {"train": self.report()}

    def _within_theta_step(self):
        """`infl_own_features`: Eq. 6 on the rows that the theta-step makes anyway."""
        (batch, validation), step = self._lambda_batches(), self.step
        self._lambda_step.check(*batch, validation)
        out, measured = self._both_steps(*batch, validation, tf.constant(step, tf.int64))
        self.step += 1
        measured = self._lambda_step.reported(measured)
        refuse_non_finite(measured, step)
        self._apply(measured)
        return measured.report | {"train": self.theta.means(out, 1)}

    def _both_steps_fn(self, labeled, unlabeled, validation, step):
        """Take a theta-step and, before it moves theta, measure Eq. 6 on its own rows."""

        def measure(rows):
            count = tf.size(unlabeled.ids)
            return self._lambda_step.measure_rows(rows, [], count, validation, step)

        return self.theta.on_batch(labeled, unlabeled, step, measure)

    def _theta_steps(self, count):
        if self.replay and self.settings.lambda_due(self.step + self.replay.count):
            self.replay.keep(self.step)
        self.theta.advance(self.step, count)
        self.step += count

    def _lambda_batches(self):
        """Return ((D', U'), V') of the next Lambda-step."""
        if self.rates:
            self.rates.publish_if_due(self.step)
        k = tf.constant(self.lambda_steps, tf.int64)
        fresh = self.settings.infl_fresh_batch
        batch = self.lambda_source.at(k) if fresh else self.source.at(self.step)
        return batch, self.validation_at(k)

    def _apply(self, measured):
        met = self.met() if self.scores else None
        self._lambda_step.apply(measured, self.scores, met)  # line 12
        if self.scores and not measured.report["skipped"]:
            self.scores.since.assign(self.step)
        self.lambda_steps += 1


def _check_last_layer(settings, lambda_settings):
    params, method = lambda_settings.influence_params, lambda_settings.inverse_hessian
    if settings.infl_own_features and (params != LAST_LAYER or method == "unrolled"):
        raise ValueError(
            f"`infl_own_features` must come with influence_params={LAST_LAYER} and not with "
            f"unrolled. Received: influence_params={params}, inverse_hessian={method}"
        )
    if settings.score_every_step and params != LAST_LAYER:
        raise ValueError(
            f"`score_every_step` must come with influence_params={LAST_LAYER}: features and logits "
            "of a theta-step score its examples in that closed form alone. Received: "
            f"score_every_step=True, influence_params={params!r}. Switch `score_every_step` off, "
            "or take the last layer"
        )
