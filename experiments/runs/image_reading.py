"""How a run reads images of one's own: what goes on with it, or reads new ones, does the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.options.config import Config
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.example_table import table_of
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.images.by_name import AUTO, MEMORY, STREAM
from ssl_weighting.data.memory import TooLargeError
from ssl_weighting.data.packed.manifest import read_manifest

FIELD = "images"  # of config.json


def image_reading(config: Config, splits: DataSplits) -> dict[str, Any] | None:
    """Return what config.json says of it, None for other data.

    source: "memory" or "stream", which --source=auto has chosen; what has gone through a backbone
    is in memory. jpeg_draft: whether JPEGs are read as drafts, by the run or by those who packed.
    """
    kind, _, path = config.dataset.partition(":")
    if kind not in ("folder", "npz", "packed") or config.smoke:
        return None
    drafts = read_manifest(path).jpeg_draft if kind == "packed" else config.jpeg_draft
    packed = table_of(splits.unlabeled.inputs).stores_digests
    return {"source": STREAM if packed else MEMORY, "jpeg_draft": drafts}


def has_drafts(configuration: Mapping[str, Any]) -> bool:
    """Return whether a run was trained on drafts of JPEGs.

    Args:
        configuration: its config.json; of an earlier version its options tell.
    """
    recorded = configuration.get(FIELD) or configuration["config"]
    return recorded.get("jpeg_draft") is True


def as_read(config: Config, folder: Path) -> Config:
    """Return the options by which the images of the run in `folder` are read again.

    Sets in memory and in a pack have other digests, so --source=auto follows its first choice.

    Args:
        config: of the run, begun or not.

    Raises:
        ValueError: --source asks for the other one.
    """
    begun = _begun(config, folder)
    if config.source == AUTO and begun:
        return dataclasses.replace(config, source=begun)
    if begun not in ("", config.source):
        raise ValueError(
            f"--source must be {begun} or auto to go on with the run in {folder}, which began so. "
            f"Received: --source={config.source}. Give another --out to begin anew"
        )
    return config


@contextmanager
def told_of_the_first_choice(config: Config, folder: Path) -> Iterator[None]:
    """Say in words that images of a begun run have no room any more.

    Raises:
        TooLargeError: they have none.
    """
    try:
        yield
    except TooLargeError as error:
        if _begun(config, folder) != MEMORY:
            raise
        raise TooLargeError(
            f"{error} That is for a new run: the one in {folder} began with its images in memory "
            "and goes on with them there alone. Free some memory, or begin anew with another --out"
        ) from error


def _begun(config, folder) -> str:
    """Return where the images of the run in `folder` are, "" if there is none or it is unknown."""
    if not config.dataset.startswith(("folder:", "npz:")):
        return ""
    try:
        found = json.loads((folder / "config.json").read_text())
        source = (found.get(FIELD) or {}).get("source")
    except DAMAGE:
        return ""
    return source if source in (MEMORY, STREAM) else ""
