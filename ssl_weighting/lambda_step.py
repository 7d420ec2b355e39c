"""Lines 7-12 of the algorithm: measure a batch, solve Eq. 6, move the weights of its examples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf

from ssl_weighting import objective
from ssl_weighting.checks import check_labeled, check_number, check_unlabeled
from ssl_weighting.influence import Influence, influence, lam_gradient
from ssl_weighting.inverse_hessian import DIVERGED, STATUS
from ssl_weighting.lambda_step_settings import LAST_LAYER, LambdaStepSettings
from ssl_weighting.parameters import Parameters, made_rows
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.structs import LossRows, sum_by_id
from ssl_weighting.theta.step import NonFiniteError

_HALVES = (slice(0, None, 2), slice(1, None, 2))


class Measured(NamedTuple):
    """A Lambda-step that has been computed but not applied."""

    ids: tf.Tensor  # [K] int64, each once
    lam_gradient: tf.Tensor  # [K] float32, Eq. 6
    report: dict
    val_direction: tf.Tensor  # [p]


class LambdaStep:
    """Computes and applies one step on Lambda.

    Args:
        model: any built Keras model, inputs -> logits [N, C] or {"features", "logits"}.
        algorithm: (forward, labeled, unlabeled, step) -> LossRows.
        store: `WeightStore`.
        settings: `LambdaStepSettings`.
        weight_decay: coefficient of 0.5 ||kernel||^2 in the training objective.
        parameters: from `make_parameters`, where they are needed elsewhere too.
        replay: `Replay` of the last theta-steps, for method "unrolled" alone.
        views: how often each id stands in a batch; l_U(u) is the mean over its rows.
    """

    def __init__(
        self,
        model,
        algorithm,
        store,
        settings=None,
        weight_decay=0.0,
        *,
        parameters=None,
        replay=None,
        views=1,
    ):
        self.algorithm, self.store, self.replay, self.views = algorithm, store, replay, views
        self.settings = settings or LambdaStepSettings()
        if (self.settings.inverse_hessian == "unrolled") != (replay is not None):
            raise ValueError(
                '`replay` must be given for inverse_hessian="unrolled" and for no other method; '
                f"`BilevelTrainer` makes it. Received: inverse_hessian="
                f"{self.settings.inverse_hessian!r}, replay={replay}"
            )
        check_number("weight_decay", weight_decay)
        self.parameters = parameters or make_parameters(model, self.settings, weight_decay)
        self.num_classes = None  # known once rows have been made
        self._measure = tf.function(self._measure_fn, autograph=False)
        self._apply = tf.function(self._apply_fn, autograph=False, reduce_retracing=True)

    def measure(self, labeled, unlabeled, validation, step: int) -> Measured:
        """Return Eq. 6 for the batch; nothing is changed.

        Args:
            labeled, validation: LabeledBatch; unlabeled: UnlabeledBatch.
            step: theta-steps taken so far.

        Raises:
            ValueError: no validation example, labels or ids of another shape or out of range.
        """
        self.check(labeled, unlabeled, validation)
        first = self.num_classes is None
        history = self.replay.tensors(step) if self.replay else None
        m = self._measure(labeled, unlabeled, validation, tf.constant(step, tf.int64), history)
        if first:  # C is known by now
            self.check(labeled, unlabeled, validation)
        return self.reported(m)

    def check(self, labeled, unlabeled, validation) -> None:
        """Check batches as `measure` does; labels against C once that is known."""
        check_labeled(labeled, "labeled", self.num_classes)
        check_labeled(validation, "validation", self.num_classes)
        check_unlabeled(unlabeled, self.store.num_unlabeled)

    def agreement_of_halves(self, labeled, unlabeled, validation, step: int) -> float:
        """Return the rank correlation of the scores by every second example of V' and the rest.

        NaN where V' is a single example.
        """
        if len(validation.label) < 2:
            return float("nan")
        halves = [tf.nest.map_structure(lambda x, s=s: x[s], validation) for s in _HALVES]
        found = [self.measure(labeled, unlabeled, half, step) for half in halves]
        return rank_correlation(*(measured.lam_gradient for measured in found))

    def reported(self, m: dict) -> Measured:
        """Return what `measure_rows` gave outside its function, with the report for the log."""
        status = int(m["status"])
        report = {"validation_loss": float(m["validation_loss"])}
        finite = bool(m["finite"])
        report |= {"finite": finite, "skipped": finite and status == DIVERGED}
        report |= {"solve": STATUS[status], "iterations": int(m["iterations"])}
        keys = ("influence_abs_mean", "cosine_exact_identity", "residual", "hessian_over_damping")
        keys += ("least_eigenvalue", "condition", "damping")
        report |= {key: float(m[key]) for key in keys if key in m}
        return Measured(m["ids"], m["lam_gradient"], report, m["val_direction"])

    def apply(
        self,
        measured: Measured,
        scores: StaleScores | None = None,
        met: np.ndarray | None = None,
    ) -> None:
        """Move the weights, unless the method found no solution.

        Args:
            measured: from `measure`; its report gains what `scores` has to say.
            scores: gathered since the last Lambda-step; they move the weights too.
            met: as in `StaleScores.refresh`.

        Raises:
            NonFiniteError: the measurement, or a score since the last one, is not finite.
            ValueError: `WeightStore.checked` refuses it. Nothing has moved in either case.
        """
        refuse_non_finite(measured)
        if measured.report["skipped"]:
            return
        if scores:
            scores.refuse_non_finite(met)
            met = None if met is None else tf.constant(met, tf.int64)
        checked = self.store.checked(measured.ids, measured.lam_gradient)
        stale = self._apply(*checked, measured.val_direction, scores, met)
        self.store.note(stale["ids"])
        if scores:
            correlation = rank_correlation(stale["stale"], stale["fresh"])
            scored = len(stale["ids"])
            measured.report.update(scored=scored, stale_fresh_spearman=correlation)

    def _apply_fn(self, ids, gradient, direction, scores, met):
        if not scores:
            self.store.update(ids, gradient)
            return {"ids": ids}
        gathered = scores.refresh(ids, gradient, direction, met)
        self.store.update(gathered["ids"], gathered["gradient"])
        return {name: gathered[name] for name in ("ids", "stale", "fresh")}

    def _measure_fn(self, labeled, unlabeled, validation, step, history):
        rows, inputs = self.rows(self.parameters.forward, labeled, unlabeled, step)
        count = tf.size(unlabeled.ids) // self.views
        return self.measure_rows(rows, inputs, count, validation, step, history)

    def rows(self, forward, labeled, unlabeled, step) -> tuple[LossRows, list]:
        """Return the algorithm's rows of a batch, and what `forward` was called on to make them."""
        rows, inputs = made_rows(forward, self.algorithm, labeled, unlabeled, step)
        self.num_classes = rows.logits.shape[-1]
        return rows, inputs

    def measure_rows(self, rows: LossRows, inputs: list, count, validation, step, history=None):
        """Return Eq. 6 for rows that are there already, as tensors.

        Args:
            rows: of the algorithm; inputs: what the forward that made them was called on (not read
                where Eq. 6 speaks of the last layer).
            count: U; step: scalar int64; history: from `Replay.tensors`.
        """
        s = self.settings
        self.num_classes = rows.logits.shape[-1]
        coefficients = self.coefficients(rows, step)
        prepared = self.parameters.prepare(rows, inputs, coefficients)
        unroll = self.replay.unroll(history) if self.replay else None
        found = influence(self.parameters, prepared, validation, s.inverse_hessian, s.solve, unroll)
        ids, gradient = sum_by_id(*lam_gradient(rows, found.scores, count, s.infl_mask_grad))
        values = [rows.loss, rows.logits, rows.confidence, coefficients]
        return self.told(found, ids, gradient, values, prepared)

    def told(self, found: Influence, ids, gradient, values: list, prepared) -> dict[str, tf.Tensor]:
        """Return what `reported` takes; `values` are what must be finite beside the influences."""
        ok = found.solution.status != DIVERGED
        values = [*values, found.val_gradient, found.validation_loss]
        values += [tf.where(ok, gradient, tf.zeros_like(gradient))]
        return {
            "ids": ids,
            "lam_gradient": gradient,
            "val_direction": found.val_direction,
            "finite": tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in values]),
            "influence_abs_mean": tf.reduce_mean(tf.abs(gradient)),
            **_describe(found),
            **self._distance_from_identity(prepared),
        }

    def coefficients(self, rows: LossRows, step) -> tf.Tensor:
        """Return the factor of each row in the objective whose Hessian Eq. 6 takes, [R]."""
        lam = self.store.gather(rows.ids, rows.confidence, rows.logits.shape[-1], step)
        if not self.settings.hess_wu and rows.without_wu is not None:
            # DEVIATION (released): H gives the unlabeled mean the coefficient 1, whatever wu is.
            rows = rows._replace(coefficient=rows.without_wu)
        return objective.row_coefficients(rows, objective.row_weights(rows, lam))

    def _distance_from_identity(self, prepared):
        """How exact "exact" is: beside a large damping it is nearly the identity."""
        s = self.settings
        if s.inverse_hessian != "exact" or not self.parameters.closed_form:
            return {}
        if self.parameters.size > s.solve.dense_limit:
            return {}  # it would form the matrix that the solve avoids
        norm = tf.norm(self.parameters.curvature(prepared).dense())
        diagonal = tf.reduce_max(self.parameters.ridge()) + s.solve.damping
        return {"hessian_over_damping": tf.math.divide_no_nan(norm, diagonal)}


def make_parameters(
    model,
    settings: LambdaStepSettings,
    weight_decay: float,
    weight_decay_scope: str = "kernels",
    scores_theta_steps: bool = False,
) -> Parameters:
    """Return what Eq. 6 speaks of: a `LastLayer` or a `Subnetwork`.

    Raises:
        ValueError: `influence_params` finds nothing in `model`, or the last layer is not a Dense
            layer that gives the logits.
    """
    s = settings
    shared = {
        "batch_norm": s.infl_bn,
        "curvature": s.curvature,
        "l2": weight_decay if s.hess_l2_coeff is None else s.hess_l2_coeff,
        "l2_scope": weight_decay_scope,
        "sample_size": s.solve_sample,
    }
    if s.influence_params == LAST_LAYER:
        options = {"include_bias": s.theta_hat == "kernel_bias"}
        return LastLayer(model, scores_theta_steps=scores_theta_steps, **options, **shared)
    options = {"engine": s.per_example_engine, "max_memory": s.max_memory}
    return Subnetwork(model, s.influence_params, **options, **shared)


def refuse_non_finite(measured: Measured, step: int | None = None) -> None:
    """Stop where a measurement, at theta-step `step`, met a value that is not finite.

    Raises:
        NonFiniteError: it did.
    """
    if not measured.report["finite"]:
        where = "" if step is None else f" at step {step}"
        raise NonFiniteError(
            f"The Lambda-step{where} met a non-finite value: {measured.report}. Lambda is "
            "untouched. Raise the damping, lower the learning rate or check the inputs."
        )


def rank_correlation(stale, fresh) -> float:
    """Return Spearman's correlation of scores [K]; NaN entries of `stale` are left out.

    NaN for fewer than three pairs, or where one side is constant.
    """
    stale, fresh = stale.numpy(), fresh.numpy()
    both = np.isfinite(stale)
    pair = stale[both], fresh[both]
    if both.sum() < 3 or any(np.ptp(values) == 0 for values in pair):
        return float("nan")
    return float(scipy.stats.spearmanr(*pair).statistic)


def _describe(found: Influence):
    solution = found.solution
    return {
        "validation_loss": found.validation_loss,
        "cosine_exact_identity": found.cosine,
        "status": solution.status,
        "iterations": solution.iterations,
        "residual": solution.residual,
        "least_eigenvalue": solution.least_eigenvalue,
        "condition": solution.condition,
        "damping": solution.damping,
    }
