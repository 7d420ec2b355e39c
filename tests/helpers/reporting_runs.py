"""Makes small run folders for the tests of the report: every number is chosen by the test."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

METHODS = {
    ("supervised", "fixed"): "Supervised",
    ("pseudo_label", "fixed"): "Pseudo-Label",
    ("pseudo_label", "per_example"): "Pseudo-Label + Λ",
    ("fixmatch", "fixed"): "FixMatch",
    ("fixmatch", "single"): "FixMatch + single λ",
    ("fixmatch", "per_example"): "FixMatch + Λ",
    ("fixmatch", "shuffled"): "FixMatch + shuffled Λ",
}


def evaluation(step, error, validation=None, raw=None, histogram=None):
    """One "eval" line of metrics.jsonl."""
    return {
        "kind": "eval",
        "step": step,
        "test_error": error,
        "test_loss": 0.5,
        "validation_error": error if validation is None else validation,
        "validation_loss": 0.5,
        "raw_test_error": error + 1.0 if raw is None else raw,
        "lam_histogram": histogram,
    }


def weights(n=20, wrong=(0, 1), visits=3):
    """Columns of example_weights.parquet: λ rises with the id, the named ids are wrong."""
    true = np.arange(n) % 2
    pseudo = np.where(np.isin(np.arange(n), wrong), 1 - true, true)
    return {
        "id": np.arange(n, dtype=np.int64),
        "lam": np.linspace(0.1, 2.0, n, dtype=np.float32),
        "visits": np.full(n, visits, np.int32),
        "pseudo_label": pseudo.astype(np.int32),
        "confidence": np.linspace(0.5, 1.0, n, dtype=np.float32),
        "loss": np.linspace(2.0, 0.1, n, dtype=np.float32),
        "true_label": true.astype(np.int32),
        "last_influence": np.full(n, np.nan, np.float32),
    }


def extremes(ids=((0, 1, 2), (19, 18)), channels=1, seed=0):
    """Arrays of extreme_examples.npz: 8 x 8 noise images."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (len(side), 8, 8, channels), dtype=np.uint8) for side in ids]
    down, up = (np.asarray(side) for side in ids)
    return {"down_ids": down, "down_images": images[0], "up_ids": up, "up_images": images[1]}


def snapshots(iterations=(0, 10, 20), n=40, seed=0):
    """Arrays of snapshots.npz: class 1 on the right, probability rises with x only."""
    rng = np.random.default_rng(seed)
    grid_x, grid_y = np.linspace(-2, 2, 9), np.linspace(-1, 1, 7)
    points = rng.uniform([-2, -1], [2, 1], (n, 2))
    row = 1.0 / (1.0 + np.exp(-4.0 * grid_x))
    return {
        "iterations": np.asarray(iterations),
        "grid_x": grid_x,
        "grid_y": grid_y,
        "probability": np.tile(row, (len(iterations), len(grid_y), 1)),
        "lam": 1.0 + 0.1 * rng.standard_normal((len(iterations), n)),
        "unlabeled": points,
        "unlabeled_label": (points[:, 0] > 0).astype(np.int32),
        "labeled": np.array([[-1.0, 0.0], [1.0, 0.0]]),
        "labeled_label": np.array([0, 1]),
    }


def write_run(
    root,
    name,
    *,
    algorithm="supervised",
    weighting="fixed",
    seed=1,
    error=20.0,
    as_labels=False,
    dataset="moons",
    flags=None,
    evals=None,
    lambdas=(),
    summary=None,
    config=None,
    table=None,
    images=None,
    toy=None,
):
    """Writes one finished run; `summary` and `config` override single fields of those files."""
    folder = Path(root) / name
    folder.mkdir(parents=True)
    evals = evals or [evaluation(step, error) for step in (10, 20, 40)]
    about = {"dataset": dataset, "seed": seed, "source": "made up", "deviations": []}
    stated = about | _method_fields(algorithm, weighting, as_labels) | _error_fields(evals)
    settings = {
        **about,
        "program": "train_synthetic",
        "config": {"dataset": dataset, "num_labeled": 10, "seed": seed, **(flags or {})},
        "split_hash": f"{seed:016x}",
        "versions": {"numpy": "2.4.6"},
    }
    _write_json(folder / "summary.json", stated | (summary or {}))
    _write_json(folder / "config.json", settings | (config or {}))
    lines = "".join(json.dumps(line) + "\n" for line in [*lambdas, *evals])
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    if table is not None:
        with open(folder / "example_weights.parquet", "wb") as file:
            pd.DataFrame(table).to_parquet(file, index=False)
    for file, arrays in (("extreme_examples.npz", images), ("snapshots.npz", toy)):
        if arrays is not None:
            np.savez(folder / file, **arrays)
    return folder


def _write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def _method_fields(algorithm, weighting, as_labels):
    learned = weighting in ("single", "per_example")
    return {
        "status": "complete",
        "algorithm": algorithm,
        "weighting": weighting,
        "method": METHODS[algorithm, weighting] + (" + V as labels" if as_labels else ""),
        "num_labeled": 10,
        "val_size": 30,
        "num_unlabeled": 1000,
        "validation_as_labels": as_labels,
        "steps": 40,
        "best_on_validation_is_optimistic": learned or as_labels,
        "lambda_share": 0.125 if learned else 0.0,
        "coverage": 0.9 if learned else 0.0,
        "lam_quantiles": [1.0] * 7,
        "seconds": 3.0,
    }


def _error_fields(evals):
    errors = [line["test_error"] for line in evals]
    best = min(evals, key=lambda line: line["validation_error"])
    return {
        "test_error_median20": float(np.median(errors[-20:])),
        "test_error_best_on_validation": best["test_error"],
        "test_error_last": errors[-1],
        "raw_test_error_last": evals[-1]["raw_test_error"],
    }


def write_family(root, errors, **options):
    """Writes runs of several methods; `errors` maps (algorithm, weighting) to errors by seed."""
    for (algorithm, weighting), values in errors.items():
        for seed, error in enumerate(values, start=1):
            write_run(
                root,
                f"{algorithm}-{weighting}-{seed}",
                algorithm=algorithm,
                weighting=weighting,
                seed=seed,
                error=error,
                **options,
            )
