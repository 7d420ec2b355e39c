"""Error and loss over a whole split, with the averaged or the raw parameters."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_labeled, check_number
from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.examples import Examples
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.theta.ema import ExponentialMovingAverage


class Evaluator:
    """Runs the model in inference mode: no augmentation, moving BatchNorm statistics.

    Args:
        model: Keras model inputs -> {"features", "logits"}.
        ema: averages of its trainable variables, and of its statistics where these are averaged.
        preprocess: raw inputs [B, ...] -> model inputs (the clean view).
        batch_size: inputs per compiled call.
        jit: compile it with XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        ema: ExponentialMovingAverage,
        preprocess: Callable[[tf.Tensor], tf.Tensor],
        batch_size: int = 500,
        *,
        jit: bool = True,
    ):
        check_number("batch_size", batch_size, 1, whole=True)
        self.model, self.ema, self.preprocess = model, ema, preprocess
        self.batch_size = batch_size
        self._logits = tf.function(self._logits_fn, jit_compile=jit, autograph=False)

    def logits(
        self, inputs: np.ndarray | ExampleTable, *, use_ema: bool = True, preprocessed: bool = False
    ) -> np.ndarray:
        """Return the logits of all `inputs` [n, ...], [n, C] float32; no remainder is dropped.

        A table is read by batches. `preprocessed` says that the inputs are model inputs already (an
        augmented view).

        Raises:
            ValueError: there are none.
        """
        if not len(inputs):
            raise ValueError("`inputs` must be at least one example. Received: none")
        groups = self.model.trainable_variables, self.model.non_trainable_variables
        if use_ema:
            groups = [self.ema.in_place_of(group) for group in groups]
        values = [[tf.convert_to_tensor(v.value) for v in group] for group in groups]

        def logits(batch):
            ready = tf.constant(batch) if preprocessed else self.preprocess(batch)
            return self._logits(*values, ready)

        return in_batches(logits, min(self.batch_size, len(inputs)), inputs)

    def error_and_loss(self, examples: Examples, *, use_ema: bool = True) -> tuple[float, float]:
        """Return the error rate in % and the mean cross-entropy in nats over `examples`.

        Raises:
            ValueError: no example, or labels that are not one class of the model for each.
        """
        check_labeled(LabeledBatch(examples.inputs, examples.labels), "examples")
        logits = self.logits(examples.inputs, use_ema=use_ema).astype(np.float64)
        check_labeled(LabeledBatch(logits, examples.labels), "examples", logits.shape[-1])
        wrong = logits.argmax(axis=1) != examples.labels
        log_p = log_softmax(logits)[np.arange(len(logits)), examples.labels]
        return 100.0 * float(wrong.mean()), -float(log_p.mean())

    def _logits_fn(self, params, others, inputs):
        return self.model.stateless_call(params, others, inputs, training=False)[0]["logits"]


def in_batches(act: Callable, size: int, *arrays: np.ndarray | ExampleTable):
    """Return what `act` says of all rows, called on batches of one shape: compiled once.

    The last batch is filled up with its first row, and cut again.

    Args:
        act: batches [size, ...] of the arrays -> a nest of tensors [size, ...].
        size: rows of a batch.
        arrays: each [n, ...], n at least 1.

    Returns:
        The nest with numpy arrays [n, ...].
    """
    parts = []
    for start in range(0, len(arrays[0]), size):
        batches = [array[start : start + size] for array in arrays]
        count = len(batches[0])
        if count < size:
            batches = [np.concatenate([b, np.repeat(b[:1], size - count, axis=0)]) for b in batches]
        found = act(*batches)
        parts.append(tf.nest.map_structure(lambda x, n=count: np.asarray(x)[:n], found))
    return tf.nest.map_structure(lambda *x: np.concatenate(x), *parts)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log softmax over the last axis, same shape and dtype."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
