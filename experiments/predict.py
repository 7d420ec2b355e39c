"""Label new images or texts with the model of a finished run.

    python -m experiments.predict --run=results/runs/mine --input=folder:PATH --out=labels.csv
    python -m experiments.predict --run=results/runs/mine --input=npz:FILE --out=labels.csv
    python -m experiments.predict --run=results/runs/text --input=csv:FILE --out=labels.csv

The folder holds image files (sub-folders too); the .npz file an array `x`, uint8 [n, H, W, C]; the
.csv file, UTF-8, a column `text`. Writes one line per image or text: name (without files its row,
from 0), class, confidence.
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.runs.errors import friendly
from experiments.runs.record import read_config
from ssl_weighting.data.files import replacing
from ssl_weighting.data.images.folders import read_images
from ssl_weighting.data.images.resize import resize_images


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    text = "folder:PATH of image files, npz:FILE with an array x, or csv:FILE with a column text"
    flags.DEFINE_string("input", "", text, values)
    flags.DEFINE_string("out", "labels.csv", "file to write", values)


def load_model(folder: Path) -> tuple:
    """Return the averaged model of a run and its config.json.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: the model file is damaged, or the run's inputs are neither images nor texts.
    """
    for name in ("config.json", "model.keras", "summary.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"--run must be a finished run. Received: {folder}, without {name}."
            )
    config = read_config(folder)
    if len(config["input_shape"]) != 3 and not is_text_run(config):
        raise ValueError(
            f"--run must be a run on images or texts. Received: {folder}, trained on "
            f"{config['dataset']} with inputs of shape {config['input_shape']}"
        )
    import keras  # and TensorFlow: seconds, for which no refusal above has to wait

    try:
        # safe_mode refuses anything that would have to be executed.
        model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'model.keras'} must be a saved model: {error}") from error
    return model, config


def is_text_run(config: dict) -> bool:
    """Return whether a run's config.json tells of texts."""
    return config["config"]["model"] == "bert"


def load_inputs(spec: str, shape: list[int]) -> tuple[list[str], np.ndarray]:
    """Return names and uint8 images [n, *shape] of folder:PATH or npz:FILE.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: an unknown kind, an empty input, a wrong shape or dtype.
    """
    kind, _, path = spec.partition(":")
    if kind not in ("folder", "npz") or not path:
        why = ": this run was trained on images" if kind == "csv" else ""
        raise ValueError(f"--input must be folder:PATH or npz:FILE{why}. Received: --input={spec}")
    height, width, channels = shape
    if kind == "folder" and height == width:
        return read_images(path, height, channels)
    x = _read_npz(path, channels) if kind == "npz" else None
    if x is not None and height == width and x.shape[1:3] != (height, width):
        x = resize_images(x, height)
    if x is None or x.shape[1:3] != (height, width):
        raise ValueError(
            f"--input must be npz:FILE with images of {height}x{width} pixels, as this run was "
            f"trained on: images are resized to squares only. Received: --input={spec}"
        )
    return [str(k) for k in range(len(x))], x


def _read_npz(path, channels):
    """Return the array x of an .npz file, checked: uint8 [n, H, W, channels]."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found, x = file.files, file["x"] if "x" in file.files else None
    except (zipfile.BadZipFile, ValueError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(f"{path} must be an .npz file of plain arrays: {error}") from error
    if x is None:
        raise ValueError(f"{path} must hold an array `x`. Received: {', '.join(found)}")
    if x.ndim == 3 and channels == 1:
        x = x[..., None]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] != channels or not len(x):
        raise ValueError(
            f"`x` must be uint8 [n, H, W, {channels}] with n > 0. "
            f"Received: {x.dtype} {list(x.shape)}"
        )
    return x


def predict(model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Return class probabilities [n, C] float32."""
    import keras

    from ssl_weighting.data.images.augmentation import clean_view

    parts = []
    for k in range(0, len(images), batch_size):
        logits = model(clean_view(images[k : k + batch_size]), training=False)["logits"]
        parts.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
    return np.concatenate(parts)


def label(model, config: dict, spec: str) -> tuple[list[str], np.ndarray]:
    """Return names and class probabilities [n, C] of --input.

    Raises:
        OSError, ValueError: it cannot be read or does not fit the run.
    """
    if not is_text_run(config):
        names, images = load_inputs(spec, config["input_shape"])
        return names, predict(model, images)
    from experiments.assemble import predict_texts

    texts = predict_texts.load_texts(spec)
    return [str(k) for k in range(len(texts))], predict_texts.predict(model, config, texts)


def main(argv: list[str]) -> None:
    """Label the input of the command line."""
    given = flags.FLAGS
    if len(argv) > 1 or not given.run or not given.input:
        raise app.UsageError("--run and --input must be given, and nothing else but flags.")
    with friendly():
        folder = Path(given.out).parent
        if not folder.is_dir():
            raise FileNotFoundError(
                f"--out must name a file in a folder that is there. Received: --out={given.out}"
            )
        model, config = load_model(Path(given.run))
        names, probabilities = label(model, config, given.input)
        with (
            replacing(Path(given.out)) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["name", "class", "confidence"])
            for name, p in zip(names, probabilities, strict=True):
                writer.writerow([name, config["class_names"][int(p.argmax())], f"{p.max():.4f}"])
    print(f"labeled {len(names)} {'texts' if is_text_run(config) else 'images'}: {given.out}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
