"""The last layer as the parameters of Eq. 6: everything in closed form, in float64.

f = phi W + b makes grad l_r = phi_r (x) delta_r and the Hessian of a row phi phi^T (x) d^2 l/df^2,
so that features and logits are all that is needed. The logits are z = f, or z = f A with a fixed
matrix A (App. D's re-parametrisation): then d l/df = A d l/dz and d^2 l/df^2 = A d^2 l/dz^2 A^T.
Parameters are flattened row-major over (feature, output of the head); with the bias included the
features carry a trailing 1.
"""

from __future__ import annotations

import contextlib

import tensorflow as tf

from ssl_weighting.checks import check_number, one_hot_labels
from ssl_weighting.inverse_hessian import Curvature, Unroll
from ssl_weighting.losses import SoftmaxCrossEntropy, logit_gradient, logit_hessian
from ssl_weighting.models import logit_map
from ssl_weighting.models.network import Network, named_outputs, replaced_calls
from ssl_weighting.models.split_head import logit_map_layer
from ssl_weighting.parameters.last_layer_curvature import HeadRows, last_layer_curvature
from ssl_weighting.per_example_gradients.observe import observe
from ssl_weighting.per_example_gradients.rules import dense, rule_of
from ssl_weighting.per_example_gradients.uses import other_uses, refuse_reads_past_keras
from ssl_weighting.structs import LabeledBatch, LossRows
from ssl_weighting.theta.weight_decay import is_decayed


class LastLayer:
    """The kernel (and bias) of a model's last Dense layer, for Eq. 6.

    Args:
        model: built Keras model, inputs -> logits [N, C] or {"features", "logits"}; its last
            trainable variables belong to a Dense layer without activation. After it may stand
            `models.split_head`'s layer "logit_map" and nothing else.
        include_bias: whether the bias is among the parameters.
        batch_norm: "moving" or "batch" statistics; neither moves them.
        curvature: "hessian" or "gauss_newton" (see `losses.logit_hessian`).
        l2: coefficient of weight decay in the objective, >= 0; l2_scope: what it covers, see
            `weight_decay.is_decayed`.
        sample_size: rows of one random sample of the curvature (method stochastic_cg).
        scores_theta_steps: whether rows of theta-steps are scored too, with the model's "features".

    Raises:
        ValueError: the last layer is not such a layer.
    """

    def __init__(
        self,
        model,
        *,
        include_bias: bool = True,
        batch_norm: str = "moving",
        curvature: str = "gauss_newton",
        l2: float = 0.0,
        l2_scope: str = "kernels",
        sample_size: int = 64,
        scores_theta_steps: bool = False,
    ):
        check_number("l2", l2)
        check_number("sample_size", sample_size, 1, whole=True)
        self.network = Network(model, "last_layer", batch_norm=batch_norm)
        self.scores_theta_steps = scores_theta_steps
        self.kernel, *bias = self.network.variables
        if len(self.kernel.shape) != 2 or len(bias) > 1:
            shapes = {v.path: tuple(v.shape) for v in self.network.variables}
            raise ValueError(
                "The last layer must be a Dense layer (kernel [d, C], bias [C]). Received: "
                f"{shapes}. Take the parameters by name instead{self._by_name()}"
            )
        self.include_bias, self.curvature_kind = include_bias and bool(bias), curvature
        self.l2, self.l2_scope, self.sample_size = l2, l2_scope, sample_size
        self._map_layer, matrix = logit_map_layer(model), logit_map(model)
        self.logit_map = None if matrix is None else tf.constant(matrix)  # [o, C] float64

    dtype = "float64"
    closed_form = True

    @property
    def variables(self) -> list:
        """The Keras variables that Eq. 6 speaks of."""
        return self.network.variables[: 1 + self.include_bias]

    @property
    def size(self) -> int:
        """The number of parameters p."""
        d, o = self.kernel.shape
        return (d + self.include_bias) * o

    def forward(self, inputs) -> dict[str, tf.Tensor]:
        """Return {"features": [N, d], "logits": [N, C]} in the dtype of the model.

        Raises:
            ValueError: the logits are not the output of the layer alone.
        """
        self.check(inputs)
        with observe(self.network) as records, self._mapping() as mapped:
            out = named_outputs(self.network.outputs(self.network.values(), inputs))
        # Else grad l = phi (x) delta does not hold.
        if len(records) != 1 or not self._explains(out["logits"], records[0], mapped):
            kinds = ", ".join(sorted({type(r.layer).__name__ for r in records}))
            raise ValueError(
                "The logits must be what the last Dense layer returns, without an activation and "
                f"called once. Received: {len(records)} calls of {self.kernel.path} ({kinds}). "
                f"Train on logits, or take the parameters by name{self._by_name()}"
            )
        if self.scores_theta_steps:
            self._check_features(out.get("features"), records[0].args[0])
        return {**out, "features": records[0].args[0]}

    def _check_features(self, features, inputs):
        # Cast on its way into the layer, a tensor is another one.
        cast = tf.is_tensor(features) and features.dtype != inputs.dtype
        if features is not inputs and not (cast and features.shape == inputs.shape):
            raise ValueError(
                'The model must return {"features", "logits"}, the features those that the last '
                f"layer is called on, for score_every_step and infl_own_features. Received: "
                f'"features" {getattr(features, "shape", features)} beside an input '
                f"{inputs.shape} of {self.kernel.path}. Switch both off, or return that input"
            )

    def check(self, inputs) -> None:
        """Refuse a model whose features depend on the last layer; `inputs` [1, ...] or more.

        The model is traced at the first call, on the shapes alone; nothing is run.

        Raises:
            ValueError: it is such a model, or one that reads its variables past Keras.
        """
        refuse_reads_past_keras(self.network, inputs)
        uses = other_uses(self.network, inputs)
        paths = dict.fromkeys(uses.by_inputs + uses.by_logits)
        if paths:
            raise ValueError(
                "The last layer must read its kernel and bias alone, and its features must not "
                f"depend on them. Received: {', '.join(paths)}, which {self.network.model.name} "
                f"reads elsewhere too. Take the parameters by name{self._by_name()}"
            )

    def _by_name(self):
        layer = self.kernel.path.rpartition("/")[0]
        return (
            f" (a regular expression: --influence_params='{layer}/' with "
            "--per_example_engine=forward)"
        )

    @contextlib.contextmanager
    def _mapping(self):
        """Record what goes into the fixed layer behind the last one, and what comes out."""
        calls = []
        if self._map_layer is None:
            yield calls
            return
        call = self._map_layer.call

        def record(x, **options):
            calls.append((x, call(x, **options)))
            return calls[-1][1]

        with replaced_calls({self._map_layer: record}):
            yield calls

    def _explains(self, logits, record, mapped):
        """Return whether the logits are f = phi W + b of this call, or f A by the fixed layer."""
        if rule_of(record) is not dense:
            return False  # a subclass may compute anything
        if self._map_layer is None:
            return logits is record.inner
        return len(mapped) == 1 and mapped[0][0] is record.inner and mapped[0][1] is logits

    def prepare(self, rows: LossRows, inputs, coefficients: tf.Tensor) -> HeadRows:
        """Collect features and logit derivatives of loss rows; `inputs` are not read.

        Args:
            rows: with features from `forward`; coefficients: [R] from `row_coefficients`.
        """
        del inputs
        derivatives = self._derivatives(rows.features, rows.logits, rows.loss_of_logits)
        return HeadRows(*derivatives, tf.cast(coefficients, tf.float64))

    def validation_gradient(self, validation: LabeledBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean cross-entropy on V' and its gradient [p] float64."""
        out = self.forward(validation.inputs)
        one_hot = one_hot_labels(validation, out["logits"].shape[-1], tf.float64, "validation")
        loss = SoftmaxCrossEntropy(one_hot)
        phi, delta, _ = self._derivatives(out["features"], out["logits"], loss)
        total = tf.einsum("vi,vo->io", phi, delta) / tf.cast(tf.shape(phi)[0], tf.float64)
        return tf.reduce_mean(loss(tf.cast(out["logits"], tf.float64))), tf.reshape(total, [-1])

    def curvature(self, rows: HeadRows, unroll: Unroll | None = None) -> Curvature:
        """Return H of the objective on these rows; weight decay in its ridge."""
        # The closed forms of cross-entropy and KL never are indefinite; others may be.
        positive = self.curvature_kind == "gauss_newton"
        return last_layer_curvature(
            rows, self.ridge(), self.sample_size, positive=positive, unroll=unroll
        )

    def ridge(self) -> tf.Tensor:
        """Return the diagonal that weight decay adds to H, [p] float64."""
        decays = [self.l2 if is_decayed(v, self.l2_scope) else 0.0 for v in self.variables]
        sizes = [v.value.shape.num_elements() for v in self.variables]
        return tf.repeat(tf.constant(decays, tf.float64), sizes)

    def dot_products(self, rows: HeadRows, vector: tf.Tensor) -> tf.Tensor:
        """Return grad l_r . v for every row, [R] float64; `vector` [p]."""
        v = tf.reshape(vector, [rows.features.shape[-1], -1])
        return tf.einsum("ro,ro->r", rows.gradient, tf.matmul(rows.features, v))

    def _derivatives(self, features, logits, loss):
        phi, z = tf.cast(features, tf.float64), tf.cast(logits, tf.float64)
        if self.include_bias:
            phi = tf.concat([phi, tf.ones_like(phi[:, :1])], axis=1)
        delta, hessian = logit_gradient(loss, z), logit_hessian(loss, z, self.curvature_kind)
        if self.logit_map is not None:
            a = self.logit_map
            delta = tf.matmul(delta, a, transpose_b=True)
            hessian = tf.einsum("oc,rcd,qd->roq", a, hessian, a)
        return phi, delta, hessian
