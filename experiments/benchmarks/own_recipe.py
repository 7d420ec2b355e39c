r"""--recipe=own of frozen nets' features beside its base, its control and labels alone.

    python -m experiments.benchmarks.own_recipe --features=fashion.npz --each=8 --unlabeled=2000

prints lines of the table of docs/own_data.md. The file is one of `extract_features`; labels, as
many of each class, and unlabeled rows are drawn by the seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from ssl_weighting import WeightedSSLClassifier
from ssl_weighting.data.features.files import read_arrays
from ssl_weighting.training.own_recipe import COMPONENTS

_RIDGES = (0.003, 0.03, 0.1, 0.3)  # of labels alone: the best one is the fairest
OURS = {"components": COMPONENTS}  # as for images and texts
METHODS = {
    **{
        f"supervised, weight decay {ridge:g}": (
            {"algorithm": "supervised"},
            OURS | {"weight_decay": ridge},
        )
        for ridge in _RIDGES
    },
    "λ = 1": ({"weighting": "fixed"}, OURS),
    "learned": ({}, OURS),
    "learned, shuffled for the refit": ({"weighting": "shuffled"}, OURS),
    "learned, on all features": ({}, {"components": 0}),
}


def draw(
    x: np.ndarray, y: np.ndarray, each: int, unlabeled: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labeled rows and their labels, and unlabeled rows.

    Args:
        x: [n, d], or [n, 1 + K, d] with K views that are left out.
        y: [n] classes.
        each: labels of a class.
        unlabeled: at most so many.
        seed: of the drawing.
    """
    x = x if x.ndim == 2 else x[:, 0]
    order = np.random.default_rng(seed).permutation(len(y))
    rows = np.concatenate([order[y[order] == c][:each] for c in np.unique(y)])
    rest = order[~np.isin(order, rows)][:unlabeled]
    return x[rows], y[rows], x[rest]


def rows(path: str, each: int, unlabeled: int, seeds: int) -> Iterator[tuple[str, list, float]]:
    """Yield method, its test errors in %, one a seed, and its CPU seconds a fit."""
    found = read_arrays(path)
    for name, (parameters, options) in METHODS.items():
        errors, started = [], time.process_time()
        for seed in range(1, seeds + 1):
            x, y, u = draw(found["x_train"], found["y_train"], each, unlabeled, seed)
            model = WeightedSSLClassifier(random_state=seed, options=options, **parameters)
            accuracy = model.fit(x, y, u).score(found["x_test"], found["y_test"])
            errors.append(100 * (1 - accuracy))
        yield name, errors, (time.process_time() - started) / seeds


def main() -> None:
    """Print one line of a Markdown table for each method."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--features", required=True, help=".npz file of extract_features")
    parser.add_argument("--each", type=int, default=8, help="labels of a class")
    parser.add_argument("--unlabeled", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("| method | test error % | of each seed | CPU s a fit |\n|---|---|---|---|")
    for name, errors, spent in rows(given.features, given.each, given.unlabeled, given.seeds):
        each = ", ".join(f"{error:.1f}" for error in errors)
        print(f"| {name} | {np.mean(errors):.1f} | {each} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
