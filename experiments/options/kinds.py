"""The kinds of data, one table: what each is called, which program trains on it, on which net."""

from __future__ import annotations

from typing import NamedTuple

from ssl_weighting.data.features.by_name import KIND as FEATURES
from ssl_weighting.data.images.by_name import NAMES as IMAGE_SETS
from ssl_weighting.data.synthetic import NAMES as TOY_SETS
from ssl_weighting.data.texts.by_name import NAMES as TEXT_SETS


class Kind(NamedTuple):
    """One kind of data."""

    model: str  # --model, by which options and runs tell it
    rows: str  # what its examples are called
    program: str  # trains on it
    datasets: str  # "--dataset must be ..."
    rank: int  # of an input


_KINDS = (
    Kind(
        "wide_resnet", "images", "train_images",
        f"one of {', '.join(IMAGE_SETS)}, npz:PATH, folder:PATH or packed:DIR", 3,
    ),
    Kind("mlp", "points", "train_synthetic", f"one of {', '.join(TOY_SETS)}", 1),
    Kind("bert", "texts", "train_text", f"one of {', '.join(TEXT_SETS)} or csv:PATH", 1),
    Kind("features", "features", "train_features", f"{FEATURES}:PATH", 1),
)  # fmt: skip
KINDS = {kind.model: kind for kind in _KINDS}
IMAGES, POINTS, TEXTS, FEATURE_ROWS = _KINDS
OWN = ("npz", "folder", "packed", "csv", FEATURES)  # of KIND:PATH


def kind_of(dataset: str) -> Kind:
    """Return the kind of data that --dataset names; unknown names count as images."""
    prefix = dataset.partition(":")[0]
    if dataset in TOY_SETS:
        return POINTS
    if dataset in TEXT_SETS or prefix == "csv":
        return TEXTS
    return FEATURE_ROWS if prefix == FEATURES else IMAGES


def check_kind(dataset: str, kind: Kind) -> None:
    """Check that a program is given the data that it trains on.

    Raises:
        ValueError: names the program that does.
    """
    found = kind_of(dataset)
    if found is not kind:
        raise ValueError(
            f"--dataset must be {kind.datasets}. Received: {dataset!r}. Use python -m "
            f"experiments.{found.program} for {found.rows}"
        )
