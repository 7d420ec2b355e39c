"""Lines 7-12 of the algorithm: measure a batch, solve Eq. 6, move the weights of its examples."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from ssl_weighting import influence as eq6
from ssl_weighting import objective
from ssl_weighting.inverse_hessian import METHODS
from ssl_weighting.models import HEAD
from ssl_weighting.structs import LossRows

BATCH_NORM_MODES = ("batch", "moving")
CURVATURES = ("hessian", "gauss_newton")


@dataclasses.dataclass(frozen=True)
class LambdaStepSettings:
    """The switches of Eq. 6 (rows of the presets table in the README).

    Attributes:
        inverse_hessian: a name in `inverse_hessian.METHODS`.
        damping: c >= 0, added to H over kernel and bias.
        hess_l2: coefficient of 0.5 ||K||^2 in H; None: that of the training objective.
        hess_wu: whether H uses the unlabeled coefficient (with its ramp) rather than 1.
        include_bias: whether the head's bias is among the parameters of Eq. 6.
        mask_in_gradient: whether the mask is part of l_U in Eq. 6 (the paper) or left out.
        batch_norm: "batch" or "moving" statistics in the Lambda-pass; neither moves them.
        curvature: "hessian" or "gauss_newton".
    """

    inverse_hessian: str = "exact"
    damping: float = 0.1
    hess_l2: float | None = None
    hess_wu: bool = True
    include_bias: bool = True
    mask_in_gradient: bool = True
    batch_norm: str = "batch"
    curvature: str = "gauss_newton"

    def __post_init__(self):
        """Check names and ranges.

        Raises:
            ValueError: an unknown name or a negative coefficient.
        """
        for name, known in (
            ("inverse_hessian", tuple(METHODS)),
            ("batch_norm", BATCH_NORM_MODES),
            ("curvature", CURVATURES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. Received: {getattr(self, name)!r}"
                )
        if self.damping < 0 or (self.hess_l2 or 0) < 0:
            raise ValueError(
                "`damping` and `hess_l2` must be >= 0. "
                f"Received: damping={self.damping}, hess_l2={self.hess_l2}"
            )


class Measured(NamedTuple):
    """A Lambda-step that has been computed but not applied."""

    index: tf.Tensor  # [K] int64
    lam_gradient: tf.Tensor  # [K] float32, Eq. 6
    report: dict


class LambdaStep:
    """Computes and applies one step on Lambda.

    Args:
        model, algorithm, store: as in `BilevelTrainer`.
        settings: `LambdaStepSettings`.
    """

    def __init__(self, model, algorithm, store, settings: LambdaStepSettings):
        self.model, self.algorithm, self.store, self.settings = model, algorithm, store, settings
        self.head = model.get_layer(HEAD)
        self._measure = tf.function(self._measure_fn, autograph=False)
        self._solve = tf.function(eq6.solve_direction, autograph=False)
        self._apply = tf.function(store.update, autograph=False)

    def measure(self, labeled, unlabeled, validation, step: int, weight_decay: float) -> Measured:
        """Return Eq. 6 for the batch; nothing is changed.

        Args:
            labeled, validation: LabeledBatch; unlabeled: UnlabeledBatch.
            step: theta-steps taken so far.
            weight_decay: coefficient of the training objective's L2 term.
        """
        m = self._measure(labeled, unlabeled, validation, tf.constant(step, tf.int64))
        report = {"validation_loss": float(m["validation_loss"])}
        if not bool(m["finite"]):
            return Measured(m["index"], m["scale"], report | {"finite": False})
        method = self.settings.inverse_hessian
        diagonal = self._diagonal(weight_decay)
        direction = self._solve(m["hessian"], diagonal, m["val_gradient"], method)
        if not bool(tf.reduce_all(tf.math.is_finite(direction.val_direction))):
            return self._not_positive_definite(m, diagonal, report)
        s = eq6.influence(eq6.HeadRows(*m["rows"]), direction.val_direction)
        lam_gradient = tf.cast(s * m["scale"], tf.float32)
        return Measured(m["index"], lam_gradient, report | _describe(lam_gradient, direction))

    def apply(self, measured: Measured) -> None:
        """Move the weights, unless the curvature was refused."""
        if not measured.report["skipped"]:
            self._apply(measured.index, measured.lam_gradient)

    def _measure_fn(self, labeled, unlabeled, validation, step):
        s = self.settings
        rows = self.algorithm(self._forward, labeled, unlabeled, step)
        out = self._forward(validation.inputs)
        lam = self.store.gather(rows.ids, rows.confidence, rows.logits.shape[-1], step)
        count = tf.cast(tf.size(unlabeled.index), tf.float32)
        scaled = rows if s.hess_wu else rows._replace(coefficient=_unit_coefficient(rows, count))
        coefficients = objective.row_coefficients(scaled, objective.row_weights(rows, lam))
        options = {"include_bias": s.include_bias, "curvature": s.curvature}
        head = eq6.head_rows(rows.features, rows.logits, rows.loss_of_logits, **options)
        gradient = eq6.validation_gradient(
            out["features"], out["logits"], validation.label, include_bias=s.include_bias
        )
        hessian = eq6.data_hessian(head, coefficients)
        values = [hessian, gradient, head.gradient, rows.loss]
        return {
            "hessian": hessian,
            "val_gradient": gradient,
            "validation_loss": _mean_loss(validation.label, out["logits"]),
            "finite": tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in values]),
            **self._unlabeled_parents(rows, head, count),
        }

    def _unlabeled_parents(self, rows: LossRows, head, count):
        # A = dw/dlambda: parent k of row r receives coef_rk * s_r. Reported per d l_U: times U.
        base = rows.coefficient * count
        base = base * rows.mask if self.settings.mask_in_gradient else base
        place = tf.where(rows.ids >= 0)
        picked = eq6.HeadRows(*(tf.gather(part, place[:, 0]) for part in head))
        scale = tf.gather(base, place[:, 0]) * tf.gather_nd(rows.coef, place)
        return {
            "index": tf.gather_nd(rows.ids, place),
            "rows": tuple(picked),
            "scale": tf.cast(scale, tf.float64),
        }

    def _forward(self, inputs):
        if self.settings.batch_norm == "moving":
            return self.model(inputs, training=False)
        # Batch statistics without moving the moving ones: run without side effects.
        trainable = [v.value for v in self.model.trainable_variables]
        others = [v.value for v in self.model.non_trainable_variables]
        return self.model.stateless_call(trainable, others, inputs, training=True)[0]

    def _diagonal(self, weight_decay):
        s = self.settings
        d, c = self.head.kernel.shape
        return eq6.ridge(
            d, c, weight_decay if s.hess_l2 is None else s.hess_l2, s.damping, s.include_bias
        )

    def _not_positive_definite(self, m, diagonal, report):
        least = float(tf.linalg.eigvalsh(m["hessian"] + tf.linalg.diag(diagonal))[0])
        report |= {"finite": True, "skipped": True, "least_eigenvalue": least}
        return Measured(m["index"], tf.zeros_like(m["index"], tf.float32), report)


def _unit_coefficient(rows, count):
    # DEVIATION (released): H gives the unlabeled mean the coefficient 1, whatever wu is.
    return tf.where(rows.ids[:, 0] < 0, rows.coefficient, 1 / count)


def _mean_loss(labels, logits):
    return tf.reduce_mean(
        keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    )


def _describe(lam_gradient, direction):
    finite = bool(tf.reduce_all(tf.math.is_finite(lam_gradient)))
    return {
        "finite": finite,
        "skipped": False,
        "influence_abs_mean": float(tf.reduce_mean(tf.abs(lam_gradient))),
        "hessian_over_damping": float(direction.hessian_over_damping),
        "cosine_exact_identity": float(direction.cosine_exact_identity),
        "residual": float(direction.residual),
    }
