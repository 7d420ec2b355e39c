"""Ways to solve H x = v (Table A1): one file each, one signature, no knowledge of the objective."""

from ssl_weighting.inverse_hessian.exact import exact
from ssl_weighting.inverse_hessian.identity import identity
from ssl_weighting.inverse_hessian.solution import Solution

METHODS = {"exact": exact, "identity": identity}

__all__ = ["METHODS", "Solution", "exact", "identity"]
