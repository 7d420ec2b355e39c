"""Ways to solve (H + c I) x = v (Table A1): one file each, one signature, no model in sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.inverse_hessian.conjugate_gradient import conjugate_gradient
from ssl_weighting.inverse_hessian.curvature import (
    Curvature,
    DiagonalBlock,
    KroneckerBlock,
    SolveOptions,
    Unroll,
)
from ssl_weighting.inverse_hessian.ekfac import ekfac
from ssl_weighting.inverse_hessian.exact import exact
from ssl_weighting.inverse_hessian.identity import identity
from ssl_weighting.inverse_hessian.kfac import kfac
from ssl_weighting.inverse_hessian.neumann import neumann
from ssl_weighting.inverse_hessian.outer_product import outer_product
from ssl_weighting.inverse_hessian.solution import (
    CONVERGED,
    DIVERGED,
    NEGATIVE_CURVATURE,
    STATUS,
    TRUNCATED,
    Solution,
    unit_of,
)
from ssl_weighting.inverse_hessian.stochastic_cg import stochastic_cg
from ssl_weighting.inverse_hessian.unrolled import unrolled


class Method(NamedTuple):
    """A way to solve, and the parts of `Curvature` that it cannot do without."""

    solve: Callable[[Curvature, tf.Tensor, SolveOptions], Solution]
    needs: tuple[str, ...]


METHODS = {
    "exact": Method(exact, ("product",)),
    "identity": Method(identity, ()),
    "outer_product": Method(outer_product, ("gradients",)),
    "conjugate_gradient": Method(conjugate_gradient, ("product",)),
    "stochastic_cg": Method(stochastic_cg, ("product", "sampled_product")),
    "unrolled": Method(unrolled, ("product", "unroll")),
    "neumann": Method(neumann, ("product",)),
    "kfac": Method(kfac, ("product", "kronecker")),
    "ekfac": Method(ekfac, ("product", "kronecker")),
}


def solve(name: str, curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Return about (H + c I)^-1 v by the method called `name`.

    The methods see v in units of its own size: influences may be so small that their squares, and
    with them every norm, are 0 in float32.

    Args:
        name: a key of `METHODS`.
        curvature: of p parameters; vector: [p] float32 or float64; options: `SolveOptions`.

    Raises:
        ValueError: an unknown name, another size or dtype, a missing part of `curvature`.
    """
    vector = tf.convert_to_tensor(vector)
    if name not in METHODS:
        raise ValueError(f"`name` must be one of {', '.join(METHODS)}. Received: name={name!r}")
    fits = vector.shape.rank == 1 and vector.shape[0] in (None, curvature.size)
    if not fits or vector.dtype not in (tf.float32, tf.float64):
        raise ValueError(
            f"`vector` must be [{curvature.size}] float32 or float64. Received: shape "
            f"{vector.shape}, {vector.dtype.name}"
        )
    method = METHODS[name]
    missing = [part for part in method.needs if getattr(curvature, part) is None]
    if missing:
        raise ValueError(
            f"`curvature` must have {', '.join(missing)} for method {name}. Received: None. Choose "
            "another method"
        )
    unit = unit_of(vector)
    found = method.solve(curvature, vector / unit, options)
    x = found.vector * unit
    status = tf.where(tf.reduce_all(tf.math.is_finite(x)), found.status, DIVERGED)
    return found._replace(vector=x, status=status)


__all__ = [
    "CONVERGED",
    "DIVERGED",
    "METHODS",
    "NEGATIVE_CURVATURE",
    "STATUS",
    "TRUNCATED",
    "Curvature",
    "DiagonalBlock",
    "KroneckerBlock",
    "Method",
    "Solution",
    "SolveOptions",
    "Unroll",
    "conjugate_gradient",
    "ekfac",
    "exact",
    "identity",
    "kfac",
    "neumann",
    "outer_product",
    "solve",
    "stochastic_cg",
    "unit_of",
    "unrolled",
]
