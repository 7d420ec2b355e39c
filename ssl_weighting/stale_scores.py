"""Scores for the batch of every theta-step, with the direction of the last Lambda-step.

A theta-step has features, predictions and targets of its batch at hand; with v = H^-1 grad L_S(V)
kept from the last Lambda-step, scoring all its examples costs two small matrix products. Scores of
one example within a batch are summed, as everywhere. These sums are gathered until the next
Lambda-step and their mean then moves its weight once, together with the fresh one: as many updates
as visits would need a smaller step size. Last layer only.

Which rows hold something follows from the batches since then, where these are functions of the step
(`BatchSource.met`): a refresh reads and clears these alone, whatever |U|.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_number, finite, require_ids
from ssl_weighting.influence import lam_gradient
from ssl_weighting.losses import logit_gradient
from ssl_weighting.structs import LossRows, sum_by_id
from ssl_weighting.theta.step import NonFiniteError


class StaleScores:
    """The direction of the last Lambda-step and the scores gathered since.

    Args:
        num_unlabeled: |U|.
        num_parameters: p, the last layer's, flattened as in `LastLayer`.
        infl_mask_grad: as in `influence.lam_gradient`.
        logit_map: `LastLayer.logit_map`.

    Attributes:
        count: [|U|] float32 whole numbers: how often each id was met since the last refresh.
        since: scalar int64: nothing is held of theta-steps before that one; -1: it is not known.
    """

    def __init__(
        self,
        num_unlabeled: int,
        num_parameters: int,
        infl_mask_grad: bool = True,
        logit_map: tf.Tensor | None = None,
    ):
        check_number("num_unlabeled", num_unlabeled, 1, whole=True)
        check_number("num_parameters", num_parameters, 1, whole=True)
        self.infl_mask_grad, self.logit_map = infl_mask_grad, logit_map
        self.direction = keras.Variable(tf.zeros([num_parameters]), name="direction")
        self.ready = keras.Variable(0, name="ready", dtype="int32")  # 1 once a direction is known
        self.total = keras.Variable(tf.zeros([num_unlabeled]), name="total")
        # In float32, as `WeightStore.visits`.
        self.count = keras.Variable(tf.zeros([num_unlabeled]), name="count")
        self.since = keras.Variable(0, name="since", dtype="int64")

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in a fixed order; what is new stands last."""
        return [self.direction, self.ready, self.total, self.count, self.since]

    @property
    def tables(self) -> list[keras.Variable]:
        """The variables of a row for each id."""
        return [self.total, self.count]

    def refuse_non_finite(self, met: np.ndarray | None = None) -> None:
        """Stop where a score that was gathered is not finite.

        Args:
            met: as in `refresh`.

        Raises:
            NonFiniteError: there is one.
        """
        total = self.total.value if met is None else tf.gather(self.total.value, met)
        if not tf.reduce_all(tf.math.is_finite(total)):
            raise NonFiniteError(
                "A score since the last Lambda-step is not finite. Lambda is untouched. Raise the "
                "damping, or switch `score_every_step` off."
            )

    def add(self, rows: LossRows, count: tf.Tensor) -> None:
        """Score the rows of a theta-step; `count` is U. Does nothing before the first direction."""
        phi = tf.stop_gradient(rows.features)
        delta = logit_gradient(rows.loss_of_logits, tf.stop_gradient(rows.logits))
        if self.logit_map is not None:
            delta = tf.matmul(delta, tf.cast(self.logit_map, delta.dtype), transpose_b=True)
        v = tf.reshape(self.direction.value, [-1, delta.shape[-1]])
        kernel, bias = v[: phi.shape[-1]], v[phi.shape[-1] :]
        per_output = tf.matmul(phi, kernel) + tf.reduce_sum(bias, axis=0)  # no bias row: + 0
        scores = -tf.reduce_sum(delta * per_output, axis=1)
        ids, gradient = lam_gradient(rows, scores, count, self.infl_mask_grad)
        self._gather(ids, gradient, self.ready.value)

    def refresh(self, ids, gradient, direction, met=None) -> dict[str, tf.Tensor]:
        """Take what was gathered, with the fresh scores of a Lambda-step, and start anew.

        Args:
            ids: [K] int64; gradient: [K] float32, fresh; direction: [p], the new v.
            met: [N] int64, ids among which all are that were gathered since the last refresh; None:
                they are looked for among all of U.

        Returns:
            "ids" [M] int64, rising, "gradient" [M] float32: mean score of every example met since
            the last call; "fresh" [D], "stale" [D]: the fresh scores of the different ones among
            `ids` and the mean of what was gathered for them before, NaN where nothing was.

        Raises:
            ValueError: where they are known, ids outside 0..|U|-1 or gradients that are not finite;
                nothing is written then.
        """
        with tf.control_dependencies(require_ids("ids", ids, self.total.shape[0])):
            ids, gradient = sum_by_id(tf.identity(ids), gradient)
        gradient = finite("`gradient`", gradient)
        seen = tf.gather(self.count.value, ids)
        stale = tf.gather(self.total.value, ids)
        stale = tf.where(seen > 0, stale / tf.maximum(seen, 1), float("nan"))
        with tf.control_dependencies([stale]):
            self._gather(ids, gradient, tf.constant(1))
            rows = None if met is None else tf.unique(tf.sort(tf.concat([met, ids], 0))).y
            found = self._held(rows)
            count = tf.gather(self.count.value, found)
            mean = tf.gather(self.total.value, found) / count
        with tf.control_dependencies([mean]):
            for table in self.tables:
                if rows is None:
                    table.assign(tf.zeros_like(table.value))
                else:
                    nothing = tf.zeros_like(rows, table.dtype)
                    table.value.scatter_update(tf.IndexedSlices(nothing, rows))
            self.direction.assign(tf.cast(direction, self.direction.dtype))
            self.ready.assign(1)
        return {"ids": found, "gradient": mean, "fresh": gradient, "stale": stale}

    def _held(self, rows):
        """Return the ids that were met, rising, of all or of `rows`."""
        if rows is None:
            return tf.where(self.count.value > 0)[:, 0]
        return tf.boolean_mask(rows, tf.gather(self.count.value, rows) > 0)

    def _gather(self, ids, gradient, times):
        gradient = gradient * tf.cast(times, gradient.dtype)
        self.total.value.scatter_add(tf.IndexedSlices(gradient, ids))
        # Not added: an id that stands there twice has been met once.
        met = tf.gather(self.count.value, ids) + tf.cast(times, self.count.dtype)
        self.count.value.scatter_update(tf.IndexedSlices(met, ids))
