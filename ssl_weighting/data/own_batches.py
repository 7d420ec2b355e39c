"""Batches of a user's own arrays, with views by functions, or of the user's own tf.data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_labeled, check_unlabeled, require_ids
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.numbers import rows_not_finite
from ssl_weighting.data.open_iterators import lets_go_at_exit
from ssl_weighting.data.pipeline import BatchSource
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

_SEEDED = 2  # a view that is called with a seed takes two arguments, and its seed has two numbers


def as_inputs(name: str, x) -> np.ndarray:
    """Return examples [n, ...] as float32, uint8 or int32, whichever they are nearest to.

    Args:
        name: of the argument; x: an array, or what numpy makes one of.

    Raises:
        ValueError: they are no single array of numbers, none, of one dimension, or not finite.
    """
    found = None if isinstance(x, dict | tf.data.Dataset) or x is None else _array(x)
    if found is None or found.dtype.kind not in "fiub" or found.ndim < 2 or not found.size:
        shape = "" if found is None else f" of {found.dtype} and shape {found.shape}"
        raise ValueError(
            f"`{name}` must be one array of numbers, [n, ...] with at least one example. "
            f"Received: {type(x).__name__}{shape}. An example of a single number is [n, 1]"
        )
    if len(rows := rows_not_finite(found)):
        raise ValueError(f"`{name}` must be finite. Received: NaN or inf in rows {rows[:10]}")
    if found.dtype == np.uint8:
        return found
    return found.astype(np.int32 if found.dtype.kind in "iu" else np.float32)


def as_examples(name: str, x, y) -> Examples:
    """Return labeled examples.

    Args:
        name: of the part, for people; x: as for `as_inputs`; y: [n] integers from 0.

    Raises:
        ValueError: as `as_inputs`, or labels that are not one integer from 0 an example.
    """
    x, y = as_inputs(f"inputs of {name}", x), _array(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"The labels of `{name}` must be [n] integers. Received: {y.dtype} of shape {y.shape}. "
            "One-hot labels become integers by `y.argmax(axis=1)`"
        )
    check_labeled(LabeledBatch(x, y), name)
    if y.min() < 0:
        raise ValueError(
            f"The labels of `{name}` must be classes from 0. Received: {y.min()}. Examples without "
            "a label belong into `unlabeled`"
        )
    x = x.astype(np.float32) if x.dtype == np.uint8 else x  # as its views are, see `own_views`
    return Examples(x, y.astype(np.int32))


def _array(x):
    try:
        return np.asarray(x)
    except ValueError:  # of ragged lists
        return np.empty(0, object)


def own_views(weak: Callable | None, strong: Callable | None) -> Augmentation:
    """Return the views that a user's functions make.

    Args:
        weak, strong: inputs [N, ...] -> [N, ...], or (inputs, seed) with a seed [2] int32 for
            `tf.random.stateless_*` and `tf.image.stateless_*`; a layer of `keras.layers`; None:
            the inputs as they are.
    """
    views = [_view(name, view) for name, view in (("weak", weak), ("strong", strong))]
    (weak_view, weak_draws), (strong_view, strong_draws) = views
    return Augmentation("own", weak_view, weak_draws, strong_view, strong_draws, any_inputs=True)


def _view(name, view):
    if view is None:
        return lambda inputs, draws: _ready(inputs), 0
    if not callable(view):
        raise ValueError(f"`{name}` must be a function of a batch, or None. Received: {view!r}")
    if not _takes_seed(view):
        return lambda inputs, draws: _ready(view(_ready(inputs))), 0

    def seeded(inputs, draws):
        # The numbers of the batch's first example: no other batch has it at the same visit.
        return _ready(view(_ready(inputs), tf.cast(draws[0] * 2**24, tf.int32)))

    return seeded, _SEEDED


def _takes_seed(view):
    if isinstance(view, keras.layers.Layer):
        return False
    try:
        parameters = inspect.signature(view).parameters.values()
    except (TypeError, ValueError):  # of some built-in functions
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in kinds]
    needed = [p for p in positional if p.default is p.empty]
    # One that has a default would be the same at every step.
    return len(needed) == _SEEDED or "seed" in [p.name for p in positional[1:_SEEDED]]


def _ready(inputs):
    inputs = tf.convert_to_tensor(inputs)
    return inputs if inputs.dtype == tf.int32 else tf.cast(inputs, tf.float32)


class OwnSets(NamedTuple):
    """The sets that a `BatchSource` draws from."""

    labeled: Examples
    unlabeled: Examples


class OwnSource(BatchSource):
    """`BatchSource` of a user's arrays and views.

    Args:
        sets, labeled_batch, unlabeled_batch, seed, stream: as in `BatchSource`.
        weak, strong: as in `own_views`.
    """

    def __init__(self, sets, labeled_batch, unlabeled_batch, seed, weak, strong, stream=0):
        views = own_views(weak, strong)
        super().__init__(sets, labeled_batch, unlabeled_batch, seed, views, stream)
        # What other views draw from changes from call to call: these come in the order of steps.
        repeatable = all(view is None or _takes_seed(view) for view in (weak, strong))
        self._parallel_calls = tf.data.AUTOTUNE if repeatable else 1

    def iterator(self, step: int, lambda_steps: int):
        """Return the batches `step`, `step` + 1, ... without end, made ahead."""
        del lambda_steps  # these have a source of their own
        return iter(self.dataset(step, parallel_calls=self._parallel_calls))


class DatasetSource:
    """Batches of two datasets, each begun anew at its end, for theta-steps and Lambda-steps alike.

    Both take the next batch of one row: two readers of a dataset that shuffles would disturb each
    other. A run goes on exactly where the datasets give the same batches in every process, as
    `shuffle(..., seed=...)` does after `keras.utils.set_random_seed`.

    Args:
        labeled: batches (inputs [B, ...], labels [B]).
        unlabeled: batches (ids [U], weak [U, ...], strong [U, ...]).
        num_unlabeled: |U|.
        num_classes: C.

    Raises:
        ValueError: their elements are no such batches, or they are empty.
    """

    def __init__(self, labeled, unlabeled, num_unlabeled: int, num_classes: int):
        _check_parts("labeled", labeled, 2, "(inputs, labels)")
        _check_parts("unlabeled", unlabeled, 3, "(ids, weak view, strong view)")
        pairs = tf.data.Dataset.zip((labeled.repeat(), unlabeled.repeat()))
        limits = num_unlabeled, num_classes
        self._batches = pairs.map(lambda a, b: _checked(LabeledBatch(*a), _with_ids(b), *limits))
        self.forget()
        lets_go_at_exit(self)

    def forget(self) -> None:
        """Drop the iterator: `at` has nothing to take from until the next one."""
        self._iterator = None

    def iterator(self, step: int, lambda_steps: int):
        """Return the batches that follow after so many theta-steps and Lambda-steps, made ahead."""
        rest = self._batches.skip(step + lambda_steps).prefetch(tf.data.AUTOTUNE)
        self._iterator = iter(rest)
        return self._iterator

    def at(self, k) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return the next batch of `iterator`, for Lambda-step number `k`."""
        del k  # it has its place in the row
        return next(self._iterator)


def _check_parts(name, dataset, count, what):
    spec = getattr(dataset, "element_spec", None)
    parts = len(spec) if isinstance(spec, tuple) else 1
    shapes = [part.shape.rank for part in tf.nest.flatten(spec)] if spec is not None else []
    if parts != count or len(shapes) != count or 0 in shapes:
        raise ValueError(
            f"`{name}` must be a tf.data.Dataset of batches {what}. Received: {spec or dataset}. "
            "Single examples become batches by `.batch(size)`"
        )
    if dataset.cardinality() == 0:
        raise ValueError(f"`{name}` must have at least one batch. Received: an empty dataset")


def _with_ids(batch):
    ids, weak, strong = batch
    return UnlabeledBatch(tf.cast(ids, tf.int64), weak, strong)


def _checked(labeled, unlabeled, num_unlabeled, num_classes):
    """Return a batch whose labels and ids exist; anything else ends the run, in words."""
    check_labeled(labeled, "labeled", num_classes)
    check_unlabeled(unlabeled, num_unlabeled)
    waited = require_ids("The labels of `labeled`", labeled.label, num_classes)
    waited += require_ids("ids", unlabeled.ids, num_unlabeled)
    with tf.control_dependencies(waited):
        labeled = labeled._replace(label=tf.cast(labeled.label, tf.int32))
        return labeled, unlabeled._replace(ids=tf.identity(unlabeled.ids))
