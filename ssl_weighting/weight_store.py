"""Lambda: one weight per unlabeled example, read and written by id, and the controls beside it."""

from __future__ import annotations

import copy

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.checks import FLOAT32_MAX, check_number, finite, require_ids
from ssl_weighting.data.row_chunks import Changed
from ssl_weighting.madam import MAdam
from ssl_weighting.structs import sum_by_id
from ssl_weighting.weight_sample import WeightSample

MODES = ("zero", "fixed", "single", "per_example", "shuffled", "random", "confidence")
LEARNED = ("single", "per_example", "shuffled", "random")
FEWEST = 3  # visits of an example that may be called a suspect
_FIRST_MOMENTS = ("lam_m", "lam_momentum")  # of M-Adam and of Adam


class WeightStore:
    """Holds Lambda, its optimizer and what is known of the influence of every id.

    With M-Adam, or SGD without momentum, time and memory of an update do not depend on |U|. Visits
    are counted in float32, exact up to 2^24 of an example: GPUs gather no integers of 32 bits.

    Modes (what the objective multiplies the unlabeled terms of example u with):
        zero: 0. fixed: the initial value. single: one learned weight for all (Fig. 4 left), moved
        by the mean influence of the batch. per_example: the learned lambda_u.
    Controls that a learned weight must beat (each has the learned weights' marginal distribution
    or a formula that needs no validation data):
        shuffled: lambda of another id, by a permutation fixed for the run; lambda is learned on the
        examples' own influence, on a model that trains on it as dealt. random: lambda of an id
        drawn anew at every visit.
        confidence: (C max_c p_c - 1) / (C - 1) of the weak view: 0 for a uniform prediction, 1 for
        a certain one.

    Args:
        num_unlabeled: |U|.
        mode: one of `MODES`.
        optimizer: Keras optimizer for Lambda; None where nothing is learned.
        lambda_init: float. lambda_max: float; weights stay in [0, lambda_max] after every update.
        seed: int, of the two permuting controls.

    Attributes:
        sample: `WeightSample`, what logs look at. changed: `Changed`, the ids that were written
            since the last checkpoint. Both know what `note` was told.

    Raises:
        ValueError: unknown mode, empty U, a range that excludes `lambda_init`, no optimizer, or one
            whose learning rate is negative or not finite.
    """

    def __init__(
        self,
        num_unlabeled: int,
        mode: str = "per_example",
        optimizer: keras.optimizers.Optimizer | None = None,
        *,
        lambda_init: float = 1.0,
        lambda_max: float = float("inf"),
        seed: int = 0,
    ):
        _check(num_unlabeled, mode, optimizer, lambda_init, lambda_max, seed)
        self.num_unlabeled, self.mode, self.optimizer = num_unlabeled, mode, optimizer
        self.lambda_max, self.seed = lambda_max, seed
        self.learns = mode in LEARNED  # whether Lambda-steps move anything
        size = 1 if mode == "single" else num_unlabeled
        value = 0.0 if mode == "zero" else lambda_init
        self.lam = keras.Variable(tf.fill([size], value), name="lam", dtype="float32")
        if self.learns:
            optimizer.build([self.lam])  # its float64 first, while there is most room

        def table(name, value=0.0):  # each of a tensor of its own: one that is shared is copied
            filled = tf.fill([num_unlabeled], value)
            return keras.Variable(filled, name=name, dtype="float32", trainable=False)

        self.last_influence = table("last_influence", float("nan"))
        self.visits = table("visits")
        # Of all visits of an id, NaN where some were not recorded: the mean of its influences, and
        # the root of the sum of their squared deviations, which float32 holds where the sum is not.
        self.influence_mean = table("influence_mean")
        self.influence_deviation = table("influence_deviation")
        self.sample = WeightSample(num_unlabeled, self._lam_of, lambda ids: _read(self.visits, ids))
        self.changed = Changed(num_unlabeled)
        if mode == "shuffled":
            # A variable, so that it is no constant of a compiled function.
            dealt = np.random.default_rng(seed).permutation(num_unlabeled)
            self.permutation = tf.Variable(dealt, trainable=False)

    def frozen(self) -> WeightStore:
        """Return this Lambda, the same variables and controls, for a trainer that only reads it."""
        reader = copy.copy(self)
        reader.learns = False
        return reader

    def take_controls_of(self, other: WeightStore) -> None:
        """Deal shuffled weights to examples as `other` does, a store of this mode and size."""
        if self.mode == "shuffled":
            self.permutation.assign(other.permutation)

    def gather(self, ids: tf.Tensor, confidence: tf.Tensor, num_classes: int, draw) -> tf.Tensor:
        """Return the weights of the parents `ids` [R, 2] int64, [R, 2] float32; 1 where id is -1.

        Args:
            ids: [R, 2] int64 in -1..|U|-1; within a `tf.function` the weight of any other is NaN.
            confidence: [R, 2] float32, max_c p_c of each parent. Where it is NaN, so is the weight;
                other values are read by mode confidence only.
            num_classes: C.
            draw: scalar int64, the step; keys the draws of mode random.

        Raises:
            ValueError: ids of another shape, no integers, or, where they are known, out of range.
        """
        ids = tf.convert_to_tensor(ids)
        if ids.shape.rank != 2:
            raise ValueError(f"`ids` must be [R, 2], -1 for labeled. Received: shape {ids.shape}")
        if not tf.is_symbolic_tensor(ids) or not ids.dtype.is_integer:
            require_ids("ids", ids, self.num_unlabeled, least=-1)
        if self.mode == "confidence":
            lam = (num_classes * confidence - 1.0) / (num_classes - 1.0)
        else:
            places = tf.clip_by_value(ids, 0, self.num_unlabeled - 1)
            lam = tf.gather(self.lam.value, self._place(places, draw))
        # A confidence of NaN is below every threshold: the example would be left out in silence.
        wrong = (ids < -1) | (ids >= self.num_unlabeled) | tf.math.is_nan(confidence)
        return tf.where(ids == -1, 1.0, tf.where(wrong, float("nan"), lam))

    def update(self, ids: tf.Tensor, lam_gradient: tf.Tensor) -> None:
        """Take one optimizer step on the weights of `ids`, then put them back into range.

        An empty batch moves nothing. `note` must be told of it afterwards.

        Args:
            ids: [K] int64; gradients of an id that stands there twice are summed, as one visit.
            lam_gradient: [K] float32, Eq. 6.

        Raises:
            ValueError: as `checked`; nothing is written then. Within a `tf.function` what depends
                on values is an InvalidArgumentError.
        """
        rows, g = self.checked(ids, lam_gradient)
        if rows.shape[0] == 0:
            return
        rate = finite("`learning_rate`", tf.reshape(self.optimizer.learning_rate, [1]))
        masked = getattr(self.optimizer, "mask", "") == "nonzero"
        moved = tf.cast(g != 0, tf.float32) if masked else tf.ones_like(rows, tf.float32)
        lam_rows, lam_g = rows, g
        if self.mode == "single":
            some = tf.minimum(tf.size(rows), 1)  # the mean of nothing is NaN
            lam_rows, lam_g = tf.zeros([some], rows.dtype), tf.reduce_mean(g)[None][:some]
        with tf.control_dependencies([rows, g, rate]):  # which wait for the checks
            self.optimizer.apply([tf.IndexedSlices(lam_g, lam_rows, self.lam.shape)], [self.lam])
            self._clip(lam_rows)
            self.last_influence.value.scatter_update(tf.IndexedSlices(g, rows))
            self._record(rows, g, moved)

    def checked(self, ids: tf.Tensor, lam_gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each id once, int64, with the sum of its gradients, float32, ready for `update`.

        Raises:
            ValueError: a mode that does not learn; other shapes or dtypes; where the values are
                known, ids outside 0..|U|-1 and gradients that are not finite.
        """
        ids, g = tf.convert_to_tensor(ids), tf.convert_to_tensor(lam_gradient)
        fits = ids.shape.rank == 1 and g.shape.is_compatible_with(ids.shape)
        if not (self.learns and fits and g.dtype.is_floating):
            raise ValueError(
                "`ids` and `lam_gradient` must be [K] integers and [K] floats, of a mode that "
                f"learns ({', '.join(LEARNED)}), not frozen. Received: {ids.dtype.name} of shape "
                f"{ids.shape}, "
                f"{g.dtype.name} of shape {g.shape}, mode {self.mode!r}"
            )
        with tf.control_dependencies(require_ids("ids", ids, self.num_unlabeled)):
            rows, g = sum_by_id(tf.cast(ids, tf.int64), tf.cast(g, tf.float32))
        return rows, finite("`lam_gradient`", g)

    def _record(self, rows, g, moved):
        """Count the visits of `rows`, each there once, that `moved` them; by Welford's method."""
        visits = tf.gather(self.visits.value, rows) + moved
        n = tf.cast(tf.maximum(visits, 1), tf.float64)
        kept = (self.influence_mean.value, self.influence_deviation.value)
        mean, deviation = (tf.cast(tf.gather(x, rows), tf.float64) for x in kept)
        difference = tf.cast(g, tf.float64) - mean
        new = mean + difference / n, tf.sqrt(deviation**2 + difference**2 * (n - 1) / n)
        for slot, old, value in zip(kept, (mean, deviation), new, strict=True):
            value = tf.cast(tf.where(moved > 0, value, old), slot.dtype)
            slot.scatter_update(tf.IndexedSlices(value, rows))
        self.visits.value.scatter_update(tf.IndexedSlices(visits, rows))

    def note(self, ids: np.ndarray | tf.Tensor | None) -> None:
        """Take note, for logs and checkpoints, that `update` was called on `ids`, [k] integers.

        None: anything may have been written.
        """
        ids = None if ids is None else np.asarray(ids, np.int64)
        alone = self._moves_rows_alone()
        self.sample.renew(ids, "visits")
        self.sample.renew(ids if alone and self.mode != "single" else None, "lam")
        self.changed.add(ids if alone else None)

    def influence_per_visit(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean influence a visit of every id and its standard error, [|U|] float64 each.

        Eq. 6 as `update` was given it: a positive one harms. A visit is an update that moved the
        weight, so that the scores of one update count once. NaN is what is not known: the mean
        below one visit, the error below two, both where earlier visits were not recorded.
        """
        kept = self.visits, self.influence_mean, self.influence_deviation
        return _per_visit(*(x.numpy() for x in kept))

    def suspects(self) -> np.ndarray:
        """Return which examples harm for all we know, [|U|] bool.

        They were visited `FEWEST` times, and even two errors leave their mean influence positive.
        """
        return _are_suspects(*self.influence_per_visit(), self.visits.numpy())

    def block(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return what is known of the ids `start`..`stop` - 1, a column [stop - start] each.

        Returns:
            lam, visits (int32), last_influence; influence_mean, influence_error and suspect as
            `influence_per_visit` and `suspects` have them; influence, float64: the decayed sum of
            influences, which is the optimizer's first moment, or the last one where it has none.
        """
        ids = np.arange(start, stop)
        kept = (self.visits, self.influence_mean, self.influence_deviation, self.last_influence)
        visits, mean, deviation, last = (_read(x, ids) for x in kept)
        moments = (v for v in self.variables if v.path.endswith(_FIRST_MOMENTS))
        first = next(moments, None)
        mean, error = _per_visit(visits, mean, deviation)
        return {
            "lam": self._lam_of(ids),
            "visits": visits.astype(np.int32),
            "last_influence": last,
            "influence_mean": mean,
            "influence_error": error,
            "suspect": _are_suspects(mean, error, visits),
            "influence": (last if first is None else self._rows_of(first, ids)).astype(np.float64),
        }

    def table(self) -> tf.Tensor:
        """Return the learned weight of every id, [|U|] float32 (before any control permutes it)."""
        return tf.broadcast_to(self.lam.value, [self.num_unlabeled])

    @property
    def tables(self) -> list[keras.Variable]:
        """The variables of a row for each id; in mode single some have one row for all."""
        return [v for v in self.variables if tuple(v.shape) == (self.num_unlabeled,)]

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in a fixed order: Lambda, counters, last influence, the optimizer's, the rest.

        Checkpoints know a variable by its place: what is new stands last.
        """
        own = [self.lam, self.visits, self.last_influence]
        own += list(self.optimizer.variables) if self.learns else []
        return [*own, self.influence_mean, self.influence_deviation]

    def _moves_rows_alone(self):
        """Whether the optimizer leaves the rows alone that an update does not name."""
        o = self.optimizer
        if isinstance(o, MAdam):
            return True
        return isinstance(o, keras.optimizers.SGD) and not (o.momentum or o.weight_decay)

    def _lam_of(self, ids):
        return self._rows_of(self.lam, ids)

    def _rows_of(self, variable, ids):
        one = variable.shape[0] == 1
        return np.broadcast_to(variable.numpy(), ids.shape) if one else _read(variable, ids)

    def _place(self, ids, draw):
        if self.mode == "single":
            return tf.zeros_like(ids)
        if self.mode == "shuffled":
            return tf.gather(self.permutation, ids)
        if self.mode == "random":
            key = tf.stack([tf.cast(self.seed, tf.int64), tf.cast(draw, tf.int64)])
            # By name: left to choose, XLA (theta-step) and a plain graph (Lambda-pass) differ.
            return tf.random.stateless_uniform(
                tf.shape(ids), key, maxval=self.num_unlabeled, dtype=ids.dtype, alg="philox"
            )
        return ids

    def _clip(self, rows):
        largest = min(self.lambda_max, FLOAT32_MAX)
        # These two leave rows outside the batch alone; any other may move them.
        if not isinstance(self.optimizer, MAdam | keras.optimizers.SGD):
            self.lam.assign(tf.clip_by_value(self.lam.value, 0.0, largest))
            return
        new = tf.clip_by_value(tf.gather(self.lam.value, rows), 0.0, largest)
        self.lam.value.scatter_update(tf.IndexedSlices(new, rows))


def _check(num_unlabeled, mode, optimizer, lambda_init, lambda_max, seed):
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {', '.join(MODES)}. Received: mode={mode!r}")
    check_number("num_unlabeled", num_unlabeled, 1, whole=True)
    check_number("lambda_max", lambda_max, most=float("inf"))
    check_number("seed", seed, whole=True)
    if not 0 <= lambda_init <= min(lambda_max, FLOAT32_MAX):
        raise ValueError(
            "`lambda_init` must lie between 0 and `lambda_max`, and be finite. Received: "
            f"lambda_init={lambda_init}, lambda_max={lambda_max}"
        )
    if mode in LEARNED and optimizer is None:
        raise ValueError(f"`optimizer` must be given for mode {mode!r}. Received: optimizer=None")
    if mode in LEARNED:  # Keras's own take any; of a schedule it is the first
        check_number("learning_rate", float(tf.convert_to_tensor(optimizer.learning_rate)))


def _read(variable, rows):
    """Return the values of some rows; nothing else of the table is read."""
    return tf.gather(variable.value, rows).numpy()


def _per_visit(visits, mean, deviation):
    n, mean, deviation = (x.astype(np.float64) for x in (visits, mean, deviation))
    error = deviation / np.sqrt(np.maximum(n * (n - 1), 1))
    return np.where(n > 0, mean, np.nan), np.where(n > 1, error, np.nan)


def _are_suspects(mean, error, visits):
    return (mean - 2 * error > 0) & (visits >= FEWEST)
