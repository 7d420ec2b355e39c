"""A Keras model of one's own, trained by `fit` with a learned weight per unlabeled example."""

from __future__ import annotations

import os

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.data.own_batches import as_examples
from ssl_weighting.data.tables import write_columns
from ssl_weighting.fit.checks import check_model, refuse_several_devices
from ssl_weighting.fit.loop import Loop
from ssl_weighting.fit.sets import Sets
from ssl_weighting.fit.settings import algorithm_of, settings_of
from ssl_weighting.models.network import named_outputs
from ssl_weighting.theta.ema import ExponentialMovingAverage, frozen_statistics_forward
from ssl_weighting.training.optimizers import weight_store

_SOME = 64  # examples on which a model is looked at
_OF_VALIDATION = {"validation_batch_size", "validation_steps", "validation_freq"}
_AT_ONCE = 1024  # unlabeled examples in one call of the net


class WeightedSSLModel(keras.Model):
    """Your Keras model with Alg. 1 as its `fit`.

    `compile`, `fit`, `evaluate`, `predict`, callbacks, `save_weights` and `load_weights` work as
    those of any Keras model. `model` is trained in place; save and deploy it by itself.

    `fit` takes theta-steps and, after every `inner_steps` of them, a step on Lambda. Its logs are
    means over the epoch (loss, loss_labeled, loss_unlabeled, mask_rate) and what the last
    Lambda-step left: mean, standard deviation and share of zeros of the weights (lam_mean, lam_std,
    lam_zero), the share of U that moved (lam_visited) and the loss on V (loss_on_v).

    With `keras.callbacks.BackupAndRestore` runs can be resumed: its file has weights, averages,
    both optimizers, Lambda and all counters. A run that was killed at any time and goes on ends bit
    for bit as the unbroken one (CPU; views without randomness or with a seed). The logs of the
    epoch in which it goes on are means over the rest of it.

    Args:
        model: Keras model, inputs [n, ...] -> logits [n, C] in float32, or {"logits", ...}.
        algorithm: a name in `ALGORITHMS` but "supervised", or an algorithm, whose settings are
            then its own.
        unlabeled: U, an array [n, ...]; or a `tf.data.Dataset` of batches (ids, weak view, strong
            view) with ids from 0.
        validation: V, arrays (inputs [n, ...], labels [n] integers) that Lambda is learned on.
        weak, strong: views of a batch: functions of (inputs), or of (inputs, seed) with a seed
            [2] int32 for stateless operations, or Keras layers; None: the inputs as they are.
            Labeled examples show the weak view, validation and prediction none.
        names: [|U|] what the unlabeled examples are called; None: "unlabeled[0]", ...
        num_unlabeled: |U|, where `unlabeled` is a dataset.
        unlabeled_ratio: unlabeled examples a step for each labeled one, at most |U| together.
        lambda_batch: U' of a Lambda-step; 0: as of a theta-step; -1: all of U.
        val_batch: V' of a Lambda-step; 0: as U'; at most |V|.
        ema_decay: of the averaged parameters, which `evaluate` and `predict` use; 0: none.
        seed: of batches, views and draws.
        **settings: of all parts, by the names of the programs' options: inner_steps (100),
            lambda_lr (0.01), lambda_max, lambda_warmup_steps, weighting ("per_example"),
            influence_params ("last_layer"), damping (0.1), inverse_hessian, ...; with an algorithm
            by name also its own: threshold, wu, temperature, ...

    Raises:
        ValueError: any of these does not fit: the message says what would. Several devices.
    """

    def __init__(
        self,
        model,
        algorithm="fixmatch",
        *,
        unlabeled,
        validation,
        weak=None,
        strong=None,
        names=None,
        num_unlabeled: int | None = None,
        unlabeled_ratio: int = 7,
        lambda_batch: int = 0,
        val_batch: int = 0,
        ema_decay: float = 0.0,
        seed: int = 0,
        **settings,
    ):
        refuse_several_devices()
        super().__init__(dtype=getattr(model, "dtype_policy", None))
        sizes = {"unlabeled_ratio": unlabeled_ratio}
        sizes |= {"lambda_batch": lambda_batch, "val_batch": val_batch}
        sets = Sets(unlabeled, validation, weak, strong, names, num_unlabeled, sizes, seed)
        self._sets, self._settings = sets, settings_of(settings, seed)
        some = sets.validation.take(np.arange(min(_SOME, len(sets.validation))))
        self.num_classes = check_model(model, some, sets.validation)
        self.model = model
        self._ema = ExponentialMovingAverage(model.trainable_variables, ema_decay)
        # Among the weights, so that EarlyStopping brings back what `evaluate` uses.
        self._averages = self._ema.variables if ema_decay else []
        self._store = weight_store(self._settings.weights, sets.num_unlabeled)
        teacher = frozen_statistics_forward(model, self._ema.shadow) if ema_decay else None
        taken = self._settings.algorithm, teacher, self.num_classes, seed
        self._algorithm = algorithm_of(algorithm, *taken)
        self._loop, self._val_batch = None, 1
        self(some.inputs)  # builds this model too

    def call(self, inputs, training=False):
        """Return logits [n, C]; by the averaged parameters, where there are any, unless training.

        Args:
            inputs: [n, ...] as `model` takes them. training: as of any Keras model.
        """
        if training or not self._ema.decay:
            return named_outputs(self.model(inputs, training=training))["logits"]
        averages = self._ema.in_place_of(self.model.trainable_variables)
        groups = averages, self.model.non_trainable_variables
        values = [[v.value for v in group] for group in groups]
        return named_outputs(self.model.stateless_call(*values, inputs)[0])["logits"]

    def compile(self, optimizer="adam", loss=None, metrics=None, *, jit_compile=False, **options):
        """Make ready for `fit`, as any Keras model.

        Args:
            optimizer: of theta.
            loss: None, for the algorithm has its own; `evaluate` reports the cross-entropy.
            metrics: of `evaluate`, of labels [n] and logits [n, C].
            jit_compile: whether XLA compiles the theta-step. **options: run_eagerly,
                steps_per_execution, auto_scale_loss.

        Raises:
            ValueError: another loss; a model that Eq. 6 cannot follow, and why.
        """
        if loss is not None:
            raise ValueError(
                "`loss` must be left out: the algorithm has its own, and `evaluate` reports the "
                f"cross-entropy of logits. Received: loss={loss!r}"
            )
        entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        super().compile(optimizer, entropy, metrics=metrics, jit_compile=jit_compile, **options)
        some = self._sets.validation.take(np.arange(1))
        # Only `evaluate` updates the metrics, but `fit` asks for them: they have to be built.
        self.compute_metrics(some.inputs, some.labels, self(some.inputs))
        self.reset_metrics()
        trainer = BilevelTrainer(
            self.model, self._algorithm, self.optimizer, self._store, self._ema, None, None,
            lambda k: self._sets.validation_at(k, self._val_batch),
            self._settings.bilevel, self._settings.influence, jit=False,
        )  # fmt: skip
        if self._store.learns:
            trainer.parameters.forward(some.inputs)  # refuses what it cannot follow
        loop = Loop(trainer)
        if self._loop:  # compiled before: all but the optimizer of theta goes on
            loop.restore(self._loop.state())
        self._loop = loop

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        *,
        steps_per_epoch=None,
        initial_epoch=0,
        validation_data=None,
        **options,
    ):
        """Run Alg. 1 on labeled examples, with U and V as they were given to this model.

        Args:
            x, y: labeled inputs [n, ...] and classes [n]; or a dataset of batches of both, where
                U is a dataset.
            batch_size: B; None: 32, at most n.
            epochs, verbose, callbacks, initial_epoch: as of any Keras model.
            steps_per_epoch: theta-steps; None: those that go through U once.
            validation_data: arrays or dataset to `evaluate` on after each epoch. On V itself the
                result is optimistic: Lambda was learned on it.
            **options: validation_batch_size, validation_steps, validation_freq.

        Returns:
            `keras.callbacks.History`.

        Raises:
            ValueError: data that do not fit the model or one another.
            TypeError: an option that has no place here, such as class_weight.
            NonFiniteError: a loss or an influence that is not finite.
        """
        refuse_several_devices()
        loop = self._compiled_loop("fit")
        if unknown := sorted(options.keys() - _OF_VALIDATION):
            raise TypeError(
                f"`fit` takes of Keras' other options {', '.join(sorted(_OF_VALIDATION))} alone. "
                f"Received: {unknown}"
            )
        made = self._sets.batches(x, y, batch_size, steps_per_epoch, self.num_classes)
        if isinstance(validation_data, tuple | list) and len(validation_data) == 2:
            as_examples("validation_data", *validation_data)  # labels are classes
        self._val_batch, steps = made.val_batch, made.steps_per_epoch
        per_call = self.steps_per_execution
        loop.begin(made.source, made.lambda_source, initial_epoch, steps, per_call)
        callbacks = keras.tree.flatten(callbacks) if callbacks else []
        return super().fit(
            # Keras counts batches; where a run goes on they cannot be Keras' own.
            tf.data.Dataset.from_tensors(0).repeat(),
            epochs=epochs,
            verbose=verbose,
            callbacks=[_Epochs(loop), *callbacks],
            shuffle=False,
            steps_per_epoch=steps,
            initial_epoch=initial_epoch,
            validation_data=validation_data,
            **options,
        )

    def train_on_batch(self, *args, **options):
        """Refuse batches one by one: Alg. 1 needs those of U, with their ids.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "`train_on_batch` must be `fit`, which draws the unlabeled batches. For a loop of your "
            "own see `LambdaStep` in docs/keras.md"
        )

    def make_train_function(self, force=False):
        """Let `fit` call the loop of Alg. 1, which calls Keras' compiled theta-step."""
        super().make_train_function(force)
        loop = self._compiled_loop("fit")
        if self.train_function is not loop:
            loop.keras_step, self.train_function = self.train_function, loop
        return self.train_function

    def train_step(self, data):
        """Take one theta-step on (`LabeledBatch`, `UnlabeledBatch`); return means by name."""
        return self._loop.theta_step(*data)

    def example_weights(self) -> dict[str, np.ndarray]:
        """Return what is known of the unlabeled examples, a column [|U|] each.

        Returns:
            id, name; lam, its weight; visits, the Lambda-steps that moved it; last_influence,
            dL_S(V)/dlam of the last one (positive harms; NaN: never scored); influence_mean, its
            mean over visits, and influence_error, the standard error of that; suspect, whether it
            harms for all we know. Where U is an array also pseudo_label and confidence of the
            example as it is.
        """
        store = self._store
        mean, error = store.influence_per_visit()
        table = {
            "id": np.arange(store.num_unlabeled),
            "name": self._sets.names,
            "lam": store.table().numpy(),
            "visits": store.visits.numpy().astype(np.int32),
            "last_influence": store.last_influence.numpy(),
            "influence_mean": mean,
            "influence_error": error,
            "suspect": store.suspects(),
        }
        return table | ({} if self._sets.inputs is None else self._predictions())

    def save_example_weights(self, path: str | os.PathLike) -> None:
        """Write `example_weights` to a file that ends in .csv or .parquet.

        Raises:
            ValueError: another ending. OSError: it cannot be written.
        """
        write_columns(path, self.example_weights())

    def save_own_variables(self, store):
        """Save what is this model's own: Lambda, averages, counters (called by `save_weights`)."""
        for name, value in self._compiled_loop("save_weights").state().items():
            store[name] = value
        store["digest"] = self._sets.digest()

    def load_own_variables(self, store):
        """Load what `save_own_variables` saved (called by `load_weights`).

        Raises:
            ValueError: it is of another U or of other settings; nothing of it is taken.
        """
        state = {name: np.array(store[name]) for name in list(store.keys())}
        if not np.array_equal(state.pop("digest", None), self._sets.digest()):
            raise ValueError(
                "The file must be of a model with the same `unlabeled` examples in the same order: "
                "its weights are theirs. Received: a file of others"
            )
        self._compiled_loop("load_weights").restore(state)

    def get_config(self):
        """Refuse to be saved as a whole: sets and functions are no part of a .keras file.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "`WeightedSSLModel` must be saved by `save_weights` (ModelCheckpoint with "
            "save_weights_only=True), and the trained net by its `model.save(...)`"
        )

    def _compiled_loop(self, what):
        if self._loop is None:
            raise ValueError(f"`compile` must be called before `{what}`. Received: no optimizer")
        return self._loop

    def _predictions(self):
        inputs, parts = self._sets.inputs, []
        for start in range(0, len(inputs), _AT_ONCE):
            some = inputs[start : start + _AT_ONCE]
            some = some.astype(np.float32) if some.dtype == np.uint8 else some
            parts.append(tf.nn.softmax(self(some, training=False)).numpy())
        p = np.concatenate(parts)
        return {"pseudo_label": p.argmax(axis=1), "confidence": p.max(axis=1)}


class _Epochs(keras.callbacks.Callback):
    """Tells the loop where Keras stands."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def on_epoch_begin(self, epoch, logs=None):
        self.loop.begin_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.loop.refuse_non_finite()
