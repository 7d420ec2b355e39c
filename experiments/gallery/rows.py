"""The examples of a finished run as columns: names, weights, and what the model says of them.

Weights, pseudo-labels and losses of U stand in example_weights.parquet. Nothing keeps what the
model says of labeled, validation and test examples: for these, and for nothing else, the model is
loaded, and TensorFlow with it.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.options.config import Config, config_from_json
from experiments.options.kinds import TEXTS
from experiments.runs.image_reading import as_read
from experiments.runs.lambda_history import FILE as HISTORY
from experiments.runs.lambda_history import Moments, read_history
from experiments.runs.record import RunRecord, read_run
from experiments.runs.run_files import RunError
from experiments.runs.saved_model import kind_of_run, load_model
from experiments.runs.saved_model import read_run as read_configuration
from ssl_weighting.data.example_table import loaded
from ssl_weighting.data.examples import SPLITS, DataSplits, Examples

SOURCES = ("unlabeled", "labeled", "validation", "test")
MEAN = "influence_mean"  # a visit; a run of before has the accumulated "influence" alone


class Part(NamedTuple):
    """Examples that stand together in the page."""

    source: str  # one of `SOURCES`
    examples: Examples


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """All examples of a page; U comes first, in order of its ids.

    Args:
        config: options of the run. record: what the run left behind.
        parts: the examples.
        columns: name -> [n], as the page's script knows them; NaN where there is no value.
        history: λ by moment, of ids of U; None where the run kept none.
    """

    config: Config
    record: RunRecord
    parts: tuple[Part, ...]
    columns: dict[str, np.ndarray]
    history: Moments | None

    @property
    def names(self) -> list[str]:
        """Names of all examples, [n]."""
        return [str(name) for part in self.parts for name in part.examples.names]

    @property
    def accumulated(self) -> bool:
        """Whether the influences are sums over visits, as runs of before have them."""
        return MEAN not in self.record.weights


def check_run(folder: Path) -> RunRecord:
    """Return the record of a run that a gallery can be made of. Without TensorFlow.

    Raises:
        FileNotFoundError: the run is not there, or not finished.
        ValueError: a file of it cannot be used, or it has no weights.
    """
    record = read_run(folder, folder.resolve().name) if folder.is_dir() else None
    if record is None:
        raise FileNotFoundError(
            f"--run must be the folder of a finished run. Received: {folder}, without a "
            "summary.json that says so"
        )
    if record.weights is None:
        why = "; ".join(record.remarks) or "no example_weights.parquet"
        raise RunError(
            f"--run must be a run that weighted unlabeled examples. Received: {folder}, with {why}"
        )
    return record


def collect(folder: Path, cache_dir: str | None = None, with_test: bool = False) -> Rows:
    """Return the examples of a run.

    Args:
        folder: of the run.
        cache_dir: where prepared data lies.
        with_test: whether test examples are among them.

    Raises:
        OSError: the run or its data is not there.
        ValueError: a file of the run cannot be used, or the data is not what the run saw.
    """
    record = check_run(folder)
    configuration = read_configuration(folder)
    model = load_model(folder, configuration)
    config = config_from_json(record.config["config"])
    splits = _splits(as_read(config, folder), record, cache_dir)
    parts = _parts(splits, with_test)
    told = [_columns_of_u(record, splits)]
    told += [_columns_of(part, model, configuration) for part in parts[1:]]
    columns = {name: np.concatenate([one[name] for one in told]) for name in told[0]}
    path = folder / HISTORY
    return Rows(config, record, parts, columns, read_history(path) if path.exists() else None)


def _splits(config, record, cache_dir) -> DataSplits:
    """Return the data that the run saw."""
    from experiments.assemble.build import load_splits

    splits = load_splits(config, cache_dir)
    expected, found = record.config["split_hash"], splits.split_hash
    if found != expected or len(splits.unlabeled) != len(record.weights["id"]):
        raise ValueError(
            f"--run must find the data that it was trained on, with the digest {expected[:12]}. "
            f"Received: {splits.source}, where it is {found[:12]}. Put the data back as it was"
        )
    return splits


def _parts(splits, with_test) -> tuple[Part, ...]:
    parts = [Part("unlabeled", splits.unlabeled)]
    for source in SOURCES[1:] if with_test else SOURCES[1:3]:
        examples = getattr(splits, source)
        # D's examples usually stand in U too, where they have a weight; V's may be labels.
        new = np.ones(len(examples), bool)
        for part in parts if source != "test" else ():
            names = [loaded(one.names).astype(str) for one in (examples, part.examples)]
            new &= ~np.isin(*names)
        if new.any():
            parts.append(Part(source, examples.take(new)))
    return tuple(parts)


def _columns_of_u(record, splits) -> dict[str, np.ndarray]:
    weights, size = record.weights, len(splits.unlabeled)
    unknown = np.full(size, np.nan)
    source = np.zeros(size, np.uint8)
    if "source" in weights:
        source[:] = [max(SOURCES.index(s), 0) for s in weights["source"]]
    elif "labeled" in weights:
        source[weights["labeled"]] = SOURCES.index("labeled")
    return {
        "source": source,
        "excludable": _may_be_excluded(splits),
        "lam": weights["lam"].astype(np.float32),
        "influence": np.float32(weights.get(MEAN, weights.get("influence", unknown))),
        "error": np.float32(weights.get("influence_error", unknown)),
        "suspect": np.uint8(weights.get("suspect", np.zeros(size))),
        "visits": weights["visits"].astype(np.float32),
        "pseudo": weights["pseudo_label"].astype(np.int32),
        "truth": weights["true_label"].astype(np.int32),
        "confidence": weights["confidence"].astype(np.float32),
        "loss": weights["loss"].astype(np.float32),
    }


def _may_be_excluded(splits) -> np.ndarray:
    """Return [|U|] uint8: whose names --exclude takes; D's and V's examples may stand in U too."""
    others = [getattr(splits, part).names for part in SPLITS if part != "unlabeled"]
    known = set(itertools.chain(*others))
    return np.array([name not in known for name in splits.unlabeled.names], np.uint8)


def _columns_of(part, model, configuration) -> dict[str, np.ndarray]:
    """Return the columns of labeled examples, whose loss is that of the true label."""
    p = _probabilities(model, configuration, part.examples)
    size, labels = len(p), part.examples.labels
    unknown, none = np.full(size, np.nan, np.float32), np.zeros(size, np.uint8)
    least = np.finfo(np.float32).tiny
    return {
        "source": np.full(size, SOURCES.index(part.source), np.uint8),
        "excludable": none,
        "lam": unknown,
        "influence": unknown,
        "error": unknown,
        "suspect": none,
        "visits": unknown,
        "pseudo": p.argmax(axis=1).astype(np.int32),
        "truth": labels,
        "confidence": p.max(axis=1),
        "loss": -np.log(np.maximum(p[np.arange(size), labels], least)),
    }


def _probabilities(model, configuration, examples) -> np.ndarray:
    """Return what the averaged model says of each example, [n, C] float32."""
    from experiments.serving.predictor import predictors  # and TensorFlow

    kind = kind_of_run(configuration)
    inputs = examples.texts if kind is TEXTS else examples.inputs
    return predictors(model, configuration)[kind](inputs)
