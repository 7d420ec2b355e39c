"""Write a run's model for programs that do not know this one: .keras, SavedModel, class names."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from experiments.serving.picture_graph import decode_pictures
from experiments.serving.places import CLASSES, MODEL, SAVED_MODEL, TOKENIZER
from experiments.serving.portable import PROBABILITIES, Portable
from ssl_weighting.data.files import replacing_folder, write_atomically

ARRAYS, BYTES = "serving_default", "encoded"  # names of signatures


def write_export(out: Path, run: str, found: Portable, config: Mapping[str, Any]) -> None:
    """Write the folder of an export; an earlier one is replaced once this one is whole.

    Args:
        out: the folder.
        run: what the run is called.
        found: its model.
        config: as of `read_run`.

    Raises:
        OSError: it cannot be written.
    """
    about = described(run, found, config)
    with replacing_folder(out) as temporary:
        found.model.save(temporary / MODEL)
        write_saved_model(temporary / SAVED_MODEL, found, config["class_names"])
        write_atomically(temporary / CLASSES, json.dumps(about, indent=1, ensure_ascii=False))
        if found.encode is not None:
            write_atomically(temporary / TOKENIZER, found.encode.to_json())


def described(run: str, found: Portable, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user of the model must know, as JSON has it."""
    inputs = found.model.inputs[0]
    about = {
        "class_names": list(config["class_names"]),
        "inputs": {
            "kind": inputs.name,
            "shape": [None, *inputs.shape[1:]],
            "dtype": keras.backend.standardize_dtype(inputs.dtype),
        },
        "run": run,
    }
    if found.picture is not None:
        about["inputs"]["files"] = list(found.picture)
    return about


def write_saved_model(folder: Path, found: Portable, class_names: list[str]) -> None:
    """Write a TensorFlow SavedModel with the signature `ARRAYS`, and `BYTES` where it fits.

    Each returns "probabilities" [n, C] float32, "class_names" [n, C] in their order, and
    "class_name" [n], the likeliest. `BYTES` takes "image_bytes" [n]: files' contents.

    Args:
        folder: to write.
        found: the model.
        class_names: C.
    """
    model, (inputs,) = found.model, found.model.inputs
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype, inputs.name)
    archive.add_endpoint(ARRAYS, lambda x: _answers(model(x), class_names), [spec])
    if found.picture is not None:
        archive.add_endpoint(
            BYTES,
            lambda encoded: _answers(model(decode_pictures(encoded, found.picture)), class_names),
            [tf.TensorSpec([None], tf.string, "image_bytes")],
        )
    with _quiet("absl", "tensorflow"):
        archive.write_out(str(folder), verbose=False)


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let these loggers tell of nothing less than warnings."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def _answers(p, class_names):
    names = tf.constant(class_names)
    return {
        PROBABILITIES: p,
        "class_name": tf.gather(names, tf.argmax(p, axis=1)),
        "class_names": tf.repeat(names[tf.newaxis], tf.shape(p)[0], axis=0),
    }
