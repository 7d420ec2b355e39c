"""The batches D', U' and V' of Alg. 1 as pure functions of (seed, stream, step)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.keyed_random import example_keys, random_bits, uniform
from ssl_weighting.data.numbers import check_whole
from ssl_weighting.data.reading import constant_of, reader_of
from ssl_weighting.data.sampling import epoch_sample, subset_sample
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

# The parts of each of the caller's streams: no two kinds of choice share random numbers.
_KINDS = ("labeled order", "labeled views", "unlabeled order", "unlabeled views", "validation")


class BatchSource:
    """Endless training batches, each a pure function of (seed, stream, step).

    An epoch visits every id once, in an order of its own; batches may be larger than the set. The
    random numbers of a view depend on (seed, stream, id, epoch, view) alone, so neither resuming
    nor the number of workers changes a bit. Sets stay where they are, in memory as bytes or in a
    table, and are augmented as whole batches, after they have been gathered.

    Args:
        splits: the sets.
        labeled_batch: B, at least 1.
        unlabeled_batch: examples of U per batch; 0 for algorithms that use none.
        seed: of the run, from 0.
        augmentation: how views are made.
        stream: keeps sources of one seed apart (the Lambda-step's fresh batches), from 0.

    Raises:
        ValueError: if a number is out of range or images are needed and missing.
    """

    def __init__(
        self,
        splits: DataSplits,
        labeled_batch: int,
        unlabeled_batch: int,
        seed: int,
        augmentation: Augmentation,
        stream: int = 0,
    ):
        _check_source(splits, labeled_batch, unlabeled_batch, seed, augmentation, stream)
        self.labeled_batch, self.unlabeled_batch = labeled_batch, unlabeled_batch
        self.seed, self.stream, self.augmentation = seed, stream, augmentation
        labeled, unlabeled = splits.labeled.inputs, splits.unlabeled.inputs
        self._labeled, self._unlabeled = reader_of(labeled), reader_of(unlabeled)
        self._num_unlabeled, self._shape = len(unlabeled), unlabeled.shape[1:]
        self._dtype = tf.int32 if unlabeled.dtype == np.int32 else tf.float32  # of views
        with tf.device("CPU:0"):  # where tf.data works, whatever the model runs on
            self._labels = tf.constant(splits.labeled.labels)
        # One traced function for both ways to get a batch: bit for bit the same.
        self._compiled = self._ahead = self._function_of(self._batch)
        steps = [tf.TensorSpec([], tf.int64)] * 2
        self._ids = tf.function(self._ids_of, input_signature=steps, autograph=False)

    def _function_of(self, batch):
        state = [tf.TensorSpec(t.shape, t.dtype) for t in self._state()]
        signature = [tf.TensorSpec([], tf.int64), *state]
        return tf.function(batch, input_signature=signature, autograph=False)

    def make_only(self, rows: Mapping[str, np.ndarray]) -> None:
        """Make only some rows of each view in the batches of `dataset`, and zeros for the others.

        Ids, labels and probes stay whole, and so does everything that `at` returns.

        Args:
            rows: "labeled", "weak" and "strong" -> int rows, each once.
        """
        self._rows = dict(rows)
        self._ahead = self._function_of(self._some_of_batch)

    def at(self, step: int | tf.Tensor) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return batch number `step`, an int or an int64 scalar from 0.

        Returns:
            (LabeledBatch of the weak view 0, UnlabeledBatch of weak view 0 and strong view 1).

        Raises:
            ValueError: if an int `step` is negative.
        """
        if isinstance(step, int):
            check_whole("step", step, 0)
        with tf.device("CPU:0"):
            return self._compiled(tf.cast(step, tf.int64), *self._state())

    def dataset(
        self,
        start_step: int = 0,
        deterministic: bool = True,
        parallel_calls: int = tf.data.AUTOTUNE,
    ) -> tf.data.Dataset:
        """Return the batches `start_step`, `start_step` + 1, ... without end, made ahead.

        The augmentation's state is read once, here.

        Args:
            start_step: number of the first batch, from 0.
            deterministic: False lets a batch overtake a slower one: faster, not reproducible.
            parallel_calls: batches made at once.

        Raises:
            ValueError: if `start_step` is negative.
        """
        check_whole("start_step", start_step, 0)
        state = self._state()  # as it is now: batches made ahead must not see it change

        def batch(step):
            with tf.device("CPU:0"):
                return self._ahead(step, *state)

        steps = tf.data.Dataset.counter(start_step, dtype=tf.int64)
        batches = steps.map(batch, num_parallel_calls=parallel_calls, deterministic=deterministic)
        options = tf.data.Options()
        # Batches are made side by side: one thread each costs a fifth less CPU than several.
        options.threading.max_intra_op_parallelism = 1
        return batches.prefetch(tf.data.AUTOTUNE).with_options(options)

    def met(self, first: int, until: int) -> np.ndarray | None:
        """Return the ids of U in the batches `first` to `until` - 1, rising and each once, int64.

        None where these are as many as U, so that looking at all of U costs no more.
        """
        count = (until - first) * self.unlabeled_batch
        if count >= self._num_unlabeled:
            return None
        if not count:
            return np.zeros(0, np.int64)
        with tf.device("CPU:0"):
            return np.unique(self._ids(*(tf.constant(k, tf.int64) for k in (first, until))))

    def strong_views(self, ids: np.ndarray) -> tf.Tensor:
        """Return one strong view of each id [N] int64, [N, ...] float32, for reports.

        Drawn under a visit number that training never reaches.
        """
        ids = tf.constant(ids, tf.int64)
        visits = tf.fill(tf.shape(ids), tf.constant(2**62, tf.int64))
        with tf.device("CPU:0"):
            images = self._unlabeled(ids)
            return self._view("unlabeled", images, ids, visits, 1, self._state())

    def _state(self):
        """What views depend on besides their draws: a tuple of one tensor or none."""
        return () if self.augmentation.state is None else (self.augmentation.state(),)

    def _batch(self, step, *state):
        return self._labeled_at({}, step, state), self._unlabeled_at({}, step, state)

    def _ids_of(self, first, until):
        def one(step):
            return self._sample("unlabeled", self._num_unlabeled, self.unlabeled_batch, step)[0]

        return tf.map_fn(one, tf.range(first, until))

    def _some_of_batch(self, step, *state):
        rows = self._rows
        return self._labeled_at(rows, step, state), self._unlabeled_at(rows, step, state)

    def _labeled_at(self, rows, step, state):
        ids, visits = self._sample("labeled", len(self._labels), self.labeled_batch, step)
        images, labels = self._labeled(ids), tf.gather(self._labels, ids)
        view = 0 if self.augmentation.labeled is None else 2
        if "labeled" in rows:
            first = self._some(rows["labeled"], "labeled", ids, visits, view, state)
        else:
            first = self._view("labeled", images, ids, visits, view, state)
        parts = [first, labels]
        if self.augmentation.probe is not None:
            parts.append(self._view("labeled", images, ids, visits, 3, state))
        return LabeledBatch(*parts)

    def _unlabeled_at(self, rows, step, state):
        if not self.unlabeled_batch:
            none = tf.zeros([0, *self._shape], self._dtype)
            return UnlabeledBatch(tf.zeros([0], tf.int64), none, none)
        ids, visits = self._sample("unlabeled", self._num_unlabeled, self.unlabeled_batch, step)
        if rows:
            draw = "unlabeled", ids, visits
            weak, strong = (
                self._some(rows[name], *draw, view, state)
                for view, name in enumerate(("weak", "strong"))
            )
            return UnlabeledBatch(ids, weak, strong)
        images = self._unlabeled(ids)
        weak, strong = (
            self._view("unlabeled", images, ids, visits, view, state) for view in (0, 1)
        )
        return UnlabeledBatch(ids, weak, strong)

    def _some(self, rows, part, ids, visits, view, state):
        """Return one view of `rows` alone of a draw, zeros for the others; only they are read."""
        read = {"labeled": self._labeled, "unlabeled": self._unlabeled}[part]
        mine, visits = tf.gather(ids, rows), tf.gather(visits, rows)
        made = self._view(part, read(mine), mine, visits, view, state)
        return tf.scatter_nd(rows[:, np.newaxis], made, [*ids.shape, *made.shape[1:]])

    def _sample(self, part, num_examples, batch_size, step):
        stream = _substream(self.stream, f"{part} order")
        return epoch_sample(self.seed, stream, num_examples, batch_size, step)

    def _view(self, part, inputs, ids, visits, view, state):
        a = self.augmentation
        augment, draws = (
            (a.weak, a.weak_draws),
            (a.strong, a.strong_draws),
            (a.labeled, a.labeled_draws),
            (a.probe, a.probe_draws),
        )[view]
        stream = _substream(self.stream, f"{part} views")
        keys = example_keys(self.seed, stream, ids, visits, view)
        return augment(inputs, uniform(keys, draws), *state)


class ViewsSource(BatchSource):
    """`BatchSource` whose strong views are given: visit v of an id shows view v mod their number.

    The weak view, and that of labeled examples, is the example itself.

    Args:
        splits, labeled_batch, unlabeled_batch, seed, stream: as in `BatchSource`.
        views: [|U|, K, ...], K views of each example of U.
    """

    def __init__(
        self,
        splits: DataSplits,
        labeled_batch: int,
        unlabeled_batch: int,
        seed: int,
        views: np.ndarray,
        stream: int = 0,
    ):
        self._views = constant_of(views)
        super().__init__(splits, labeled_batch, unlabeled_batch, seed, Augmentation.none(), stream)

    def _view(self, part, inputs, ids, visits, view, state):
        del state  # given views learn nothing
        if part == "labeled" or view == 0:
            return inputs
        views = self._views.tensor
        return tf.gather_nd(views, tf.stack([ids, visits % views.shape[1]], 1))


def validation_batch_at(
    validation: Examples, k: int | tf.Tensor, size: int, seed: int, val_replace: bool
) -> LabeledBatch:
    """Return V' number `k` of Alg. 1, un-augmented: a pure function of (seed, k).

    Args:
        validation: V, not empty.
        k: number of the draw, an int or an int64 scalar from 0.
        size: |V'|.
        seed: of the run, from 0.
        val_replace: whether an example may be drawn twice, as in the release. If not, V' is a
            subset of V, all of it for size = |V|.

    Returns:
        LabeledBatch of `size` examples in the clean view.

    Raises:
        ValueError: if V is empty, or smaller than `size` without `val_replace`.
    """
    _check_validation(validation, size, val_replace)
    stream = _substream(0, "validation")
    draw = tf.cast(k, tf.int64)
    if val_replace:
        places = tf.range(size, dtype=tf.int64)
        keys = example_keys(seed, stream, places, tf.fill([size], draw), view=1)
        bits = random_bits(keys, 1)[:, 0]
        rows = tf.cast(bits % tf.constant(np.uint64(len(validation))), tf.int64)
    else:
        rows = subset_sample(seed, stream, len(validation), size, draw)
    inputs = tf.gather(loaded(validation.inputs), rows)
    return LabeledBatch(clean_view(inputs), tf.gather(validation.labels, rows))


def _substream(stream: int, kind: str) -> int:
    return stream * len(_KINDS) + _KINDS.index(kind)


def _check_source(splits, labeled_batch, unlabeled_batch, seed, augmentation, stream) -> None:
    check_whole("labeled_batch", labeled_batch, 1)
    check_whole("unlabeled_batch", unlabeled_batch, 0)
    check_whole("seed", seed, 0)
    check_whole("stream", stream, 0)
    draws = augmentation.weak_draws and not augmentation.any_inputs
    if draws and splits.labeled.inputs.ndim != 4:
        raise ValueError(
            "`augmentation` must be Augmentation.none() for points. "
            f"Received: augmentation={augmentation.name!r} for inputs of shape "
            f"{list(splits.labeled.inputs.shape)}. Only images can be flipped and shifted."
        )


def _check_validation(validation, size, val_replace) -> None:
    if not len(validation):
        raise ValueError(
            "`validation` must have at least one example. Received: 0 examples. "
            "Set a positive `val_size`: the weights are learned on V."
        )
    if size < 1 or (size > len(validation) and not val_replace):
        raise ValueError(
            f"`size` must be from 1 to |V| = {len(validation)}, or larger with `val_replace`. "
            f"Received: size={size}, val_replace={val_replace}."
        )
