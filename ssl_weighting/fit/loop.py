"""What `fit` does at each batch beside Keras' step: where Alg. 1 stands, and its Lambda-steps."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.data.open_iterators import lets_go_at_exit
from ssl_weighting.theta.step import MEANS, NonFiniteError

_NUMBERS = ("step", "lambda_steps", "first_step", "first_epoch")
_SEED = "seed_generator_state"
NOT_MEASURED = float("nan")  # no Lambda-step yet


class Loop:
    """Goes through Alg. 1 where Keras calls the theta-steps.

    A batch is a pure function of its number, so that a run goes on from saved state exactly there,
    whatever epoch Keras begins it with.

    Args:
        trainer: `BilevelTrainer`, of which theta-steps are taken by `keras_step`.

    Attributes:
        step: theta-steps taken. first_step, first_epoch: where `fit` began.
        clock: `step` as the compiled step reads it.
    """

    def __init__(self, trainer: BilevelTrainer):
        self.trainer = trainer
        self.step = self.first_step = self.first_epoch = 0
        self.clock = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.means = {name: keras.metrics.Mean(name=name) for name in MEANS}
        self.keras_step = None  # iterator -> logs: one theta-step, or several
        self.per_call = self.per_epoch = 1  # theta-steps
        self._to_pass_over = 0
        self._lambda_logs = {}
        self.forget()
        lets_go_at_exit(self)

    def forget(self) -> None:
        """Throw away the batches that were made ahead."""
        self._batches = self._next = None

    @property
    def lambda_steps(self) -> int:
        """Lambda-steps taken."""
        return self.trainer.lambda_steps

    @lambda_steps.setter
    def lambda_steps(self, count: int):
        self.trainer.lambda_steps = count

    def begin(self, source, lambda_source, epoch: int, per_epoch: int, per_call: int) -> None:
        """Begin a call of `fit` with these batches at `epoch`, which may be changed by `restore`.

        Raises:
            ValueError: Lambda-steps or epochs would fall into a call of several theta-steps.
        """
        s = self.trainer.settings
        counts = {"inner_steps": s.inner_steps, "lambda_warmup_steps": s.lambda_warmup_steps}
        counts["steps_per_epoch"] = per_epoch
        wrong = {name: count for name, count in counts.items() if count % per_call}
        if wrong:
            raise ValueError(
                f"`steps_per_execution` must divide {', '.join(counts)}: Keras stops nowhere "
                f"between. Received: steps_per_execution={per_call}, {wrong}"
            )
        trainer = self.trainer
        trainer.source = trainer.theta.source = source
        trainer.lambda_source = lambda_source
        if trainer.scores:  # those that wait may be of other batches, of a call before
            trainer.scores.since.assign(-1)
        self.first_step, self.first_epoch = self.step, epoch
        self.per_epoch, self.per_call = per_epoch, per_call
        self.forget()
        self._lambda_logs = self._statistics(NOT_MEASURED)

    def begin_epoch(self, epoch: int) -> None:
        """Find out how much of an epoch a run that goes on has behind it."""
        begun_at = self.first_step + (epoch - self.first_epoch) * self.per_epoch
        self._to_pass_over = max(0, min(self.step - begun_at, self.per_epoch))
        for mean in self.means.values():
            mean.reset_state()

    def __call__(self, iterator) -> dict:
        """Take the theta-steps of a call, a Lambda-step first where one is due; return the logs.

        `iterator` is Keras' and is not read: it knows nothing of where a run goes on.

        Raises:
            NonFiniteError: a loss, Hessian or influence that is not finite; Lambda is untouched.
        """
        del iterator
        if self._to_pass_over:  # these theta-steps were taken before the run was stopped
            self._to_pass_over -= self.per_call
            return self._means() | self._lambda_logs
        self.trainer.step = self.step
        if self._next != self.step:
            self._batches = self.trainer.source.iterator(self.step, self.lambda_steps)
        if self.trainer.lambda_step_is_due():
            self.refuse_non_finite()
            report = self.trainer.lambda_step()
            self._lambda_logs = self._statistics(report["validation_loss"])
        logs = self.keras_step(self._batches)
        self.step += self.per_call
        self._next = self.step
        return dict(logs) | self._lambda_logs

    def theta_step(self, labeled, unlabeled) -> dict:
        """Take one theta-step, within the function that Keras compiles; return means by name."""
        out = self.trainer.theta.on_batch(labeled, unlabeled, self.clock.read_value())
        self.clock.assign_add(1)
        for name, mean in self.means.items():
            mean.update_state(out[name])
        return self._means()

    def refuse_non_finite(self) -> None:
        """Stop where the loss was not finite.

        Raises:
            NonFiniteError: it was, at some step of this epoch.
        """
        loss = float(self.means["loss"].result())
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"The training loss is not finite at or before step {self.step} of this epoch. "
                "Lambda is untouched. Lower the learning rate or check the inputs, and go on from "
                "the last weights that were saved"
            )

    def _means(self):
        return {name: mean.result() for name, mean in self.means.items()}

    def _statistics(self, loss_on_v):
        sample = self.trainer.store.sample
        lam = sample.lam
        return {
            "lam_mean": float(lam.mean()),
            "lam_std": float(lam.std()),
            "lam_zero": float((lam == 0).mean()),
            "lam_visited": float((sample.visits > 0).mean()),
            "loss_on_v": loss_on_v,
        }

    @property
    def _variables(self):
        trainer = self.trainer
        groups = {
            "weights": trainer.store.variables,
            "ema": trainer.ema.variables,
            "algorithm": getattr(trainer.algorithm, "variables", []),
            "scores": trainer.scores.variables if trainer.scores else [],
            # Keras saves no state of random layers.
            "seeds": [v for v in trainer.model.variables if v.name == _SEED],
        }
        return {f"{name}_{k}": v for name, group in groups.items() for k, v in enumerate(group)}

    def state(self) -> dict[str, np.ndarray]:
        """Return all state but the model's and that of its optimizer, which Keras saves."""
        numbers = {name: np.array(getattr(self, name), np.int64) for name in _NUMBERS}
        return numbers | {name: v.numpy() for name, v in self._variables.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Put `state` back.

        Raises:
            ValueError: an array is missing, or of another shape; nothing has been written then.
        """
        variables = self._variables
        # Earlier versions did not record it: the scores that wait are looked for in all of U.
        state = {k: np.array(-1) for k, v in variables.items() if v.name == "since"} | state
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        shapes |= dict.fromkeys(_NUMBERS, ())
        wrong = [
            f"{name}: {getattr(state.get(name), 'shape', 'nothing')} instead of {shape}"
            for name, shape in shapes.items()
            if getattr(state.get(name), "shape", None) != shape
        ]
        if wrong:
            raise ValueError(
                "The file must be of a model with as many unlabeled examples and the same "
                f"settings. Received: {'; '.join(wrong)}"
            )
        for name, variable in variables.items():
            variable.assign(state[name])
        self.trainer.store.note(None)
        for name in _NUMBERS:
            setattr(self, name, int(state[name]))
        self.clock.assign(self.step)
        self._lambda_logs = self._statistics(NOT_MEASURED)
