"""Larsen et al.: the Hessian as a sum of outer products of gradients (Table A1)."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.solution import CONVERGED, Solution, diagonal_of, solution
from ssl_weighting.inverse_hessian.woodbury import woodbury


def outer_product(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Solve (sum_i c_i g_i g_i^T + diag(ridge) + c I) x = v by Woodbury; reads `damping`.

    Raises:
        ValueError: no damping: the sum has at most as many directions as there are examples.
    """
    if not options.damping:
        raise ValueError(
            "`damping` must be greater than 0 for outer_product: n gradients leave p - n "
            f"directions without curvature. Received: damping={options.damping}"
        )
    gradients, coefficients = curvature.gradients()
    factor = tf.sqrt(coefficients)[:, None] * gradients
    x, residual = woodbury(factor, diagonal_of(curvature, options, tf.float64), vector)
    return solution(x, vector, options, CONVERGED, residual=residual)
