"""What Eq. 6 speaks of: the last layer in closed form, or any part of the network."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from ssl_weighting.inverse_hessian import Curvature, Unroll
from ssl_weighting.structs import LabeledBatch, LossRows, UnlabeledBatch


class Parameters(Protocol):
    """The parameters of Eq. 6, p of them: what they must be able to tell, each as a flat vector.

    `last_layer.LastLayer` and `subnetwork.Subnetwork` keep this contract. Flat vectors are [p] in
    `dtype`, in one order for all methods. Nothing here moves a parameter or a statistic.

    Attributes:
        dtype: name of the dtype in which Eq. 6 is computed.
        closed_form: whether features and logits of the loss rows are all that Eq. 6 needs. Then H
            is cheap to form, and rows that a theta-step has made can be scored as they are.
        logit_map: [o, C] float64, the fixed matrix between the outputs of the last layer and the
            logits, in the closed form; None: the outputs are the logits.
        variables: the Keras variables.
        size: p.
    """

    dtype: str
    closed_form: bool
    logit_map: tf.Tensor | None

    @property
    def variables(self) -> list:
        """The Keras variables that Eq. 6 speaks of."""

    @property
    def size(self) -> int:
        """The number of parameters p."""

    def forward(self, inputs) -> dict[str, tf.Tensor]:
        """Return {"features": [N, d], "logits": [N, C]} in the dtype of the model.

        The features may be missing where `closed_form` is False.
        """

    def check(self, inputs) -> None:
        """Refuse a model that uses its parameters in a way that cannot be followed here.

        Args:
            inputs: [1, ...] or more; only the shapes are read.

        Raises:
            ValueError: it does; the message names them and what can follow.
        """

    def prepare(self, rows: LossRows, inputs: list, coefficients: tf.Tensor) -> Any:
        """Return the loss rows in the form that `curvature` and `dot_products` take.

        Args:
            rows: R rows of one batch.
            inputs: what `forward` was called on to make them, one entry a call; not read in the
                closed form.
            coefficients: [R], factor of each row in the objective, from `row_coefficients`.
        """

    def validation_gradient(self, validation: LabeledBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return L_S(V'), the mean cross-entropy, and its gradient [p]."""

    def curvature(self, rows: Any, unroll: Unroll | None = None) -> Curvature:
        """Return H of the objective on prepared rows, with weight decay as its ridge.

        Args:
            rows: from `prepare`.
            unroll: the last theta-steps, for method "unrolled" alone.
        """

    def ridge(self) -> tf.Tensor:
        """Return the diagonal that weight decay adds to H, [p]."""

    def dot_products(self, rows: Any, vector: tf.Tensor) -> tf.Tensor:
        """Return grad l_r . vector for each of R prepared rows, [R]; `vector` [p]."""


def made_rows(
    forward, algorithm, labeled: LabeledBatch, unlabeled: UnlabeledBatch, step
) -> tuple[LossRows, list]:
    """Return the loss rows of a batch for Eq. 6, and the inputs that `Parameters.prepare` takes.

    Args:
        forward: of `Parameters`, inputs -> outputs.
        algorithm: (forward, labeled, unlabeled, step) -> LossRows.
        step: scalar int64, theta-steps taken so far.
    """
    inputs = []

    def noted(x, *, makes_rows=True, moves_statistics=True):
        del moves_statistics  # nothing here does
        if makes_rows:
            inputs.append(x)
        return forward(x)

    return algorithm(noted, labeled, unlabeled, step), inputs
