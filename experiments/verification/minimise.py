"""Training a `Task` to a gradient of nearly zero.

L-BFGS in the coordinates in which the Gauss-Newton matrix is the identity does most of the way;
Newton steps that look at the gradient alone end it, below what differences of losses can resolve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import linalg
from scipy.optimize import minimize

from experiments.verification.problems import Data
from experiments.verification.task import Task

GOAL = 1e-8  # the norm of the gradient that counts as trained
AIM = 1e-11  # the norm that training aims at
NEAR = 1e-6  # where Newton takes over
TEACHING_ROUNDS = 1  # new targets, new training
ROUND_STEPS, ROUNDS = 100, 20  # of L-BFGS before its coordinates are taken anew; of that
NEWTON_STEPS = 60
DAMPINGS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # mu, beside eigenvalues of about 1e-3 to 10
ATTEMPTS = 3
KICK = 0.1  # out of a saddle, along its most negative curvature


class Minimum(NamedTuple):
    """Where training ended."""

    params: tf.Tensor  # [p]: theta*
    targets: tf.Tensor  # [U, C], frozen
    hessian: np.ndarray  # [p, p] at theta*, ridge included
    norm: float  # of the gradient
    definite: bool  # whether the Hessian is positive definite

    @property
    def trained(self) -> bool:
        """Whether this is a strict minimum with a gradient below `GOAL`."""
        return self.norm < GOAL and self.definite


def minimum_of(task: Task, data: Data, start: tf.Tensor) -> Minimum:
    """Train on the labels, then some rounds on everything, with new targets before each.

    The last round goes on to a gradient of `AIM`; its targets are the frozen ones.
    """
    lam = data.example_weights
    params = descend(task, data, start, task.targets(start, data), tf.zeros_like(lam), goal=1e-3)
    for _ in range(TEACHING_ROUNDS):
        params = descend(task, data, params, task.targets(params, data), lam, goal=1e-3)
    targets = task.targets(params, data)
    for _ in range(ATTEMPTS):
        params = descend(task, data, params, targets, lam, goal=NEAR)
        params = _newton(task, data, params, targets, lam)
        found = _describe(task, data, params, targets)
        if found.definite:
            break
        # Newton finds a root of the gradient, which may be a saddle.
        params = params + KICK * linalg.eigh(found.hessian, subset_by_index=[0, 0])[1][:, 0]
    return found


def descend(task: Task, data: Data, params, targets, lam, goal: float) -> tf.Tensor:
    """Lower the objective until its gradient is below `goal` or the rounds are used up."""
    for _ in range(ROUNDS):
        if np.linalg.norm(task.gradient(params, data, targets, lam)[1]) < goal:
            break
        factor = linalg.cholesky(task.gauss_newton(params, data, targets, lam).numpy(), lower=True)
        inverse = linalg.solve_triangular(factor, np.eye(task.size), lower=True)
        params = _descent_round(task, data, params, targets, lam, inverse, goal)
    return params


class _Reached(Exception):
    """The gradient is small enough; carries the parameters."""


def _descent_round(task, data, params, targets, lam, inverse, goal):
    origin = params.numpy()

    def value(u):
        at = tf.constant(origin + inverse.T @ u)
        loss, gradient = task.gradient(at, data, targets, lam)
        if np.linalg.norm(gradient) < goal:
            raise _Reached(at)
        return float(loss), inverse @ gradient.numpy()

    options = {"maxiter": ROUND_STEPS, "maxcor": 30, "ftol": 0, "gtol": 0}
    try:
        end = minimize(value, np.zeros(task.size), jac=True, method="L-BFGS-B", options=options)
    except _Reached as reached:
        return reached.args[0]
    return tf.constant(origin + inverse.T @ end.x)


def _newton(task, data, params, targets, lam):
    """Seek a root of the gradient; the Hessian is kept as long as the norm falls tenfold.

    Levenberg and Marquardt's steps H (H^2 + mu^2 I)^-1 grad, with the least mu that lowers the
    norm: where curvature is slight, Newton's own (mu = 0) leave the region that H describes.
    """

    def gradient(x):
        g = task.gradient(x, data, targets, lam)[1].numpy()
        return g, np.linalg.norm(g)

    (g, norm), parts = gradient(params), None
    for _ in range(NEWTON_STEPS):
        if norm < AIM:
            break
        fresh = parts is None
        if fresh:
            parts = linalg.eigh(task.hessian(params, data, targets, lam).numpy())
        trials = (params - _damped_step(*parts, g, mu) for mu in DAMPINGS)
        params_new, (g_new, norm_new) = _first_better(trials, gradient, norm)
        if norm_new > norm / 10:
            parts = None
        if norm_new < norm:
            params, g, norm = params_new, g_new, norm_new
        elif fresh:
            break
    return params


def _damped_step(values, vectors, g, mu):
    return vectors @ (values / (values**2 + mu**2) * (vectors.T @ g))


def _first_better(trials, gradient, norm):
    for trial in trials:
        found = gradient(trial)
        if found[1] < norm:
            break
    return trial, found


def _describe(task, data, params, targets):
    lam = data.example_weights
    hessian = task.hessian(params, data, targets, lam).numpy()
    hessian = (hessian + hessian.T) / 2
    norm = float(np.linalg.norm(task.gradient(params, data, targets, lam)[1]))
    definite = linalg.eigvalsh(hessian, subset_by_index=[0, 0])[0] > 0
    return Minimum(params, targets, hessian, norm, bool(definite))
