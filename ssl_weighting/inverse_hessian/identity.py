"""Luketina et al.: the identity stands for the inverse Hessian (Table A1)."""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions
from ssl_weighting.inverse_hessian.solution import CONVERGED, Solution, solution


def identity(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Return `vector` [p] itself; the curvature is not read, nor the damping."""
    del curvature
    return solution(vector, vector, options, CONVERGED)
