"""RUN/scorer: what scores new examples by a finished run, as files; read without TensorFlow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.options.config import Config, config_from_json
from experiments.options.kinds import POINTS, kind_of
from experiments.runs.run_files import Count, Object, RunError, Text, Texts, read_object
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.training.recipes import TWO_VIEWS

FOLDER, FORMAT = "scorer", 1
MODEL, DIRECTION, VIEWS, SETTINGS = "model.keras", "direction.npz", "views.npz", "scorer.json"
ALGORITHMS = ("pseudo_label", "uda", "fixmatch")  # as `scoring.ALGORITHMS`
_WITH_V = "train with --validation=held_out --refit=false, --recipe=own too, for one that scores"


class Settings:
    """The fields of scorer.json."""

    format: Count
    step: Count  # theta-steps that the run took
    seed: Count  # of views
    class_names: Texts
    split_hash: Text  # of the run
    validation: Text  # SHA-256 of V, its inputs and labels
    theta: Text  # SHA-256 of the model's weights; random seeds are none
    algorithm: Object  # its `name` and settings
    influence: Object  # of `LambdaStepSettings`
    solved: Object  # how v was found: method, damping, status, iterations, validation_loss
    views: Object  # of `PileViews`
    files: Object  # name -> SHA-256 of the other files


class Recorded(NamedTuple):
    """What RUN/scorer holds beside the model."""

    folder: Path
    settings: dict[str, Any]  # of `Settings`
    direction: np.ndarray  # [p]
    anchor: list[np.ndarray]  # kernel and bias of --inner=solve's targets, or none
    views: dict[str, np.ndarray]
    digest: str  # of everything


def reason_for_none(config: Config) -> str:
    """Return why a run leaves no scorer, and what leaves one; "" if it does."""
    c = config
    if not c.learns:
        return f"--weighting={c.weighting} learns no weights by Eq. 6"
    if kind_of(c.dataset) is POINTS:
        return "its points are drawn, and no file holds others"
    if c.cross_fits:
        return f"--validation=cross_fit has several models, each with a v of its own; {_WITH_V}"
    if c.refit:
        return f"with --refit its model has learned from the labels that validated; {_WITH_V}"
    if c.validation_as_labels:
        return f"with --validation_as_labels no label is left that validates; {_WITH_V}"
    if c.algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        return f"the losses of --algorithm={c.algorithm} have several examples (of {known} one)"
    if c.algorithm == "pseudo_label" and c.preset == "released":
        return "with --preset=released a batch shares one mask"
    if c.inverse_hessian == "unrolled":
        return "--inverse_hessian=unrolled has no v of the last step"
    if c.model == "features" and c.algorithm in TWO_VIEWS and c.feature_views == "mixed":
        return "--feature_views=mixed makes views of other rows of U"
    return ""


def read_scorer(run: Path, config: Mapping[str, Any]) -> Recorded:
    """Return what a finished run left to score by, every file compared with its digest.

    Args:
        run: its folder; config: its config.json.

    Raises:
        FileNotFoundError: it left nothing; says why.
        ValueError: a file is damaged, was changed, or is of another version.
    """
    folder = run / FOLDER
    if not (folder / SETTINGS).exists():
        why = reason_for_none(config_from_json(config["config"]))
        why = why or "it is of an earlier version, or its last v was not finite"
        raise FileNotFoundError(
            f"--run must be a run that left {FOLDER}/. Received: {run}, without: {why}"
        )
    settings = read_object(folder / SETTINGS, Settings)
    if settings["format"] != FORMAT:
        raise RunError(
            f"{folder / SETTINGS} must have format {FORMAT}. Received: {settings['format']}, of "
            "another version of this package"
        )
    _check_files(folder, settings["files"])
    arrays = _arrays(folder / DIRECTION)
    v = arrays.get("v", np.zeros(0))
    if v.ndim != 1 or not v.size or v.dtype.kind != "f" or not np.isfinite(v).all():
        raise RunError(f"{folder / DIRECTION} must hold `v`, finite numbers [p]")
    anchor = [arrays[name] for name in ("anchor_kernel", "anchor_bias") if name in arrays]
    views = _arrays(folder / VIEWS) if VIEWS in settings["files"] else {}
    digest = hashlib.sha256((folder / SETTINGS).read_bytes()).hexdigest()
    return Recorded(folder, settings, v, anchor, views, digest)


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of arrays, their dtypes and their shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(json.dumps([str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _check_files(folder, files):
    for name in (MODEL, DIRECTION):
        if name not in files:
            raise RunError(f"{folder / SETTINGS} must name {name} among its `files`")
    for name, expected in files.items():
        path = folder / Path(name).name
        try:
            found = digest_of_file(path)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from error
        if found != expected:
            raise RunError(
                f"{path} must have the SHA-256 that {SETTINGS} names, {str(expected)[:12]}. "
                f"Received: {found[:12]}: it was damaged, or is of another run"
            )


def _arrays(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except DAMAGE as error:
        raise RunError(f"{path} cannot be read: {error}") from error
