"""Galleries of made-up runs: every number is chosen by the test, and nothing is trained."""

import dataclasses

import numpy as np
import reporting_runs

from experiments.gallery.page import gallery_page
from experiments.gallery.rows import MEAN, Part, Rows
from experiments.gallery.thumbnails import pack
from experiments.options.config import Config
from experiments.runs.lambda_history import Moments
from experiments.runs.record import read_run
from ssl_weighting.data.examples import Examples


def columns(n, outside=0, seed=0):
    """Return the columns of n examples of which the last `outside` are validation examples."""
    rng = np.random.default_rng(seed)
    unlabeled = np.arange(n) < n - outside

    def weighted(values):
        return np.where(unlabeled, values, np.nan).astype(np.float32)

    return {
        "source": np.where(unlabeled, 0, 2).astype(np.uint8),
        "excludable": unlabeled.astype(np.uint8),
        "lam": weighted(rng.uniform(0, 2, n)),
        "influence": weighted(rng.normal(0, 1, n)),
        "error": weighted(rng.uniform(0.1, 0.3, n)),
        "suspect": np.zeros(n, np.uint8),
        "visits": weighted(rng.integers(0, 9, n)),
        "pseudo": rng.integers(0, 2, n).astype(np.int32),
        "truth": rng.integers(-1, 2, n).astype(np.int32),
        "confidence": rng.uniform(0.5, 1, n).astype(np.float32),
        "loss": rng.exponential(1, n).astype(np.float32),
    }


def rows(folder, names, *, outside=0, classes=("one", "two"), texts=None, moments=3):
    """Return the examples of a run on grey pictures of 8 x 8 pixels, or on texts."""
    n = len(names)
    table = reporting_runs.weights(n - outside) | {MEAN: np.zeros(n - outside)}
    about = {"class_names": list(classes)}
    reporting_runs.write_run(
        folder, "run", algorithm="fixmatch", weighting="per_example", table=table, config=about
    )
    record = read_run(folder / "run", "run")
    given = columns(n, outside)
    inputs = np.random.default_rng(1).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    beside = None
    if texts is not None:
        inputs, beside = np.ones((n, 1), np.int32), np.array(texts, object)
    parts, start = [], 0
    for source, end in (("unlabeled", n - outside), ("validation", n)):
        if end > start:
            some = slice(start, end)
            known = None if beside is None else beside[some]
            called = np.array(names, object)[some]
            examples = Examples(inputs[some], given["truth"][some], known, called)
            parts.append(Part(source, examples))
        start = end
    steps = 10 * np.arange(1, moments + 1)
    lam = np.linspace(1, given["lam"][: n - outside], moments + 1)[1:].astype(np.float32)
    history = Moments(steps, np.arange(n - outside), lam)
    config = Config(dataset="digits" if texts is None else "imdb")
    return Rows(dataclasses.replace(config), record, tuple(parts), given, history)


def write(found, path):
    """Write the page of `rows` to a file; return its path."""
    texts = None
    if found.config.dataset == "imdb":
        texts = [str(text) for part in found.parts for text in part.examples.texts]
    images = [x[..., 0] for part in found.parts for x in part.examples.inputs] if not texts else []
    sheets = pack(images, 8) if images else None
    files = gallery_page(found, texts, sheets, f"{path.stem}-pictures")
    for name, content in files.items():
        target = path.parent / name if name else path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
