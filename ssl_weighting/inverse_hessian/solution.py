"""What every inverse-Hessian method returns."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Solution(NamedTuple):
    """An approximation of H^-1 v and how it was reached."""

    vector: tf.Tensor  # [p], dtype of v
    residual: tf.Tensor  # scalar: ||H x - v|| / ||v||, NaN where the method never forms H x
    iterations: tf.Tensor  # scalar int32, 0 for direct methods
