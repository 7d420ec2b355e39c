"""Label new images, texts or features with the model of a finished run.

    python -m experiments.predict --run=results/runs/mine --input=folder:PATH --out=labels.csv
    python -m experiments.predict --run=results/runs/mine --input=npz:FILE --out=labels.csv
    python -m experiments.predict --run=results/runs/text --input=csv:FILE --out=labels.csv
    python -m experiments.predict --run=results/runs/mine --input=features:FILE --out=labels.csv

The folder holds image files (sub-folders too); the .npz file an array `x`, uint8 [n, H, W, C]; the
.csv file, UTF-8, a column `text` (--text_column, --id_column, --delimiter for other layouts);
features (.npz, .parquet or a folder of .npy files) an array or column `x`, floats [n, d], and maybe
`names` (.parquet: `name`). Writes one line per example: name (without files, names or --id_column
its row, from 0), class, confidence. What cannot be read gets a line with the reason, and the
program exits with 2; --on_error=stop ends it there instead. Earlier answers stay until the new ones
are complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from experiments.options.config import recorded_option
from experiments.options.kinds import FEATURE_ROWS, IMAGES
from experiments.pages.csv_cells import csv_of
from experiments.runs.errors import friendly
from experiments.runs.saved_model import kind_of_run, load_model
from ssl_weighting.data.array_files import read_npz
from ssl_weighting.data.features.by_name import KIND as FEATURES
from ssl_weighting.data.features.by_name import new_features
from ssl_weighting.data.files import write_atomically
from ssl_weighting.data.images.folders import read_images
from ssl_weighting.data.images.npz import as_images
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.texts.csv_rows import AUTO, DELIMITERS, SKIP, STOP, USUAL, Layout

COLUMNS = ("name", "class", "confidence")
SKIPPED = 2  # exit code: there are answers, but not for every image


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    text = "folder:PATH of images, npz:FILE or features:FILE with x, or csv:FILE with a column text"
    flags.DEFINE_string("input", "", text, values)
    flags.DEFINE_string("out", "labels.csv", "file to write", values)
    flags.DEFINE_string("text_column", "", "csv: column of texts; the run's if not given", values)
    flags.DEFINE_string("id_column", "", "csv: column of names for the answers", values)
    flags.DEFINE_enum("delimiter", AUTO, [AUTO, *DELIMITERS], "csv: between columns", values)
    text = "at an image or a text that cannot be read"
    flags.DEFINE_enum("on_error", SKIP, (SKIP, STOP), text, values)


def load_inputs(spec: str, shape: list[int], on_error: str = "skip") -> tuple:
    """Return names, uint8 images [n, *shape] and (name, reason) of what is skipped.

    Args:
        spec: folder:PATH or npz:FILE.
        shape: of the model's inputs.
        on_error: as of `read_images`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: an unknown kind, an empty input, a wrong shape or dtype.
    """
    kind, _, path = spec.partition(":")
    if kind not in ("folder", "npz") or not path:
        why = ": this run was trained on images" if kind in ("csv", FEATURES) else ""
        raise ValueError(f"--input must be folder:PATH or npz:FILE{why}. Received: --input={spec}")
    height, width, channels = shape
    if kind == "folder":
        return read_images(path, (height, width), channels, on_error)
    x = resize_images(_read_npz(path, channels), (height, width))
    return [str(k) for k in range(len(x))], x, ()


def load_features(spec: str, size: int) -> tuple[list[str], np.ndarray]:
    """Return names and features [n, size] float32.

    Args:
        spec: features:FILE.
        size: of an input of the model.

    Raises:
        FileNotFoundError: there is nothing at FILE.
        ValueError: another kind of input, damaged, empty, or of another shape or dtype.
    """
    kind, _, path = spec.partition(":")
    if kind != FEATURES or not path:
        raise ValueError(
            f"--input must be {FEATURES}:FILE: this run was trained on features. "
            f"Received: --input={spec}"
        )
    if not Path(path).exists():
        raise FileNotFoundError(f"--input must name a file or folder. Received: {spec}, not there")
    return new_features(path, size)


def _read_npz(path, channels):
    """Return the array x of an .npz file, checked: uint8 [n, H, W, channels]."""
    arrays = read_npz(path)
    if "x" not in arrays:
        raise ValueError(f"{path} must hold an array `x`. Received: {', '.join(arrays)}")
    x = as_images(arrays["x"], f"`x` in {path}")
    if x.shape[3] != channels or not len(x):
        raise ValueError(
            f"`x` in {path} must be uint8 [n, H, W, {channels}] with n > 0, as this run was "
            f"trained on. Received: {list(x.shape)}"
        )
    return x


def predict(model, inputs: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Return class probabilities [n, C] float32 of images or features."""
    import keras

    from ssl_weighting.data.images.augmentation import clean_view

    parts = []
    for k in range(0, len(inputs), batch_size):
        logits = model(clean_view(inputs[k : k + batch_size]), training=False)["logits"]
        parts.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
    return np.concatenate(parts)


class Answers(NamedTuple):
    """What the model says of an input."""

    names: Sequence[str]
    probabilities: np.ndarray  # [n, C] float32
    skipped: Sequence[tuple[str, str]]  # (name, what is wrong with it)


def label(model, config: dict, given: Any) -> Answers:
    """Return what the model of a run says of --input.

    Args:
        model, config: as of `load_model`.
        given: the program's flags as attributes.

    Raises:
        OSError, ValueError: it cannot be read or does not fit the run.
    """
    kind, shape = kind_of_run(config), config["input_shape"]
    if kind is FEATURE_ROWS:
        names, features = load_features(given.input, *shape)
        return Answers(names, predict(model, features), ())
    if kind is IMAGES:
        names, images, skipped = load_inputs(given.input, shape, given.on_error)
        return Answers(names, predict(model, images), skipped)
    from experiments.assemble import predict_texts

    options = {"text_column": USUAL.text} | config["config"]  # runs of before have none
    column = given.text_column or recorded_option(options, "text_column")
    layout = Layout(column, id=given.id_column, delimiter=given.delimiter)
    names, texts, skipped = predict_texts.load_texts(given.input, layout, given.on_error)
    return Answers(names, predict_texts.predict(model, config, texts), skipped)


def check_out(out: str) -> None:
    """Check before any work that the answers can be written, and over nothing but answers.

    Raises:
        OSError, ValueError: they cannot.
    """
    path = Path(out)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"--out must name a file in a folder that is there. Received: --out={out}"
        )
    if path.exists() and not (path.is_file() and _are_answers(path)):
        raise ValueError(
            "--out must be a new file, or one of earlier answers that is replaced. "
            f"Received: --out={out}, which holds something else"
        )


def _are_answers(path):
    """Return whether a file begins as answers do, or is empty."""
    with open(path, "rb") as file:
        first = file.readline(1000)
    return not first or first.startswith(",".join(COLUMNS).encode())


def answers_text(answers: Answers, class_names: Sequence[str]) -> str:
    """Return the answers as CSV, one line each, then one for each input that is skipped.

    Raises:
        ValueError: the model gives no finite probabilities.
    """
    p = answers.probabilities
    if not np.isfinite(p).all():
        raise ValueError("The model of --run must give finite probabilities. Received: NaN")
    found = zip(answers.names, p.argmax(1), p.max(1), strict=True)
    rows = [(name, class_names[k], f"{best:.4f}") for name, k, best in found]
    skipped = [(name, "", "", reason) for name, reason in answers.skipped]
    header = (*COLUMNS, *(["problem"] if skipped else []))
    return csv_of([header, *rows, *skipped])


def main(argv: list[str]) -> int:
    """Label the input of the command line; return the exit code."""
    given = flags.FLAGS
    if len(argv) > 1 or not given.run or not given.input:
        raise app.UsageError("--run and --input must be given, and nothing else but flags.")
    with friendly():
        check_out(given.out)
        model, config = load_model(Path(given.run))
        answers = label(model, config, given)
        write_atomically(Path(given.out), answers_text(answers, config["class_names"]))
    rows, skipped = kind_of_run(config).rows, answers.skipped
    print(f"labeled {len(answers.names)} {rows}: {given.out}")
    if skipped:
        name, reason = skipped[0]
        print(f"{len(skipped)} could not be read: see `problem` there, such as {name}: {reason}")
    return SKIPPED if skipped else 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
