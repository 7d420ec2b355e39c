"""U and V of a user's own, and the batches that `fit` makes of them and of labeled examples."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_labeled, check_number
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.own_batches import (
    DatasetSource,
    OwnSets,
    OwnSource,
    as_examples,
    as_inputs,
    own_views,
)
from ssl_weighting.data.pipeline import validation_batch_at
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.recipes import WHOLE

LAMBDA_STREAM = 1  # of random numbers: a Lambda-step draws batches of its own
BATCH = 32  # Keras' default


class Batches(NamedTuple):
    """What `fit` goes through: see `BilevelTrainer`."""

    source: OwnSource | DatasetSource
    lambda_source: OwnSource | DatasetSource
    val_batch: int
    steps_per_epoch: int


class Sets:
    """U, V and what is to be made of them; see `WeightedSSLModel` for the arguments.

    Attributes:
        num_unlabeled: |U|. inputs: U as an array, None where it is a dataset.
        validation: V.
        names: [|U|] str objects.
    """

    def __init__(
        self, unlabeled, validation, weak, strong, names, num_unlabeled, sizes: dict, seed: int
    ):
        for name, least in (("unlabeled_ratio", 1), ("lambda_batch", WHOLE), ("val_batch", 0)):
            check_number(name, sizes[name], least, whole=True)
        check_number("seed", seed, whole=True)
        self.views, self.sizes, self.seed = (weak, strong), sizes, seed
        self.dataset = unlabeled if isinstance(unlabeled, tf.data.Dataset) else None
        self.inputs = None if self.dataset is not None else as_inputs("unlabeled", unlabeled)
        self.num_unlabeled = self._count(num_unlabeled)
        self.names = self._names(names)
        self.validation = _validation(validation)
        if self.dataset is None:
            self._check_views()
        elif weak or strong or sizes["lambda_batch"]:
            raise ValueError(
                "`weak`, `strong` and `lambda_batch` must not be given where `unlabeled` is a "
                "dataset: it holds both views, in batches of its size"
            )

    def digest(self) -> np.ndarray:
        """Return what tells this U from another, [32] uint8; zeros for a dataset."""
        if self.inputs is None:
            return np.zeros(32, np.uint8)
        sha = hashlib.sha256(f"{self.inputs.dtype}{self.inputs.shape}".encode())
        sha.update(np.ascontiguousarray(self.inputs))
        return np.frombuffer(sha.digest(), np.uint8)

    def batches(self, x, y, batch_size, steps_per_epoch, num_classes: int) -> Batches:
        """Return the batches of labeled `x`, `y` (or the dataset `x`) with those of U.

        Raises:
            ValueError: what is given to `fit` does not fit U or the model.
        """
        if steps_per_epoch is not None:
            check_number("steps_per_epoch", steps_per_epoch, 1, whole=True)
        if isinstance(x, tf.data.Dataset) != (self.dataset is not None):
            raise ValueError(
                "The labeled examples of `fit` and `unlabeled` must both be arrays or both be "
                f"tf.data.Datasets. Received: {type(x).__name__} and "
                f"{'a dataset' if self.dataset is not None else 'an array'}"
            )
        if self.dataset is not None:
            return self._of_datasets(x, y, batch_size, steps_per_epoch, num_classes)
        return self._of_arrays(x, y, batch_size, steps_per_epoch, num_classes)

    def validation_at(self, k, size: int) -> LabeledBatch:
        """Return V' number `k` of so many examples."""
        with tf.device("CPU:0"):
            return validation_batch_at(self.validation, k, size, self.seed, False)

    def _of_arrays(self, x, y, batch_size, steps_per_epoch, num_classes):
        if y is None:
            raise ValueError("`y` must be the labels of `x`, [n] integers. Received: None")
        labeled = as_examples("labeled", x, y)
        self._check_shape("x", labeled.inputs.shape)
        check_labeled(LabeledBatch(labeled.inputs, labeled.labels), "labeled", num_classes)
        size = min(BATCH, len(labeled)) if batch_size is None else batch_size
        check_number("batch_size", size, 1, whole=True)
        count = min(size * self.sizes["unlabeled_ratio"], self.num_unlabeled)
        of_lambda = self.sizes["lambda_batch"] or count
        if of_lambda == WHOLE:
            of_lambda = self.num_unlabeled
        unlabeled = Examples(self.inputs, np.full(self.num_unlabeled, -1, np.int32))
        sets = OwnSets(labeled, unlabeled)
        source = OwnSource(sets, size, count, self.seed, *self.views)
        fresh = OwnSource(sets, size, of_lambda, self.seed, *self.views, LAMBDA_STREAM)
        val_batch = min(self.sizes["val_batch"] or of_lambda, len(self.validation))
        steps = steps_per_epoch or math.ceil(self.num_unlabeled / count)
        return Batches(source, fresh, val_batch, steps)

    def _of_datasets(self, x, y, batch_size, steps_per_epoch, num_classes):
        if y is not None or batch_size is not None:
            raise ValueError(
                "`y` and `batch_size` must not be given where `x` is a dataset, of batches "
                "(inputs, labels)"
            )
        made = DatasetSource(x, self.dataset, self.num_unlabeled, num_classes)
        self._check_shape("x", x.element_spec[0].shape)
        self._check_shape("unlabeled", self.dataset.element_spec[1].shape)
        count = int(self.dataset.cardinality())
        if steps_per_epoch is None and count < 0:
            raise ValueError(
                "`steps_per_epoch` must be given where `unlabeled` is a dataset without end, or of "
                "a length that is not known. Received: None"
            )
        size = self.sizes["val_batch"] or len(self.validation)
        val_batch = min(size, len(self.validation))
        return Batches(made, made, val_batch, steps_per_epoch or count)

    def _count(self, num_unlabeled):
        if self.dataset is None:
            if num_unlabeled not in (None, len(self.inputs)):
                raise ValueError(
                    f"`num_unlabeled` must be left out, or {len(self.inputs)}, the length of "
                    f"`unlabeled`. Received: {num_unlabeled}"
                )
            return len(self.inputs)
        if num_unlabeled is None:
            raise ValueError(
                "`num_unlabeled` must be given where `unlabeled` is a dataset: how many examples "
                "it holds, whose ids are 0, 1, ... Received: None"
            )
        check_number("num_unlabeled", num_unlabeled, 1, whole=True)
        return num_unlabeled

    def _names(self, names):
        if names is None:
            names = [f"unlabeled[{u}]" for u in range(self.num_unlabeled)]
        names = np.array([str(name) for name in names], object)
        if len(names) != self.num_unlabeled or len(set(names)) < len(names):
            raise ValueError(
                f"`names` must be {self.num_unlabeled} different names. Received: {len(names)}, "
                f"{len(set(names))} of them different"
            )
        return names

    def _check_views(self):
        views = own_views(*self.views)
        some = self.inputs[:2]
        draws = tf.zeros([len(some), 2])
        for name, view in (("weak", views.weak), ("strong", views.strong)):
            self._check_shape(f"what `{name}` makes of `unlabeled`", view(some, draws).shape)

    def _check_shape(self, name, shape):
        expected = self.validation.inputs.shape
        if not tf.TensorShape(shape)[1:].is_compatible_with(expected[1:]):
            raise ValueError(
                f"`{name}` must be of shape [n, {', '.join(map(str, expected[1:]))}], as the "
                f"inputs of `validation` are. Received: {tuple(shape)}"
            )


def _validation(validation) -> Examples:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise ValueError(
            "`validation` must be arrays (inputs [n, ...], labels [n]): Lambda is learned on them. "
            f"Received: {type(validation).__name__}. A dataset of batches becomes arrays by "
            "`[np.concatenate(part) for part in zip(*dataset.as_numpy_iterator())]`"
        )
    return as_examples("validation", *validation)
