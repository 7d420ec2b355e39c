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
from experiments.runs import extremes, image_reading, machine, record, run_files
from experiments.runs.example_blocks import example_blocks, lam_by_group, weight_statistics
from experiments.runs.example_weights import write_example_weights
from experiments.runs.metrics import read_metrics
from experiments.runs.scorer import write_scorer
from experiments.runs.warnings import warnings_of
from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.files import replacing, write_atomically
from ssl_weighting.models.split_head import mean_model

GALLERY = 24  # most down- and most up-weighted examples kept as pictures
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
        image_reading.FIELD: image_reading.image_reading(run.config, run.splits),
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
    """Write Lambda, extreme examples, model.keras and scorer/, and last summary.json."""
    out = Path(run.config.out)
    if run.config.uses_unlabeled:
        init = run.config.lambda_init
        sides = [extremes.Extremes(init, side, GALLERY) for side in ("down", "up")]
        blocks = _seen_by(sides, example_blocks(run))
        write_example_weights(out / "example_weights.parquet", blocks)
        if run.splits.unlabeled.inputs.ndim == 4:
            _write_extremes(run, sides, out / "extreme_examples.npz")
    _save_averaged_model(run, out / "model.keras")
    write_scorer(run)
    summary = _summary(run, seconds, lambda_share)
    summary["warnings"] = warnings_of(run.config, record.read_config(out), summary)
    record.write_summary(out, summary)
    return summary


def _seen_by(sides, blocks):
    for block in blocks:
        for side in sides:
            side.add(block)
        yield block


def _write_extremes(run, sides, path):
    images, (down, up) = run.splits.unlabeled.inputs, (side.rows() for side in sides)
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
        **weight_statistics(store, exact=True),
        **lam_by_group(run),
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
