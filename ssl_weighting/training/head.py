"""A trained head on features as arrays, which predicts without TensorFlow."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_weighting.data.features.statistics import Components, Statistics


@dataclasses.dataclass(frozen=True)
class Head:
    """A trained head as numbers, which says its probabilities by numpy alone.

    Attributes:
        shown: what the layers see of a row: it standardised, or its principal components.
        layers: (kernel [i, o], bias [o]) float32, with ReLU between two.
    """

    shown: Statistics | Components
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return [n, C] float64 of rows [n, d], computed in float64."""
        z = self.shown.of(np.asarray(x, np.float64))
        for k, (kernel, bias) in enumerate(self.layers):
            z = np.maximum(z, 0) if k else z
            z = z @ kernel.astype(np.float64) + bias
        return z

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return softmax of the logits, [n, C] float64."""
        z = self.logits(x)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
