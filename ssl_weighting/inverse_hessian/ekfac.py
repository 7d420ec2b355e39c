"""EK-FAC (George et al.): K-FAC's basis with the true second moments in it; beyond the paper."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.kfac import solve_blocks
from ssl_weighting.inverse_hessian.solution import Solution


def ekfac(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Solve as K-FAC does, each eigenvalue replaced by the curvature along its own direction."""

    def moments(block, q_a, q_g, values):
        return tf.cast(block.moments(q_a, q_g), values.dtype)

    return solve_blocks(curvature, vector, options, moments)
