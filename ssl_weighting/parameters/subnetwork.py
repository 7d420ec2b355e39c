"""Any parameters of a network as those of Eq. 6: automatic differentiation in the model's dtype."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ssl_weighting.checks import check_number, one_hot_labels
from ssl_weighting.inverse_hessian import Curvature, Unroll
from ssl_weighting.losses import SoftmaxCrossEntropy, logit_gradient, logit_hessian
from ssl_weighting.models.network import Network, named_outputs
from ssl_weighting.parameters.subnetwork_curvature import subnetwork_curvature
from ssl_weighting.per_example_gradients import BY_LAYERS, per_example_dot_products
from ssl_weighting.per_example_gradients.chunking import chunk_size
from ssl_weighting.per_example_gradients.plan import bytes_per_example, layer_plan, plan_text
from ssl_weighting.per_example_gradients.uses import (
    refuse_other_uses,
    refuse_reads_past_keras,
)
from ssl_weighting.structs import LabeledBatch, LossRows, QuadraticRows
from ssl_weighting.theta.weight_decay import is_decayed


class PlacedRows(NamedTuple):
    """Loss rows as the network meets them."""

    quadratic: QuadraticRows  # by place in the forward's batch
    positions: tf.Tensor  # [R, K] int32: the places of each row, -1: none


class Subnetwork:
    """Any selection of a model's parameters, for Eq. 6.

    Args:
        model: built Keras model, inputs -> logits [N, C] or {"logits": ...}.
        influence_params: "all", "last_layer" or a regular expression on variable paths.
        batch_norm: "moving" or "batch" statistics; neither moves them.
        engine: how g . v is computed, a name in `per_example_gradients.ENGINES`.
        curvature: "hessian" or "gauss_newton".
        l2: coefficient of weight decay in the objective, >= 0; l2_scope: what it covers, see
            `weight_decay.is_decayed`.
        max_memory: bytes that one pass may take; None: no limit.
        sample_size: rows of one random sample of the curvature (method stochastic_cg).
    """

    def __init__(
        self,
        model,
        influence_params: str = "all",
        *,
        batch_norm: str = "moving",
        engine: str = "forward",
        curvature: str = "gauss_newton",
        l2: float = 0.0,
        l2_scope: str = "kernels",
        max_memory: int | None = None,
        sample_size: int = 64,
    ):
        check_number("l2", l2)
        check_number("sample_size", sample_size, 1, whole=True)
        self.network = Network(model, influence_params, batch_norm=batch_norm)
        self.engine, self.curvature_kind = engine, curvature
        self.l2, self.l2_scope = l2, l2_scope
        self.max_memory, self.sample_size = max_memory, sample_size

    closed_form = False
    logit_map = None  # read in the closed form only

    @property
    def variables(self) -> list:
        """The Keras variables that Eq. 6 speaks of."""
        return self.network.variables

    @property
    def dtype(self) -> str:
        """Their dtype."""
        return self.network.dtype

    @property
    def size(self) -> int:
        """The number of parameters p."""
        return self.network.size

    def plan(self, inputs) -> str:
        """Return a table of layers, the path each takes and its memory; `inputs` [1, ...] or more.

        For `engine`, which computes the dot products; nothing is run.

        Raises:
            ValueError: `max_memory` is too little for one example; see `check`.
        """
        self.check(inputs)
        need = bytes_per_example(self.network, inputs, self.engine)
        chunk_size(None, need, self.max_memory or need)
        table = plan_text(layer_plan(self.network, inputs, self.engine))
        return f"{table}\nwith all layers, of which some have no parameters: {need / 1e3:,.1f} kB"

    def check(self, inputs) -> None:
        """Refuse a model that `engine` cannot follow; `inputs` [1, ...] or more.

        The model is traced at the first call, on the shapes alone; nothing is run.

        Raises:
            ValueError: the model reads a parameter past Keras or, where the engine goes layer by
                layer, outside the layer that owns it.
        """
        refuse_reads_past_keras(self.network, inputs)
        if self.engine in BY_LAYERS:
            refuse_other_uses(self.network, inputs)

    def forward(self, inputs) -> dict[str, tf.Tensor]:
        """Return {"logits": [N, C], ...} in the dtype of the model."""
        return named_outputs(self.network.outputs(self.network.values(), inputs))

    def prepare(self, rows: LossRows, inputs: list, coefficients: tf.Tensor) -> PlacedRows:
        """Place rows among the inputs of the forward pass that made them.

        Args:
            rows: R loss rows; coefficients: [R] from `row_coefficients`.
            inputs: what the forward was called on, one entry a call.

        Raises:
            ValueError: several calls where BatchNorm ties the examples of each together.
        """
        dtype, moving = self.network.dtype, self.network.batch_norm == "moving"
        if len(inputs) != 1 and not moving:
            raise ValueError(
                "`batch_norm` must be moving for an algorithm that calls the model more than once. "
                f"Received: {len(inputs)} calls with batch_norm='batch'. Use --infl_bn=moving"
            )
        together = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *inputs)
        z, loss = tf.cast(rows.logits, dtype), rows.loss_of_logits
        hessian = logit_hessian(loss, z, self.curvature_kind)
        parts = (z, logit_gradient(loss, z), hessian, tf.cast(coefficients, dtype))
        positions = rows.positions
        if positions is None:
            positions = tf.range(tf.shape(z)[0])[:, None]
        first = positions[:, 0]
        if moving:  # nothing ties the examples together: leave out those without a row
            chosen = tf.nest.map_structure(lambda x: tf.gather(x, first), together)
            places = tf.range(tf.shape(z)[0])[:, None]
            return PlacedRows(QuadraticRows(chosen, *parts), places)
        count = tf.shape(tf.nest.flatten(together)[0])[0]
        spread = [_scatter(part, first, count) for part in parts]
        return PlacedRows(QuadraticRows(together, *spread), positions)

    def validation_gradient(self, validation: LabeledBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean cross-entropy on V' and its gradient [p] in the model's dtype."""
        values = self.network.values()
        with tf.GradientTape() as tape:
            tape.watch(values)
            z = self.network(values, validation.inputs)
            one_hot = one_hot_labels(validation, z.shape[-1], z.dtype, "validation")
            loss = tf.reduce_mean(SoftmaxCrossEntropy(one_hot)(z))
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        return loss, self.network.flatten(gradients)

    def curvature(self, rows: PlacedRows, unroll: Unroll | None = None) -> Curvature:
        """Return H of the objective on these rows; weight decay in its ridge."""
        return subnetwork_curvature(
            self.network,
            rows.quadratic,
            self.ridge(),
            kind=self.curvature_kind,
            sample_size=self.sample_size,
            max_memory=self.max_memory,
            unroll=unroll,
        )

    def ridge(self) -> tf.Tensor:
        """Return the diagonal that weight decay adds to H, [p]."""
        decays = [self.l2 if is_decayed(v, self.l2_scope) else 0.0 for v in self.variables]
        parts = zip(self.variables, decays, strict=True)
        return self.network.flatten([tf.fill(v.shape, tf.constant(c, v.dtype)) for v, c in parts])

    def dot_products(self, rows: PlacedRows, vector: tf.Tensor) -> tf.Tensor:
        """Return grad l_r . v for every row, [R]; `vector` [p]."""
        q = rows.quadratic
        at_places = per_example_dot_products(
            self.network,
            q.inputs,
            q.gradient,
            self.network.unflatten(vector),
            engine=self.engine,
            max_memory=self.max_memory,
        )
        # A view that only makes a target has a share where BatchNorm ties the batch together.
        present = tf.cast(rows.positions >= 0, at_places.dtype)
        return tf.reduce_sum(present * tf.gather(at_places, tf.maximum(rows.positions, 0)), axis=1)


def _scatter(part, places, count):
    shape = tf.concat([[count], tf.shape(part)[1:]], axis=0)
    spread = tf.scatter_nd(places[:, None], part, shape)
    return tf.ensure_shape(spread, [None, *part.shape[1:]])
