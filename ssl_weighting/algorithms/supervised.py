"""The supervised baseline: labeled rows alone."""

from __future__ import annotations

from ssl_weighting.algorithms.rows import softmax_rows
from ssl_weighting.algorithms.settings import Passes
from ssl_weighting.structs import LossRows


class Supervised:
    """L = mean over the labeled batch of cross-entropy."""

    uses_unlabeled = False

    def passes(self) -> Passes:
        """Return the views that each pass joins."""
        return (("labeled",),)

    def __call__(self, forward, labeled, unlabeled, step) -> LossRows:
        """Return B rows; `unlabeled` and `step` are not read."""
        return softmax_rows(labeled, forward(labeled.inputs))
