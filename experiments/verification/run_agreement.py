"""One run's influences against retraining: its own head, its own Eq. 6, its own last pseudo-labels.

For runs whose head is solved exactly (--inner=solve). The truth comes from numpy alone: the head is
solved again with one example's weight a little larger and a little smaller.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.special
import tensorflow as tf

from experiments.assemble.build import build, load_splits
from experiments.options.config import Config, config_from_json
from experiments.runs.image_reading import as_read
from experiments.runs.record import read_run
from ssl_weighting.losses import targets_of
from ssl_weighting.objective import row_coefficients
from ssl_weighting.theta.convex_head import Problem
from ssl_weighting.training.solved import SOLVE

DELTA = 0.05  # of lambda; half of it too, and what the two say must agree
GOAL, AIM, STEPS = 1e-9, 1e-12, 50  # of ||gradient||: what counts, what is aimed at; steps to it
AGREEMENT, NOISE = 0.02, 1e-11  # of two changes: relative; absolute, what rounding leaves
_LEAST = 1e-10  # of the largest curvature: below it a direction has none, and no loss sees it


class Compared(NamedTuple):
    """What was found of the sampled ids whose retraining is sound."""

    ids: np.ndarray  # [n] int64
    scores: np.ndarray  # [n] Eq. 6, as the run computes it
    truth: np.ndarray  # [n] d L_S(V) / d lambda_u, from retraining
    unsound: int  # how many others were sampled


def compared(folder: Path, sampled: int, cache: str | None) -> Compared:
    """Compare the influences of a run at its end with retraining.

    The part of the run that learns is trained again, which takes seconds and gives the same bits on
    the same kind of machine: a refit's checkpoint has forgotten it. That it is the same is checked
    by Lambda.

    Args:
        folder: of a finished run.
        sampled: how many ids of U, drawn by the run's seed.
        cache: where prepared data lies.

    Raises:
        FileNotFoundError: no finished run lies there.
        ValueError: it is a run of another kind, or does not give the same Lambda again.
    """
    found = read_run(folder)
    if found is None:
        raise FileNotFoundError(f"--runs must hold finished runs. Received: {folder}, which is not")
    config = config_from_json(found.config["config"])
    check(config, folder)
    splits = load_splits(as_read(config, Path(folder)), cache)
    run = build(dataclasses.replace(config, refit=False), splits)
    for _ in run.trainer.steps(config.steps):
        pass
    lam = run.trainer.store.table().numpy()
    if not np.allclose(lam, found.weights["lam"], rtol=1e-3, atol=1e-3):
        worst = np.abs(lam - found.weights["lam"]).max()
        raise ValueError(
            f"{folder}: the run must give the same weights again. Received: weights that differ by "
            f"up to {worst:.2g}. Compare on the machine, and with the code, that made it"
        )
    return compared_at(run.trainer, sampled, config.seed)


def check(config: Config, folder: Path | str) -> None:
    """Refuse a run that this cannot examine, by name.

    Raises:
        ValueError: its head is not solved exactly, it learned nothing, or not on a held-out V.
    """
    fits = config.inner == SOLVE and config.weighting == "per_example"
    if not fits or config.validation != "held_out":
        raise ValueError(
            "A run must have learned a weight for each example on a held-out V, its head solved "
            f"exactly. Received: {folder} with --inner={config.inner} "
            f"--weighting={config.weighting} --validation={config.validation}"
        )


def compared_at(trainer, sampled: int, seed: int) -> Compared:
    """Return Eq. 6 and the truth of some ids where a trainer with exact theta-steps stands.

    Args:
        trainer: `BilevelTrainer`; its next Lambda-step is measured, and not applied.
        sampled: how many ids are drawn of those whose rows count; seed: by which.
    """
    measured = trainer.measure()
    scores = dict(zip(measured.ids.numpy().tolist(), measured.lam_gradient.numpy(), strict=True))
    problem, base, parents = _objective(trainer)
    known = np.unique(parents[(parents >= 0) & (base != 0)])
    rng = np.random.default_rng([seed, 2])
    ids = np.sort(rng.choice(known, min(sampled, len(known)), replace=False))
    validation = trainer.validation_at(tf.constant(trainer.lambda_steps, tf.int64))
    head = Head(problem, trainer.theta.theta, _extended(trainer, validation))
    changes = [head.change(np.where(parents == u, base, 0.0)) for u in ids]
    sound = np.array([one is not None for one in changes], bool)
    truth = np.array([one for one in changes if one is not None])
    eq6 = np.array([scores[u] for u in ids[sound].tolist()])
    return Compared(ids[sound], eq6, truth, int((~sound).sum()))


def _objective(trainer):
    """Return the round's `Problem`, and each row's coefficient at lambda = 1 and its id [R]."""
    batch = trainer.lambda_source.at(tf.constant(trainer.lambda_steps, tf.int64))
    step = tf.constant(trainer.step, tf.int64)
    rows = trainer.algorithm(lambda x, **_: trainer.parameters.forward(x), *batch, step)
    base = row_coefficients(rows, None).numpy().astype(np.float64)
    targets = targets_of(rows.loss_of_logits)[0].numpy().astype(np.float64)
    parents, lam = rows.ids.numpy()[:, 0], trainer.store.table().numpy().astype(np.float64)
    weights = np.where(parents >= 0, lam[parents], 1.0)
    features = _with_one(rows.features)
    return Problem(features, targets, base * weights, trainer.theta.decay), base, parents


def _extended(trainer, validation):
    return _with_one(trainer.parameters.forward(validation.inputs)["features"]), validation.label


def _with_one(features):
    found = features.numpy().astype(np.float64)
    return np.concatenate([found, np.ones([len(found), 1])], axis=1)


class Head:
    """A head at its minimum, which is solved again under other coefficients.

    Steps of the chord method, theta <- theta - M^-1 grad, with M the Hessian at the minimum.

    Args:
        problem: the objective.
        theta: [d + 1, C], where the run left it, in float32.
        validation: V as the head sees it, [n, d + 1] with a trailing 1, and its labels [n].

    Raises:
        ValueError: no minimum is near `theta`.
    """

    def __init__(self, problem: Problem, theta: np.ndarray, validation: tuple):
        self.problem = problem
        self.inputs, self.labels = validation[0], np.asarray(validation[1])
        self._factor(theta)
        self.theta, norm = self._solved(problem, theta)
        if not norm < GOAL:
            raise ValueError(f"The head must be at its minimum. Received: ||gradient|| {norm:.2g}")
        self._factor(self.theta)

    def change(self, direction: np.ndarray) -> float | None:
        """Return d L_S(V) along a change of the coefficients [R]; None: two steps disagree."""
        wide, narrow = (self._difference(direction, delta) for delta in (DELTA, DELTA / 2))
        if wide is None or narrow is None:
            return None
        return narrow if abs(wide - narrow) <= max(AGREEMENT * abs(narrow), NOISE) else None

    def _difference(self, direction, delta):
        ends = []
        for sign in (1, -1):
            moved = self.problem.coefficients + sign * delta * direction
            theta, norm = self._solved(self.problem._replace(coefficients=moved), self.theta)
            ends.append(self._loss(theta))
            if not norm < GOAL:
                return None
        return (ends[0] - ends[1]) / (2 * delta)

    def _solved(self, problem, theta):
        best, least = theta, np.inf
        for _ in range(STEPS):
            gradient = problem.value_and_gradient(theta)[1]
            norm = float(np.linalg.norm(gradient))
            if not norm < least:
                break
            best, least = theta, norm
            if norm < AIM:
                break
            step = self.vectors @ ((self.vectors.T @ gradient.ravel()) / self.values)
            theta = theta - step.reshape(theta.shape)
        return best, least

    def _factor(self, theta):
        values, vectors = scipy.linalg.eigh(_hessian(self.problem, theta))
        curved = values > _LEAST * values[-1]  # one number for all logits changes no loss
        self.values, self.vectors = values[curved], vectors[:, curved]

    def _loss(self, theta):
        z = self.inputs @ theta
        own = z[np.arange(len(z)), self.labels]
        return float(np.mean(scipy.special.logsumexp(z, axis=1) - own))


def _hessian(problem, theta):
    """Return the Hessian [(d + 1) C, (d + 1) C] in the order of theta.ravel()."""
    x, p = problem.features, scipy.special.softmax(problem.features @ theta, axis=1)
    d, classes = theta.shape
    found = np.zeros([d, classes, d, classes])
    for a in range(classes):
        for b in range(classes):
            inner = problem.coefficients * p[:, a] * ((a == b) - p[:, b])
            found[:, a, :, b] = (x * inner[:, None]).T @ x
        found[:, a, :, a] += np.diag(problem.decay)
    return found.reshape(d * classes, d * classes)
