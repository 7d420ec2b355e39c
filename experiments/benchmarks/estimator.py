r"""`WeightedSSLClassifier` beside scikit-learn's own, on the digits that scikit-learn ships.

    python -m experiments.benchmarks.estimator --seeds=5

prints the table of docs/estimator.md. Features are pixels; 40 % of the rows test. Settings: clean,
all ten digits with four labels each; foreign, four labels of each digit from 0 to 4, and half of
the unlabeled rows are other digits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from ssl_weighting import WeightedSSLClassifier

LABELS_OF_A_CLASS, TEST_SHARE, FOREIGN_FROM = 4, 0.4, 5
SETTINGS = ("clean", "foreign")
Fit = Callable[[np.ndarray, np.ndarray, int], object]  # (x, y with -1, seed) -> fitted


def split(setting: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x [n, 64], y [n] with -1 where it is hidden, and x and y of the test rows."""
    x, y = load_digits(return_X_y=True)
    how = {"test_size": TEST_SHARE, "stratify": y, "random_state": seed}
    x, x_test, truth, y_test = train_test_split(x, y, **how)
    classes = FOREIGN_FROM if setting == "foreign" else 10
    y, rng = np.full(len(truth), -1), np.random.default_rng(seed)
    for c in range(classes):
        rows = rng.permutation(np.flatnonzero(truth == c))[:LABELS_OF_A_CLASS]
        y[rows] = c
    known = y_test < classes
    return x, y, x_test[known], y_test[known]


def _logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _ours(**parameters) -> Fit:
    return lambda x, y, seed: WeightedSSLClassifier(random_state=seed, **parameters).fit(x, y)


METHODS: dict[str, Fit] = {
    "LogisticRegression, labels alone": lambda x, y, seed: _logistic().fit(x[y >= 0], y[y >= 0]),
    "SelfTrainingClassifier(LogisticRegression)": lambda x, y, seed: SelfTrainingClassifier(
        _logistic()
    ).fit(x, y),
    'WeightedSSLClassifier(algorithm="supervised")': _ours(algorithm="supervised"),
    'WeightedSSLClassifier(weighting="fixed")': _ours(weighting="fixed"),
    "WeightedSSLClassifier()": _ours(),
}


def rows(seeds: int) -> Iterator[tuple[str, str, list[float], float]]:
    """Yield setting, method, its test errors in % and its CPU seconds a fit."""
    for setting in SETTINGS:
        for name, fit in METHODS.items():
            errors, started = [], time.process_time()
            for seed in range(seeds):
                x, y, x_test, y_test = split(setting, seed)
                errors.append(100 * (1 - fit(x, y, seed).score(x_test, y_test)))
            yield setting, name, errors, (time.process_time() - started) / seeds


def main() -> None:
    """Print one line of a Markdown table for each setting and method."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    print("| setting | method | test error % | ± | CPU s a fit |\n|---|---|---|---|---|")
    for setting, name, errors, seconds in rows(seeds):
        half = 2 * np.std(errors, ddof=1) / np.sqrt(seeds)  # two standard errors
        line = f"| {setting} | `{name}` | {np.mean(errors):.1f} | {half:.1f} | {seconds:.1f} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
