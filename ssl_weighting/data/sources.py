"""Tell of each example of U whether D or V has it too."""

from __future__ import annotations

import numpy as np

from ssl_weighting.data.copies import are_copies
from ssl_weighting.data.examples import DataSplits


def sources_of_u(splits: DataSplits) -> np.ndarray:
    """Return [|U|] str objects: "labeled" of what is, or equals, one of D, "validation" of V's.

    All others are "unlabeled".
    """
    found = np.full(len(splits.unlabeled), "unlabeled", object)
    for source in ("validation", "labeled"):
        found[are_copies(splits.unlabeled, getattr(splits, source))] = source
    return found
