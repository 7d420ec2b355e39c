"""One problem, some seeds: every method beside the dense solve and beside retraining."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.verification import predict
from experiments.verification.minimise import GOAL, Minimum, minimum_of
from experiments.verification.predict import PARAMETERS, VARIANTS, Prediction, Predictor
from experiments.verification.problems import Data, Problem
from experiments.verification.retrain import Retrained, retrain
from experiments.verification.task import Task

RESAMPLES = 1000
SHUFFLED_BOUND = 0.2  # over three standard deviations of 3 x 100 ids


class Seed(NamedTuple):
    """What one seed found; predictions and dense solves by (parameters, name)."""

    minimum: Minimum
    frozen: Retrained  # of n ids
    live: Retrained
    predictions: dict[tuple[str, str], Prediction]
    dense: dict[tuple[str, str], np.ndarray]  # (parameters, kind of curvature) -> [U]


class Row(NamedTuple):
    """A method on a selection of parameters: means over seeds, of the ids retrained soundly."""

    parameters: str
    name: str
    relative_error: float  # largest over seeds, against the dense solve with its curvature
    pearson: float
    spearman: float
    low: float  # 95 % bootstrap interval of `spearman`, over ids within each seed
    high: float
    live: float  # Spearman, live targets
    shuffled: float  # Spearman, ids shuffled
    statuses: tuple[str, ...]
    iterations: float
    seconds: float
    peak_mb: float | None


class Comparison(NamedTuple):
    """Everything about one problem."""

    problem: Problem
    size: int  # p
    seeds: tuple[Seed, ...]
    rows: tuple[Row, ...]
    untrained: tuple[int, ...]  # seeds whose training did not end at a minimum; others took over

    @property
    def sound(self) -> tuple[float, float]:
        """Shares of ids whose retraining is sound, frozen and live."""
        parts = [[getattr(s, kind).sound for s in self.seeds] for kind in ("frozen", "live")]
        return tuple(float(np.mean(part)) for part in parts)


def compare(
    problem: Problem, seeds: int, ids: int, unlabeled: int, say: Callable[[str], object]
) -> Comparison:
    """Train, retrain and predict for the first seeds whose training ends at a minimum.

    Args:
        seeds: how many; three times as many are tried.
        problem: one of `PROBLEMS` or `FEATURES`.
        ids: how many unlabeled examples are retrained; unlabeled: U, of how many.
        say: told how far it is.
    """
    task = Task(problem)
    # Methods with the most work compile once, not once a seed.
    predictors = {(p, v.name): Predictor(task, p, v) for p in PARAMETERS for v in VARIANTS}
    found, untrained = [], []
    for seed in range(3 * seeds):
        data = problem.data(seed, unlabeled)
        say(f"{problem.name}, seed {seed}: training {task.size} parameters")
        minimum = minimum_of(task, data, task.restart(seed, data))
        say(f"  ||gradient|| {minimum.norm:.1e}, minimum: {minimum.definite}")
        if not minimum.trained:
            untrained.append(seed)
            continue
        chosen = np.arange(ids)  # the images were drawn at random
        frozen = retrain(task, data, minimum, chosen, say=lambda text: say(f"  {text}"))
        live = retrain(task, data, minimum, chosen, live=True, say=lambda text: say(f"  {text}"))
        predictions = {}
        for key, predictor in predictors.items():
            predictions[key] = predictor(data, minimum)
        say(f"  {len(predictions)} predictions made")
        found.append(Seed(minimum, frozen, live, predictions, _dense(task, data, minimum)))
        if len(found) == seeds:
            break
    if not found:
        raise RuntimeError(f"{problem.name}: none of {3 * seeds} trainings ended at a minimum")
    rows = tuple(_row(found, *key) for key in predictors)
    return Comparison(problem, task.size, tuple(found), rows, tuple(untrained))


def _dense(task: Task, data: Data, minimum: Minimum):
    lam = data.example_weights
    gauss_newton = task.gauss_newton(minimum.params, data, minimum.targets, lam).numpy()
    kinds = {"hessian": minimum.hessian, "gauss_newton": gauss_newton}
    return {
        (parameters, kind): predict.dense_influence(task, data, minimum, matrix, parameters)
        for kind, matrix in kinds.items()
        for parameters in PARAMETERS
    }


def _row(seeds: list[Seed], parameters: str, name: str) -> Row:
    key = (parameters, name)
    kind = next(v.kind for v in VARIANTS if v.name == name)
    predictions = [s.predictions[key] for s in seeds]
    errors = [
        relative_error(p.scores, s.dense[parameters, kind])
        for p, s in zip(predictions, seeds, strict=True)
    ]
    pairs = [soundly(s.frozen, p.scores) for p, s in zip(predictions, seeds, strict=True)]
    live = [soundly(s.live, p.scores) for p, s in zip(predictions, seeds, strict=True)]
    peaks = [p.peak_mb for p in predictions if p.peak_mb is not None]
    return Row(
        parameters,
        name,
        max(errors),
        float(np.mean([correlation(stats.pearsonr, *pair) for pair in pairs])),
        mean_spearman(pairs),
        *interval(pairs),
        mean_spearman(live),
        shuffled(pairs),
        tuple(sorted({p.status for p in predictions})),
        float(np.mean([p.iterations for p in predictions])),
        float(np.median([p.seconds for p in predictions])),
        max(peaks, default=None),
    )


def soundly(retrained: Retrained, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and truth [m] of the ids whose retraining is sound."""
    sound = retrained.sound
    return scores[: len(sound)][sound], retrained.changes[sound]


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return ||found - expected|| / ||expected||."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def correlation(measure, a: np.ndarray, b: np.ndarray) -> float:
    """Return a scipy correlation; NaN for fewer than three pairs or where one side is constant."""
    if len(a) < 3 or not np.isfinite(a).all() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(measure(a, b).statistic)


def mean_spearman(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean over seeds."""
    return float(np.mean([correlation(stats.spearmanr, *pair) for pair in pairs]))


def interval(pairs) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of `mean_spearman`."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        drawn = [rng.integers(0, len(a), len(a)) for a, _ in pairs]
        again = [(a[d], b[d]) for (a, b), d in zip(pairs, drawn, strict=True)]
        means.append(mean_spearman(again))
    return tuple(float(q) for q in np.quantile(means, [0.025, 0.975]))


def shuffled(pairs) -> float:
    """Return the correlation of predictions whose ids were shuffled once a seed: the control."""
    rng = np.random.default_rng(1)
    return mean_spearman([(rng.permutation(a), b) for a, b in pairs])


def misses(found: Comparison) -> list[str]:
    """Return what was promised of this problem and does not hold."""
    rows = {(row.parameters, row.name): row for row in found.rows}
    checks = {}
    checks["retraining sound for 95 % of the ids"] = found.sound[0] >= 0.95
    least = found.problem.least
    if least is not None:
        text = f"every seed trained below {GOAL}; not so: {found.untrained}"
        checks[text] = not found.untrained
        for name in ("exact", "conjugate_gradient"):
            error = rows["all", name].relative_error
            checks[f"{name}: relative error {error:.1e} <= 1e-6"] = error <= 1e-6
            spearman = rows["all", name].spearman
            checks[f"{name}: Spearman {spearman:.4f} >= {least}"] = spearman >= least
        exact = rows["all", "exact"]
        text = f"shuffled ids: |Spearman {exact.shuffled:.3f}| <= {SHUFFLED_BOUND}"
        checks[text] = abs(exact.shuffled) <= SHUFFLED_BOUND
    return [f"{found.problem.name}: {text}" for text, holds in checks.items() if not holds]
