"""The SSL objective of a problem as compiled functions of flat parameters.

The weighted sum is `objective.weighted_objective` itself, on loss rows in float64.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from experiments.verification.problems import Data, Problem
from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.models.network import Network
from ssl_weighting.objective import l2_penalty, row_weights, weighted_objective
from ssl_weighting.structs import LossRows

COMPILED = (
    "targets", "gradient", "validation", "hessian", "row_gradients", "gauss_newton", "target_pull",
)  # fmt: skip
WARM_UP = 30  # forward passes that set BatchNorm's statistics


class Task:
    """A problem's net, compiled once for all seeds.

    `params` is theta, [p] float64; `targets` is [U, C] float64, frozen; `lam` is [U] float64.
    """

    def __init__(self, problem: Problem):
        self.problem, self.model = problem, problem.build(0)
        self.network = Network(self.model, "all")
        self.anchor = tf.Variable(tf.zeros_like(self.network.flatten(self.network.values())))
        # XLA: the Hessian of the convolutional net takes a quarter of the time.
        for name in COMPILED:
            part = tf.function(getattr(self, f"_{name}"), autograph=False, jit_compile=True)
            setattr(self, name, part)

    @property
    def size(self) -> int:
        """The number of parameters p."""
        return self.network.size

    def restart(self, seed: int, data: Data) -> tf.Tensor:
        """Give the net fresh values and BatchNorm statistics; return its parameters [p]."""
        self.model.set_weights(self.problem.build(seed).get_weights())
        if any(isinstance(part, keras.layers.BatchNormalization) for part in self.model.layers):
            for _ in range(WARM_UP):
                self.model(training_inputs(data), training=True)
        params = self.network.flatten(self.network.values())
        self.anchor.assign(params if self.problem.anchored else tf.zeros_like(params))
        return params

    def assign(self, params: tf.Tensor) -> None:
        """Give the net these parameters [p]."""
        for variable, value in zip(
            self.network.variables, self.network.unflatten(params), strict=True
        ):
            variable.assign(value)

    def forward(self, params):
        """Return the function inputs -> {"features", "logits"} at `params`."""
        return lambda x: self.network.outputs(self.network.unflatten(params), x)

    def objective(self, params, data: Data, targets, lam) -> tf.Tensor:
        """Return the objective, a scalar."""
        rows = loss_rows(self.forward(params), data, targets)
        weighted = weighted_objective(rows, row_weights(rows, parent_weights(data, lam)))
        return weighted + self.problem.ridge * l2_penalty([params - self.anchor])

    def _targets(self, params, data):
        logits = self.forward(params)(data.unlabeled.weak)["logits"]
        if not self.problem.temperature:
            return tf.one_hot(tf.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
        return tf.nn.softmax(logits / self.problem.temperature)

    def _gradient(self, params, data, targets, lam):
        """Return the objective and its gradient [p]."""
        with tf.GradientTape() as tape:
            tape.watch(params)
            value = self.objective(params, data, targets, lam)
        return value, tape.gradient(value, params)

    def _validation(self, params, data):
        """Return the mean cross-entropy on V and its gradient [p]."""
        with tf.GradientTape() as tape:
            tape.watch(params)
            logits = self.forward(params)(data.validation.inputs)["logits"]
            one_hot = tf.one_hot(data.validation.label, logits.shape[-1], dtype=logits.dtype)
            value = tf.reduce_mean(SoftmaxCrossEntropy(one_hot)(logits))
        return value, tape.gradient(value, params)

    def _hessian(self, params, data, targets, lam):
        """Return the Hessian of the objective [p, p], column by column, forward over reverse."""

        def column(direction):
            with tf.autodiff.ForwardAccumulator(params, direction) as accumulator:
                gradient = self._gradient(params, data, targets, lam)[1]
            return accumulator.jvp(gradient)

        return tf.map_fn(column, tf.eye(self.size, dtype=params.dtype))

    def _row_gradients(self, params, data, targets):
        """Return d loss_u / d theta for every unlabeled example [U, p], one reverse pass each."""

        def one(example):
            image, target = example
            with tf.GradientTape() as tape:
                tape.watch(params)
                loss = SoftmaxCrossEntropy(target[None])(
                    self.forward(params)(image[None])["logits"]
                )
            return tape.gradient(loss, params)

        return tf.map_fn(one, (data.unlabeled.strong, targets), fn_output_signature=params.dtype)

    def _gauss_newton(self, params, data, targets, lam):
        """Return the Gauss-Newton matrix of the objective, [p, p], ridge included."""
        inputs, rows = training_inputs(data), loss_rows(self.forward(params), data, targets)
        factor = rows.coefficient * row_weights(rows, parent_weights(data, lam))
        inner = factor[:, None, None] * softmax_hessian(rows.logits)
        total = self._sandwich(params, inputs, inner, inputs)
        return total + self.problem.ridge * tf.eye(self.size, dtype=params.dtype)

    def _target_pull(self, params, data, lam):
        """Return how the gradient falls when targets follow theta, [p, p].

        d grad / d theta with live targets is the Hessian minus this,
        sum_u (lambda_u / U) J_strong^T (dq / dz_weak) J_weak.
        """
        views, t = data.unlabeled, self.problem.temperature
        if not t:  # hard labels: constant nearly everywhere
            return tf.zeros([self.size, self.size], params.dtype)
        slope = softmax_hessian(self.forward(params)(views.weak)["logits"] / t) / t
        inner = (lam / lam.shape[0])[:, None, None] * slope
        return self._sandwich(params, views.strong, inner, views.weak)

    def _sandwich(self, params, left, inner, right):
        """Return sum_n J(left_n)^T inner_n J(right_n), [p, p], with J the Jacobian of logits."""

        def jacobian(image):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(params)
                parts = tf.unstack(self.forward(params)(image[None])["logits"][0])
            return tf.stack([tape.gradient(part, params) for part in parts])

        def add(total, example):
            product = tf.matmul(example[1], jacobian(example[2]))
            return total + tf.matmul(jacobian(example[0]), product, transpose_a=True)

        start = tf.zeros([self.size, self.size], params.dtype)
        return tf.foldl(add, (left, inner, right), start)


def softmax_hessian(logits: tf.Tensor) -> tf.Tensor:
    """Return diag(p) - p p^T of p = softmax(logits), [..., C, C]."""
    p = tf.nn.softmax(logits)
    return tf.linalg.diag(p) - p[..., :, None] * p[..., None, :]


def training_inputs(data: Data) -> tf.Tensor:
    """Return what the training forward sees, [B + U, ...]: labeled, then strong views."""
    return tf.concat([data.labeled.inputs, data.unlabeled.strong], axis=0)


def loss_rows(forward, data: Data, targets: tf.Tensor) -> LossRows:
    """Return B + U rows in the dtype of the data, their coefficients 1/B and 1/U, no mask.

    Args:
        forward: inputs -> {"features": [N, d], "logits": [N, C]}.
        targets: [U, C].
    """
    outputs = forward(training_inputs(data))
    logits, dtype = outputs["logits"], targets.dtype
    labels = tf.one_hot(data.labeled.label, logits.shape[-1], dtype=dtype)
    loss = SoftmaxCrossEntropy(tf.concat([labels, targets], axis=0))
    sizes = [data.labeled.label.shape[0], data.unlabeled.ids.shape[0]]
    coefficient = tf.concat([tf.fill([n], tf.constant(1 / n, dtype)) for n in sizes], axis=0)
    ids = tf.concat([-tf.ones([sizes[0]], tf.int64), data.unlabeled.ids], axis=0)
    ones = tf.ones_like(coefficient)
    return LossRows(
        loss=loss(logits),
        coefficient=coefficient,
        mask=ones,
        ids=tf.stack([ids, -tf.ones_like(ids)], axis=1),
        share=tf.stack([ones, tf.zeros_like(ones)], axis=1),
        features=outputs.get("features"),
        logits=logits,
        loss_of_logits=loss,
        confidence=tf.stack([ones, ones], axis=1),
    )


def parent_weights(data: Data, lam: tf.Tensor) -> tf.Tensor:
    """Return the weights of both parents of every row [B + U, 2]; 1 where there is none."""
    first = tf.concat([tf.ones_like(data.labeled.label, lam.dtype), lam], axis=0)
    return tf.stack([first, tf.ones_like(first)], axis=1)
