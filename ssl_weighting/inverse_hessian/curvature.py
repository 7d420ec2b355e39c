"""What a method of Table A1 may ask: the curvature as callables, and how to solve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from ssl_weighting.checks import check_number


class KroneckerBlock(NamedTuple):
    """One layer's kernel (with its bias as a last input): H_block is about a (x) g.

    `index` tells where entry (i, o) lies among the p parameters.
    """

    index: Any  # [i, o] int32, array or tensor
    a: tf.Tensor  # [i, i], of the inputs
    g: tf.Tensor  # [o, o], of the gradients of the outputs
    # (Q_a [i, i], Q_g [o, o]) -> [i, o]: the true second moments in that basis (ekfac)
    moments: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class DiagonalBlock(NamedTuple):
    """Parameters without Kronecker structure (BatchNorm's gamma): their diagonal of H alone."""

    index: Any  # [m] int32, array or tensor
    diagonal: tf.Tensor  # [m]


class Unroll(NamedTuple):
    """The last K theta-steps as pure functions."""

    count: int  # K >= 1
    start: Callable[[], Any]  # -> state, a nest of tensors
    step: Callable[[tf.Tensor, Any, tf.Tensor], Any]  # (k, state, shift [p]) -> next state; `shift`
    # is added to the gradient
    params: Callable[[Any], tf.Tensor]  # state -> [p]
    reached: Callable[[], tf.Tensor] | None = None  # -> [p]: where the true steps ended


@dataclasses.dataclass(frozen=True)
class Curvature:
    """H = H_data + diag(ridge) of p flat parameters of one dtype; damping is added by the method.

    Attributes:
        size: p.
        ridge: [p], >= 0, weight decay's own diagonal.
        product: x [p] -> H_data x [p].
        dense: () -> H_data [p, p].
        factor: () -> A [n, p] with A^T A = H_data; factor_rows: n where it is known, or None.
        gradients: () -> per-example gradients [n, p] and their coefficients [n], >= 0.
        sampled_product: (k, x [p]) -> [p], unbiased for H_data x; k is a scalar int64.
        kronecker: () -> list of `KroneckerBlock` and `DiagonalBlock`.
        unroll: the last steps on the parameters.
    """

    size: int
    ridge: tf.Tensor
    product: Callable | None = None
    dense: Callable | None = None
    factor: Callable | None = None
    factor_rows: int | None = None
    gradients: Callable | None = None
    sampled_product: Callable | None = None
    kronecker: Callable | None = None
    unroll: Unroll | None = None


@dataclasses.dataclass(frozen=True)
class SolveOptions:
    """How exactly and how long a method solves; each method's file says what it reads.

    Attributes:
        damping: c >= 0, added to H over all parameters.
        iterations: K >= 1, the most that an iterative method takes.
        tolerance: relative residual at which it stops earlier.
        scale: alpha of neumann and stochastic_cg; 0: from a power iteration.
        repeats: independent runs that stochastic_cg averages.
        power_iterations: products for the estimate of the largest eigenvalue.
        dense_limit: the largest p for which `exact` forms a matrix.
        seed: of the random samples.
    """

    damping: float = 0.0
    iterations: int = 20
    tolerance: float = 1e-6
    scale: float = 0.0
    repeats: int = 1
    power_iterations: int = 10
    dense_limit: int = 4096
    seed: int = 0

    def __post_init__(self):
        """Check ranges.

        Raises:
            ValueError: a number out of range.
        """
        for name in ("damping", "tolerance", "scale"):
            check_number(name, getattr(self, name))
        for name in ("dense_limit", "seed"):
            check_number(name, getattr(self, name), whole=True)
        for name in ("iterations", "repeats", "power_iterations"):
            check_number(name, getattr(self, name), 1, whole=True)
