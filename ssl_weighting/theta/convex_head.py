"""The whole objective of a softmax head on fixed features, and its minimum, in float64.

sum_r a_r (log sum_c exp z_rc - q_r . z_r) + 0.5 sum_j decay_j theta_j^2 with z = phi W + b is
convex in theta = (W, b): SciPy's L-BFGS finds its minimum. No TensorFlow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
import threadpoolctl

MEMORY = 30  # pairs of steps and gradients that L-BFGS keeps
MOST_EVALUATIONS = 5000
_LEAST = 1e-9  # of the largest curvature: what a direction without any counts as having
_WIDE = 300  # features from which on a block for each class costs more than it saves
_BLAS = threadpoolctl.ThreadpoolController()


class Problem(NamedTuple):
    """What is minimised; theta is [d + 1, C], the bias below the kernel."""

    features: np.ndarray  # [R, d + 1] float64, with a trailing 1
    targets: np.ndarray  # [R, C] float64, each row sums to 1
    coefficients: np.ndarray  # [R] float64, none below 0: factor of each row's cross-entropy
    decay: np.ndarray  # [d + 1] float64: of 0.5 times the square of each row of theta

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the objective at `theta` [d + 1, C] and its gradient of the same shape."""
        z = self.features @ theta
        cross_entropy, p = _cross_entropy(z, self.targets)
        decayed = self.decay[:, None] * theta
        p -= self.targets
        p *= self.coefficients[:, None]
        value = self.coefficients @ cross_entropy + 0.5 * np.vdot(decayed, theta)
        return value, self.features.T @ p + decayed

    def row_losses(self, theta: np.ndarray) -> np.ndarray:
        """Return the cross-entropy of each row at `theta`, [R]."""
        return _cross_entropy(self.features @ theta, self.targets)[0]


class Minimum(NamedTuple):
    """Where the search ended."""

    theta: np.ndarray  # [d + 1, C] float64
    gradient_norm: float  # ||grad||_2 there
    evaluations: int  # of the objective


# The products are small: threads of a BLAS would wait for each other longer than they compute.
@_BLAS.wrap(limits=1, user_api="blas")
def minimum(problem: Problem, start: np.ndarray, tolerance: float) -> Minimum:
    """Minimise from `start` [d + 1, C] until ||grad||_2 < `tolerance`, or no further.

    At once where `start` is such a place. L-BFGS sees theta_c = L_c^-T u_c with L_c L_c^T the block
    of the Hessian of class c at `start`: a few tens of evaluations in the place of hundreds.
    """
    search = _Search(problem, start, tolerance)
    if search.norm >= tolerance:
        scipy.optimize.minimize(
            search,
            search.place_of(start),
            jac=True,
            method="L-BFGS-B",
            callback=search.stop,
            options={
                "maxcor": MEMORY, "ftol": 0.0, "gtol": 0.0, "maxls": 50,
                "maxiter": MOST_EVALUATIONS, "maxfun": MOST_EVALUATIONS,
            },
        )  # fmt: skip
    return Minimum(search.best, search.norm, search.evaluations)


class _Search:
    """The objective as L-BFGS sees it; remembers the place of the smallest gradient."""

    def __init__(self, problem, start, tolerance):
        self.problem, self.tolerance, self.evaluations = problem, tolerance, 1
        self.best = start
        self.norm = float(np.linalg.norm(problem.value_and_gradient(start)[1]))
        if self.norm >= tolerance:
            self.factors = _class_factors(problem, start)

    def place_of(self, theta):
        columns = [factor.T @ theta[:, c] for c, factor in enumerate(self.factors)]
        return np.stack(columns, axis=1).ravel()

    def __call__(self, u):
        theta = self._turned(u.reshape(self.best.shape), trans=1)
        value, gradient = self.problem.value_and_gradient(theta)
        self.evaluations += 1
        norm = float(np.linalg.norm(gradient))
        if norm < self.norm:
            self.best, self.norm = theta, norm
        return value, self._turned(gradient, trans=0).ravel()

    def stop(self, intermediate_result):
        del intermediate_result
        if self.norm < self.tolerance:
            raise StopIteration

    def _turned(self, x, trans):
        """Return L_c^-T x_c, or without `trans` L_c^-1 x_c, for the column of each class."""
        columns = [
            scipy.linalg.solve_triangular(factor, x[:, c], trans=trans, lower=True)
            for c, factor in enumerate(self.factors)
        ]
        return np.stack(columns, axis=1)


def _class_factors(problem, theta):
    """Return the lower Cholesky factor of the Hessian's block of each class; of many, their mean's.

    It only turns the coordinates: any positive definite matrix gives the same minimum.
    """
    p = scipy.special.softmax(problem.features @ theta, axis=1)
    curvatures = problem.coefficients[:, None] * p * (1 - p)
    if problem.features.shape[1] > _WIDE:
        return [_factor(problem, curvatures.mean(axis=1))] * theta.shape[1]
    return [_factor(problem, curvature) for curvature in curvatures.T]


def _factor(problem, curvature):
    block = (problem.features * curvature[:, None]).T @ problem.features
    diagonal = block.diagonal() + problem.decay
    np.fill_diagonal(block, diagonal + _LEAST * diagonal.max())
    return scipy.linalg.cholesky(block, lower=True)


def _cross_entropy(z, targets):
    """Return the cross-entropy of each row [R] and softmax(z)."""
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1)
    p /= total[:, None]
    return np.log(total) - np.einsum("rc,rc->r", targets, z), p
