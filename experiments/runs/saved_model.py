"""The model of a finished run with its config.json, both checked before anything is labeled."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options.config import recorded_option
from experiments.options.kinds import FEATURE_ROWS, IMAGES, KINDS, TEXTS, Kind
from experiments.runs.record import read_config
from experiments.runs.run_files import RunError
from ssl_weighting.data.damage import DAMAGE

if TYPE_CHECKING:
    import keras

FILE = "model.keras"


def read_run(folder: Path, kinds: Collection[Kind] = (IMAGES, TEXTS, FEATURE_ROWS)) -> dict:
    """Return config.json of a finished run, checked without reading its model.

    Args:
        folder: of the run.
        kinds: of data that it may have been trained on.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: config.json cannot be, or the run's inputs are of another kind.
    """
    for name in ("config.json", FILE, "summary.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"--run must be a finished run. Received: {folder}, without {name}."
            )
    config = read_config(folder)
    _check_config(folder, config, kinds)
    return config


def load_model(folder: Path, config: Mapping[str, Any]) -> keras.Model:
    """Return the averaged model of a run.

    Args:
        folder: of the run.
        config: as of `read_run`.

    Raises:
        ValueError: the model file is damaged, or config.json does not describe it.
    """
    import keras  # and TensorFlow: seconds, for which no refusal by `read_run` has to wait

    try:
        _check_bytes(folder / FILE)
        # safe_mode refuses anything that would have to be executed.
        model = keras.models.load_model(folder / FILE, compile=False, safe_mode=True)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder / FILE} must be a saved model: {reason}") from error
    _check_fits(folder, model, config)
    return model


def kind_of_run(config: Mapping[str, Any]) -> Kind:
    """Return the kind of data that a run's config.json tells of."""
    return KINDS[config["config"]["model"]]


def _check_config(folder, config, kinds):
    """Compare what labeling needs of config.json with what can be.

    Raises:
        ValueError: a field is missing or wrong, or the inputs are of none of `kinds`.
    """
    recorded_option(config["config"], "model")
    for field in ("class_names", "input_shape"):
        if not config.get(field):
            raise RunError(f"{folder}/config.json must have `{field}`. Received: none")
    names, shape = config["class_names"], config["input_shape"]
    if len(set(names)) != len(names):
        raise RunError(f"{folder}/config.json must have different `class_names`. Received: {names}")
    kind = kind_of_run(config)
    if kind not in kinds or len(shape) != kind.rank:
        *first, last = (one.rows for one in kinds)
        raise ValueError(
            f"--run must be a run on {', '.join(first)} or {last}. Received: {folder}, trained on "
            f"{config.get('dataset')} with inputs of shape {shape}"
        )


def _check_bytes(path):
    """Compare every byte with its checksum, which Keras does not.

    Raises:
        ValueError: they differ. And what zipfile raises for damage, one of `DAMAGE`.
    """
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"its part {damaged} is damaged")


def _check_fits(folder, model, config):
    """Compare the model with config.json: somebody may have edited it, or put another model there.

    Raises:
        RunError: they do not belong together.
    """
    outputs = model.output if isinstance(model.output, dict) else {}
    if "logits" not in outputs or not isinstance(model.input_shape, tuple):
        raise RunError(
            f"{folder / FILE} must be a model of one input, with an output `logits`. "
            f"Received: outputs {list(outputs)}"
        )
    classes, names = outputs["logits"].shape[-1], config["class_names"]
    if classes != len(names):
        raise RunError(
            f"{folder}/config.json must name the {classes} classes of {FILE}. "
            f"Received: {len(names)} `class_names`"
        )
    # Where layers of a BERT are frozen, the model takes their outputs in place of tokens.
    shape, expected = model.input_shape[1:], tuple(config["input_shape"])
    deeper = len(shape) - len(expected)
    if shape[: len(expected)] != expected or deeper > (kind_of_run(config) is TEXTS):
        raise RunError(
            f"{folder}/config.json must have the `input_shape` of {FILE}, {list(shape)}. "
            f"Received: {list(expected)}"
        )
