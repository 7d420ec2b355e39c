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

    Args:
        name: a key of `METHODS`.
        curvature: of p parameters; vector: [p] float32 or float64; options: `SolveOptions`.

    Raises:
        ValueError: an unknown name, another size, a missing part of `curvature`.
    """
    if name not in METHODS:
        raise ValueError(f"`name` must be one of {', '.join(METHODS)}. Received: name={name!r}")
    if vector.shape.rank != 1 or vector.shape[0] not in (None, curvature.size):
        raise ValueError(f"`vector` must be [{curvature.size}]. Received: shape {vector.shape}")
    method = METHODS[name]
    missing = [part for part in method.needs if getattr(curvature, part) is None]
    if missing:
        raise ValueError(
            f"`curvature` must have {', '.join(missing)} for method {name}. Received: None. Choose "
            "another method"
        )
    return method.solve(curvature, vector, options)


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
    "unrolled",
]
