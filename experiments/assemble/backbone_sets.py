"""From a configuration with --backbone to the features of its data, made once for all such runs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from experiments.assemble.feature_sets import FeatureSet
from experiments.assemble.features import Work, make, plan
from experiments.options.config import Config
from experiments.options.extraction import Extraction, extraction_of
from ssl_weighting.data.array_files import read_npz
from ssl_weighting.data.examples import DataSplits, RawDataset
from ssl_weighting.data.features.by_name import features_by_part

_ABOUT = "about"  # key of what the file knows of its set beside the features


@dataclasses.dataclass(frozen=True, eq=False)
class BackboneSet(RawDataset):
    """`RawDataset` of features with what made them.

    Args:
        inputs: name -> what the features depend on beside the data: the net, and the side of the
            images that it was shown, "" for texts.
        texts: name of an example -> its text; {} where they are none.
    """

    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class BackboneSplits(DataSplits):
    """`DataSplits` of features with what made them; `inputs` and `texts` as in `BackboneSet`."""

    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


def backbone_set(config: Config, cache_dir: str | None) -> BackboneSet:
    """Return the data of a run as features of its backbone.

    They are read from `cache_dir` where they lie there already, whatever run made them; what is
    read is what was made of the same inputs, weights and options.

    Args:
        config: with a --backbone.
        cache_dir: where prepared data lies; None: nothing of it is kept.

    Raises:
        OSError, ValueError: something cannot be read, written or made; says what.
    """
    return _load(extraction_of(config), cache_dir)


def with_inputs(splits: DataSplits, raw: BackboneSet) -> BackboneSplits:
    """Return the splits of a set with what made its features."""
    known = {f.name: getattr(splits, f.name) for f in dataclasses.fields(DataSplits) if f.init}
    return BackboneSplits(**known, inputs=raw.inputs, texts=raw.texts)


# The runs of a family read their features once, with views and without.
@functools.lru_cache(maxsize=2)
def _load(asked: Extraction, cache_dir: str | None) -> BackboneSet:
    work = plan(asked, cache_dir)
    net = Path(asked.backbone).name  # of what has a folder the last part
    if cache_dir is not None:
        return _made(work, net, Path(cache_dir) / "features")
    with tempfile.TemporaryDirectory() as folder:
        return _made(work, net, Path(folder))


def _made(work: Work, net: str, folder: Path, say: Callable[[str], object] = print) -> BackboneSet:
    folder.mkdir(parents=True, exist_ok=True)
    # What it is called is kept with it: the same pictures in another folder are another set.
    digest = hashlib.sha256(f"{work.digest()} {work.source.title}".encode()).hexdigest()
    path = folder / f"features-{digest[:32]}.npz"
    inputs = {"backbone": work.recipe["backbone"], "image_size": str(work.side or "")}
    make(work, digest, path, lambda made: made.arrays | {_ABOUT: _about(made, net, inputs)}, say)
    arrays = read_npz(path)
    about = json.loads(str(arrays.pop(_ABOUT)))
    parts, class_names = features_by_part(path, arrays)
    skipped = tuple(map(tuple, about.pop("skipped")))
    about["notes"] = tuple(about["notes"])
    told = {"skipped": skipped, "texts": work.source.texts}
    return BackboneSet(class_names=class_names, **told, **about, **parts)


def _about(made: FeatureSet, net: str, inputs: Mapping[str, str]) -> np.ndarray:
    net += f", {side}x{side}" if (side := inputs["image_size"]) else ""
    known = {"name": made.name, "source": f"{made.source}, features by {net}"}
    known |= {"notes": made.notes, "skipped": made.skipped, "inputs": inputs}
    return np.array(json.dumps(known | {"copies_are_one": made.copies_are_one}))
