"""MixUp (Zhang et al. 2018) of labeled and unlabeled examples, and who the parents of a row are."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import special
from ssl_weighting_upstream.fixmatch_interleave import group_order

_GRID = 2**16  # quantiles of the Beta distribution that are drawn from


class Mixed(NamedTuple):
    """Examples mixed with partners, N of them."""

    inputs: tf.Tensor  # [N, ...]
    targets: tf.Tensor  # [N, C]
    partner: tf.Tensor  # [N] int32: place of the second parent
    share: tf.Tensor  # [N] float32 in [1/2, 1]: of the first parent

    def parents(self, values: tf.Tensor) -> tf.Tensor:
        """Return [N, 2], a value [N] of both parents."""
        return tf.stack([values, tf.gather(values, self.partner)], axis=1)

    @property
    def shares(self) -> tf.Tensor:
        """The shares of both parents, [N, 2]."""
        return tf.stack([self.share, 1 - self.share], axis=1)


def mixup(inputs: tf.Tensor, targets: tf.Tensor, beta: float, seed: int, step) -> Mixed:
    """Mix each example with one of a random permutation, m ~ Beta(beta, beta), m <- max(m, 1 - m).

    Args:
        inputs: [N, ...]; targets: [N, C].
        beta: parameter of the distribution, > 0.
        seed: int; step: scalar int64; together they key the draws.
    """
    n = tf.shape(inputs)[0]
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
    draws = tf.random.stateless_uniform([2, n], key, alg="philox")
    m = tf.gather(_quantiles(beta), tf.cast(draws[0] * _GRID, tf.int32))
    partner = tf.argsort(draws[1])
    share = m[(...,) + (None,) * (inputs.shape.rank - 1)]
    mixed = share * inputs + (1 - share) * tf.gather(inputs, partner)
    soft = m[:, None] * targets + (1 - m[:, None]) * tf.gather(targets, partner)
    return Mixed(mixed, tf.stop_gradient(soft), partner, m)


@functools.cache
def _table(beta: float) -> np.ndarray:
    # A table instead of a sampler: XLA has none for Beta.
    m = special.betaincinv(beta, beta, (np.arange(_GRID) + 0.5) / _GRID)
    return np.maximum(m, 1 - m).astype(np.float32)


def _quantiles(beta):
    return tf.constant(_table(beta))


def grouped_forward(forward, inputs: tf.Tensor, batch: int, tracked: int) -> tuple[dict, tf.Tensor]:
    """Run rows through the net in batches of `batch`, each a mix of all kinds of rows.

    Args:
        forward: see `structs.Forward`.
        inputs: [N, ...] with a static N, a multiple of `batch`.
        batch: B.
        tracked: the batch that moves BatchNorm's moving statistics (upstream: one of them).

    Returns:
        The outputs in the order of `inputs`, and the place of each row in the forward, [N] int32.

    Raises:
        ValueError: N is not known, or no multiple of `batch`.
    """
    n = inputs.shape[0]
    if not n or not batch or n % batch:
        raise ValueError(
            "Mixed rows go through the net in batches of the labeled one's size, so "
            f"`unlabeled_ratio` must be whole. Received: {n} rows, batches of {batch}"
        )
    order = group_order(batch, n // batch)
    parts = tf.split(tf.gather(inputs, order), n // batch)
    done = [forward(part, moves_statistics=k == tracked) for k, part in enumerate(parts)]
    joined = {k: tf.gather(tf.concat([out[k] for out in done], 0), order) for k in done[0]}
    return joined, tf.constant(order, tf.int32)  # the order is its own inverse
