"""Label new images with the model of a finished run.

    python -m experiments.predict --run=results/runs/mine --input=folder:PATH --out=labels.csv
    python -m experiments.predict --run=results/runs/mine --input=npz:FILE --out=labels.csv

The folder holds image files (sub-folders too); the .npz file an array `x`, uint8 [n, H, W, C].
Writes one line per image: name, class, confidence.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
from absl import app, flags

from experiments.errors import friendly
from ssl_weighting.data.augmentation import clean_view
from ssl_weighting.data.folders import read_images
from ssl_weighting.data.resize import resize_images

RUN = flags.DEFINE_string("run", "", "folder of a finished run")
INPUT = flags.DEFINE_string("input", "", "folder:PATH of image files, or npz:FILE with an array x")
OUT = flags.DEFINE_string("out", "labels.csv", "file to write")


def load_model(folder: Path) -> tuple[keras.Model, dict]:
    """Return the averaged model of a run and its config.json.

    Raises:
        FileNotFoundError: the run is not finished.
    """
    for name in ("model.keras", "config.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"--run must be a finished run. Received: {folder}, without {name}."
            )
    # safe_mode refuses anything that would have to be executed.
    model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    return model, json.loads((folder / "config.json").read_text())


def load_inputs(spec: str, shape: list[int]) -> tuple[list[str], np.ndarray]:
    """Return names and uint8 images [n, *shape] of folder:PATH or npz:FILE.

    Raises:
        ValueError: an unknown kind, an empty input, a wrong shape or dtype.
    """
    kind, _, path = spec.partition(":")
    if kind == "folder" and path:
        return read_images(path, shape[0], shape[2])
    if kind != "npz" or not path:
        raise ValueError(f"--input must be folder:PATH or npz:FILE. Received: --input={spec}")
    with np.load(path, allow_pickle=False) as file:
        if "x" not in file.files:
            raise ValueError(f"{path} must hold an array `x`. Received: {', '.join(file.files)}")
        x = file["x"]
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] != shape[2] or not len(x):
        raise ValueError(
            f"`x` must be uint8 [n, H, W, {shape[2]}] with n > 0. "
            f"Received: {x.dtype} {list(x.shape)}"
        )
    if list(x.shape[1:3]) != shape[:2]:
        x = resize_images(x, shape[0])
    return [str(k) for k in range(len(x))], x


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Return class probabilities [n, C] float32."""
    parts = []
    for k in range(0, len(images), batch_size):
        logits = model(clean_view(images[k : k + batch_size]), training=False)["logits"]
        parts.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
    return np.concatenate(parts)


def main(argv):
    """Label the input of the command line."""
    if len(argv) > 1 or not RUN.value or not INPUT.value:
        raise app.UsageError("--run and --input must be given, and nothing else but flags.")
    with friendly():
        model, config = load_model(Path(RUN.value))
        names, images = load_inputs(INPUT.value, config["input_shape"])
        probabilities = predict(model, images)
        with open(OUT.value, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "class", "confidence"])
            for name, p in zip(names, probabilities, strict=True):
                writer.writerow([name, config["class_names"][int(p.argmax())], f"{p.max():.4f}"])
    print(f"labeled {len(names)} images: {OUT.value}")


if __name__ == "__main__":
    app.run(main)
