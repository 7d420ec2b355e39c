"""The Lambda-step of `ssl_weighting.lambda_step` cut in three, so that each part can be timed.

Only the plain case of the default settings: one parent per unlabeled row, bias included, mask 1. A
test holds the three together against the uncut step.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ssl_weighting import influence as eq6
from ssl_weighting.losses import SoftmaxCrossEntropy


class Passes(NamedTuple):
    """What the forward passes leave for the rest; R = B + U rows."""

    features: tf.Tensor  # [R, d] float32
    logits: tf.Tensor  # [R, C] float32
    targets: tf.Tensor  # [R, C] float32, frozen
    coefficients: tf.Tensor  # [R] float32: 1/B, wu/U
    val_features: tf.Tensor  # [V, d] float32
    val_logits: tf.Tensor  # [V, C] float32
    val_labels: tf.Tensor  # [V] int32


def forward_passes(model, algorithm, labeled, unlabeled, validation) -> Passes:
    """Run the model on D', U' (both views) and V' with batch statistics, moving nothing."""
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def forward(inputs):
        return model.stateless_call(trainable, others, inputs, training=True)[0]

    rows = algorithm(forward, labeled, unlabeled, tf.constant(0, tf.int64))
    out = forward(validation.inputs)
    return Passes(
        rows.features,
        rows.logits,
        rows.loss_of_logits.targets,
        rows.coefficient,
        out["features"],
        out["logits"],
        validation.label,
    )


def hessian_and_solve(settings, weight_decay: float, passes: Passes) -> tf.Tensor:
    """Return v = H^-1 grad L_S(V), [d + 1, C] float64."""
    gradient = eq6.validation_gradient(
        passes.val_features, passes.val_logits, passes.val_labels, include_bias=True
    )
    hessian = eq6.data_hessian(_head_rows(passes), passes.coefficients)
    d, c = passes.features.shape[1], passes.logits.shape[1]
    diagonal = eq6.ridge(d, c, weight_decay, settings.damping, True)
    solved = eq6.solve_direction(hessian, diagonal, gradient, settings.inverse_hessian)
    return solved.val_direction


def contraction_and_update(store, passes: Passes, val_direction, index) -> tf.Tensor:
    """Contract the unlabeled rows with v, move their weights; return Eq. 6's values [U] float32."""
    start = tf.shape(passes.logits)[0] - tf.size(index)
    unlabeled = Passes(*(part[start:] for part in passes[:4]), *passes[4:])
    # Reported per d l_U: times U, which the coefficient wu / U divides by.
    scale = tf.cast(unlabeled.coefficients * tf.cast(tf.size(index), tf.float32), tf.float64)
    s = eq6.influence(_head_rows(unlabeled), val_direction) * scale
    lam_gradient = tf.cast(s, tf.float32)
    store.update(index, lam_gradient)
    return lam_gradient


def _head_rows(passes):
    loss = SoftmaxCrossEntropy(passes.targets)
    return eq6.head_rows(
        passes.features, passes.logits, loss, include_bias=True, curvature="gauss_newton"
    )
