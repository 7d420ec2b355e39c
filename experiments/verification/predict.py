"""What each method of Table A1 says about a problem, beside the explicit dense curvature."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.benchmarks.memory import added_peak_mb
from experiments.verification.minimise import Minimum
from experiments.verification.problems import Data
from experiments.verification.task import Task, loss_rows, parent_weights, training_inputs
from ssl_weighting.influence import influence
from ssl_weighting.inverse_hessian import STATUS, SolveOptions, Unroll
from ssl_weighting.models.network import Network
from ssl_weighting.objective import row_coefficients, row_weights
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork

PARAMETERS = ("all", "last_layer")
MOMENTUM, UNROLLED_STEPS = 0.9, 100


class Variant(NamedTuple):
    """A method with its settings."""

    name: str
    method: str  # in `inverse_hessian.METHODS`
    kind: str = "hessian"  # of curvature
    options: Mapping = MappingProxyType({})  # of `SolveOptions`


VARIANTS = (
    Variant("exact", "exact"),
    Variant("exact, Gauss-Newton", "exact", "gauss_newton"),
    Variant(
        "conjugate_gradient", "conjugate_gradient", options={"iterations": 3000, "tolerance": 1e-12}
    ),
    Variant("neumann, K = 20", "neumann", options={"iterations": 20, "tolerance": 0.0}),
    Variant("neumann, K = 1000", "neumann", options={"iterations": 1000, "tolerance": 0.0}),
    Variant("stochastic_cg", "stochastic_cg", options={"iterations": 300, "repeats": 3}),
    Variant("unrolled", "unrolled"),
    Variant("outer_product", "outer_product"),
    Variant("kfac", "kfac"),
    Variant("ekfac", "ekfac"),
    Variant("identity", "identity"),
)


class Prediction(NamedTuple):
    """Eq. 6 by one variant."""

    scores: np.ndarray  # [U]: d L_S(V) / d lambda_u
    status: str
    iterations: int
    residual: float  # NaN where the method has none
    seconds: float  # of the second call: solving and all dot products
    peak_mb: float | None  # that the call adds to the process; None where there is no /proc


class Predictor:
    """One variant on one selection of parameters, compiled once for all seeds.

    Args:
        task: its net and ridge, which is the damping here: it acts on every parameter.
        parameters: "all" or "last_layer"; variant: one of `VARIANTS`.
    """

    def __init__(self, task: Task, parameters: str, variant: Variant):
        kind = {"all": Subnetwork, "last_layer": LastLayer}[parameters]
        self.task, self.method = task, variant.method
        self.parameters = kind(task.model, batch_norm="moving", curvature=variant.kind)
        self.index = places(task, parameters)
        self.options = SolveOptions(damping=task.problem.ridge, **variant.options)
        self.run = tf.function(self._run, autograph=False)

    def __call__(self, data: Data, minimum: Minimum) -> Prediction:
        """Return Eq. 6 at a minimum; the net is given its parameters."""
        self.task.assign(minimum.params)
        rate = tf.constant(1 / np.linalg.eigvalsh(minimum.hessian)[-1])

        def call():
            return self.run(data, minimum.params, minimum.targets, rate)

        timed = {}

        def work():
            started = time.perf_counter()
            scores, timed["solution"] = call()
            timed["scores"] = scores.numpy()
            timed["seconds"] = time.perf_counter() - started

        peak = _added_peak_mb(call, work)
        solution = timed["solution"]
        return Prediction(
            timed["scores"],
            STATUS[int(solution.status)],
            int(solution.iterations),
            float(solution.residual),
            timed["seconds"],
            peak,
        )

    def _run(self, data, params, targets, rate):
        rows = loss_rows(self.parameters.forward, data, targets)
        lam = parent_weights(data, data.example_weights)
        coefficients = row_coefficients(rows, row_weights(rows, lam))
        prepared = self.parameters.prepare(rows, [training_inputs(data)], coefficients)
        unroll = self._unroll(data, params, targets, rate) if self.method == "unrolled" else None
        found = influence(
            self.parameters, prepared, data.validation, self.method, self.options, unroll
        )
        count = data.unlabeled.ids.shape[0]
        return found.scores[-count:] / count, found.solution

    def _unroll(self, data, params, targets, rate):
        """Gradient descent with momentum that stays at theta*; other parameters are constants."""
        place = tf.constant(self.index[:, None])

        def step(k, state, shift):
            del k
            chosen, velocity = state
            whole = tf.tensor_scatter_nd_update(params, place, chosen)
            gradient = self.task.gradient(whole, data, targets, data.example_weights)[1]
            velocity = MOMENTUM * velocity + tf.gather_nd(gradient, place) + shift
            return chosen - rate * velocity, velocity

        def start():
            chosen = tf.gather_nd(params, place)
            return chosen, tf.zeros_like(chosen)

        return Unroll(UNROLLED_STEPS, start, step, lambda state: state[0])


def places(task: Task, parameters: str) -> np.ndarray:
    """Return where the selected parameters lie among all, [q] int32."""
    chosen = {id(variable) for variable in Network(task.model, parameters).variables}
    parts, start = [], 0
    for variable, shape in zip(task.network.variables, task.network.shapes, strict=True):
        size = int(np.prod(shape))
        parts += [np.arange(start, start + size)] if id(variable) in chosen else []
        start += size
    return np.concatenate(parts).astype(np.int32)


def dense_influence(
    task: Task, data: Data, minimum: Minimum, hessian: np.ndarray, parameters: str
) -> np.ndarray:
    """Return - grad L_S(V)^T H^-1 grad l_u / U with an explicit H [p, p], [U], by numpy."""
    index = places(task, parameters)
    validation = task.validation(minimum.params, data)[1].numpy()[index]
    rows = task.row_gradients(minimum.params, data, minimum.targets).numpy()[:, index]
    return -rows @ np.linalg.solve(hessian[np.ix_(index, index)], validation) / len(rows)


def _added_peak_mb(warm_up, work):
    try:
        return added_peak_mb(warm_up, work)
    except OSError:  # no /proc here
        warm_up()
        work()
        return None
