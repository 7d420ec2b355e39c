"""The model of a finished run with its config.json, both checked before anything is labeled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.options.config import recorded_option
from experiments.options.kinds import KINDS, POINTS, TEXTS, Kind
from experiments.runs.record import read_config
from experiments.runs.run_files import RunError
from ssl_weighting.data.damage import DAMAGE

FILE = "model.keras"


def load_model(folder: Path) -> tuple:
    """Return the averaged model of a run and its config.json.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: the model file is damaged, config.json does not describe it, or the run's inputs
            are no images, texts or features.
    """
    for name in ("config.json", FILE, "summary.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"--run must be a finished run. Received: {folder}, without {name}."
            )
    config = read_config(folder)
    _check_config(folder, config)
    import keras  # and TensorFlow: seconds, for which no refusal above has to wait

    try:
        _check_bytes(folder / FILE)
        # safe_mode refuses anything that would have to be executed.
        model = keras.models.load_model(folder / FILE, compile=False, safe_mode=True)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder / FILE} must be a saved model: {reason}") from error
    _check_fits(folder, model, config)
    return model, config


def kind_of_run(config: Mapping[str, Any]) -> Kind:
    """Return the kind of data that a run's config.json tells of."""
    return KINDS[config["config"]["model"]]


def _check_config(folder, config):
    """Compare what labeling needs of config.json with what can be.

    Raises:
        ValueError: a field is missing or wrong, or the inputs are no images, texts or features.
    """
    recorded_option(config["config"], "model")
    for field in ("class_names", "input_shape"):
        if not config.get(field):
            raise RunError(f"{folder}/config.json must have `{field}`. Received: none")
    names, shape = config["class_names"], config["input_shape"]
    if len(set(names)) != len(names):
        raise RunError(f"{folder}/config.json must have different `class_names`. Received: {names}")
    kind = kind_of_run(config)
    if kind is POINTS or len(shape) != kind.rank:
        raise ValueError(
            f"--run must be a run on images, texts or features. Received: {folder}, trained on "
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
