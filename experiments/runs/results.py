"""What a finished run leaves behind: weights per example, pictures, the model, a summary."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import ssl_weighting
from experiments.assemble.run import Run
from experiments.options.config import options_as_json
from experiments.options.deviations import deviations
from experiments.options.effects import without_effect
from experiments.options.smoke import MARK
from experiments.pages.statistics import best_on_validation, median_of_last
from experiments.runs import extremes, machine, record, run_files
from experiments.runs.example_weights import write_example_weights
from experiments.runs.metrics import read_metrics
from experiments.runs.warnings import warnings_of
from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.files import replacing, write_atomically
from ssl_weighting.data.sources import sources_of_u
from ssl_weighting.evaluation import log_softmax
from ssl_weighting.models.split_head import mean_model

GALLERY = 24  # most down- and most up-weighted examples kept as pictures
FIRST_MOMENTS = ("lam_m", "lam_momentum")  # of M-Adam and of Adam
METHOD_NAMES = {
    "supervised": "Supervised", "pseudo_label": "Pseudo-Label", "vat": "VAT",
    "mean_teacher": "Mean-Teacher", "mixmatch": "MixMatch", "uda": "UDA",
    "remixmatch": "ReMixMatch", "fixmatch": "FixMatch",
}  # fmt: skip
WEIGHTING_NAMES = {
    "fixed": "", "zero": " + λ = 0", "single": " + single λ", "per_example": " + Λ",
    "shuffled": " + shuffled Λ", "random": " + random Λ", "confidence": " + confidence",
    "oracle": " + oracle",
}  # fmt: skip


def method_name(config) -> str:
    """Return the row label of a run, such as "FixMatch + Λ"."""
    name = METHOD_NAMES[config.algorithm] + WEIGHTING_NAMES[config.weighting]
    name += " + cross-fit" if config.cross_fits else ""
    if config.refit:
        name += " + refit" if config.learns else " + all labels"
    name += " + V as labels" if config.labels_all else ""
    return f"{MARK} {name}" if config.smoke else name


def write_config(run: Run, program: str) -> dict:
    """Write config.json: all options, the data source, the split hash, the versions; return it.

    And skipped.csv: what could not be read and was left out.
    """
    content = {
        "program": program,
        "config": options_as_json(run.config),
        "without_effect": without_effect(run.config),
        "dataset": run.splits.name,
        "class_names": list(run.splits.class_names),
        "class_counts": _class_counts(run.splits),
        "source": run.splits.source,
        "split_hash": run.splits.split_hash,
        "split_without_u": run.splits.hash_without_u,
        "inputs": dict(run.inputs),
        "input_shape": list(run.splits.labeled.inputs.shape[1:]),
        "deviations": deviations(run.config),
        "commit": code_commit(),
        "notes": list(run.splits.notes),
        "versions": {
            "ssl_weighting": ssl_weighting.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "machines": _machines(run),
    }
    out = Path(run.config.out)
    record.write_config(out, content)
    if run.splits.skipped:
        write_atomically(out / "skipped.csv", csv_of([("name", "problem"), *run.splits.skipped]))
    return content


def _class_counts(splits):
    """Return set -> examples of each class; of U the labels are not for the run to know."""
    sets = {p: getattr(splits, p).labels for p in ("labeled", "validation", "test")}
    return {p: np.bincount(x, minlength=splits.num_classes).tolist() for p, x in sets.items()}


def _machines(run):
    """Return the machines of the run; one on which no step is left to take is none of them."""
    out, step = Path(run.config.out), run.trainer.step
    return (
        machine.continued(out, step) if step < run.config.total_steps else machine.machines_of(out)
    )


@functools.cache  # of the code that this process has loaded
def code_commit():
    """Return the code's commit, with -dirty behind it where files differ; "" outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_results(run: Run, seconds: float, lambda_share: float) -> dict:
    """Write example_weights.parquet, extreme_examples.npz, model.keras and last summary.json."""
    out = Path(run.config.out)
    if run.config.uses_unlabeled:
        table = example_table(run)
        write_example_weights(out / "example_weights.parquet", table)
        if run.splits.unlabeled.inputs.ndim == 4:
            _write_extremes(run, table, out / "extreme_examples.npz")
    _save_averaged_model(run, out / "model.keras")
    summary = _summary(run, seconds, lambda_share)
    summary["warnings"] = warnings_of(run.config, record.read_config(out), summary)
    record.write_summary(out, summary)
    return summary


def example_table(run: Run) -> dict:
    """Return columns [|U|], one entry per unlabeled id: lambda, what the averaged model says.

    loss is the cross-entropy of one strong view against the clean view's pseudo-label.
    """
    store, unlabeled = run.trainer.store, run.splits.unlabeled
    log_p = log_softmax(run.evaluator.logits(unlabeled.inputs))
    pseudo = log_p.argmax(axis=1)
    groups = {} if run.splits.groups is None else {"group": list(run.splits.groups)}
    if unlabeled.texts is not None:
        groups["text"] = list(unlabeled.texts)
    elif texts := getattr(run.splits, "texts", {}):  # of features by a backbone
        groups["text"] = [texts[name] for name in unlabeled.names]
    source = sources_of_u(run.splits)
    return {
        "id": np.arange(len(pseudo)),
        "name": unlabeled.names,
        "source": source,
        "labeled": source == "labeled",
        "lam": store.table().numpy(),
        "visits": store.visits.numpy(),
        "pseudo_label": pseudo,
        "confidence": np.exp(log_p.max(axis=1)),
        "loss": _strong_view_loss(run, pseudo),
        "true_label": unlabeled.labels,
        "last_influence": store.last_influence.numpy(),
        "influence": _influence(store),
        **influence_columns(store),
        **groups,
    }


def influence_columns(store) -> dict:
    """Return each example's mean influence a visit, its error, and whether it is a suspect."""
    mean, error = store.influence_per_visit()
    return {"influence_mean": mean, "influence_error": error, "suspect": store.suspects()}


def _influence(store):
    """Return the influences of each example so far, [|U|]: their decayed sum, Adam's first moment.

    SGD keeps none: there it is the last one.
    """
    moments = (v for v in store.variables if v.path.endswith(FIRST_MOMENTS))
    found = next(moments, store.last_influence)
    return np.broadcast_to(found.numpy(), [store.num_unlabeled]).astype(np.float64)


def _strong_view_loss(run, pseudo):
    """Pass over U once in id order, each example under one strong augmentation."""
    loss = np.empty(len(pseudo), np.float32)
    size = run.evaluator.batch_size
    for start in range(0, len(pseudo), size):
        ids = np.arange(start, min(start + size, len(pseudo)))
        views = run.trainer.source.strong_views(ids).numpy()
        log_p = log_softmax(run.evaluator.logits(views, preprocessed=True))
        loss[ids] = -log_p[np.arange(len(ids)), pseudo[ids]]
    return loss


def _write_extremes(run, table, path):
    init, images = run.config.lambda_init, run.splits.unlabeled.inputs
    down, up = (extremes.ranked(table, init, side)[:GALLERY] for side in ("down", "up"))
    run_files.write_extreme_examples(path, (down, images[down], up, images[up]))


def _save_averaged_model(run, path):
    members = run.trainer.members
    variables = [v for t in members for v in t.ema.averaged]
    averages = [v for t in members for v in t.ema.variables]
    raw = [np.array(v.value) for v in variables]
    for variable, average in zip(variables, averages, strict=True):
        variable.assign(average.value)
    try:
        with replacing(path) as temporary:
            mean_model([t.model for t in members]).save(temporary)
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


def _summary(run, seconds, lambda_share):
    c, splits, store = run.config, run.splits, run.trainer.store
    evals, _, learning = read_metrics(Path(c.out) / "metrics.jsonl")
    return {
        "status": record.COMPLETE,
        "smoke": c.smoke,
        "dataset": splits.name,
        "source": splits.source,
        "algorithm": c.algorithm,
        "weighting": c.weighting,
        "method": method_name(c),
        "seed": c.seed,
        "num_labeled": len(splits.labeled.labels),
        "val_size": len(splits.validation.labels),
        "num_unlabeled": len(splits.unlabeled.labels),
        "validation_as_labels": c.labels_all,
        "steps": c.steps,
        "devices": run.trainer.devices.count,
        "test_error_median20": median_of_last(evals, 20),
        "test_error_best_on_validation": best_on_validation(evals),
        "best_on_validation_is_optimistic": store.learns or c.labels_all,
        **_single_error(evals),
        **_before_refit(run.learning, learning),
        "test_error_last": evals[-1]["test_error"],
        "raw_test_error_last": evals[-1]["raw_test_error"],
        "lambda_share": lambda_share,
        "seconds": seconds,
        "deviations": deviations(c),
        **weight_statistics(store),
        **_by_group(run),
    }


def _single_error(evals):
    """Return the mean error of a cross-fit run's single models; the run's is their ensemble's."""
    if "single_test_error" not in evals[-1]:
        return {}
    return {"single_test_error_median20": median_of_last(evals, 20, "single_test_error")}


def _before_refit(run, evals):
    """Return what is to say of what learned the Lambda of a refit, one model or an ensemble."""
    if run is None:
        return {}
    found = {
        "method": method_name(run.config),
        "num_labeled": len(run.splits.labeled.labels),
        "validation_as_labels": run.config.labels_all,
        "split_hash": run.splits.split_hash,
        "split_without_u": run.splits.hash_without_u,
        "test_error_median20": median_of_last(evals, 20),
        "test_error_best_on_validation": best_on_validation(evals),
        "test_error_last": evals[-1]["test_error"],
        "raw_test_error_last": evals[-1]["raw_test_error"],
        **_single_error(evals),
    }
    return {"before_refit": found}


def _by_group(run):
    """Return lambda of each known group of U: mean over all and over the moved ones."""
    if run.splits.groups is None or not run.config.uses_unlabeled:
        return {}
    groups, store = np.array(run.splits.groups), run.trainer.store
    lam, moved = store.table().numpy().astype(np.float64), store.visits.numpy() > 0
    found = {}
    for name in dict.fromkeys(run.splits.groups):
        of_group, seen = groups == name, (groups == name) & moved
        found[name] = {
            "count": int(of_group.sum()),
            "moved": int(seen.sum()),
            "lam_mean": float(lam[of_group].mean()),
            "lam_mean_of_moved": float(lam[seen].mean()) if seen.any() else None,
        }
    return {"lam_by_group": found}


def weight_statistics(store) -> dict:
    """Return lambda's quantiles and mean and the share of ids that have been moved."""
    lam, visits = store.table().numpy().astype(np.float64), store.visits.numpy()
    return {
        "lam_quantiles": [float(q) for q in np.quantile(lam, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])],
        "lam_mean": float(lam.mean()),
        "coverage": float((visits > 0).mean()),
    }
