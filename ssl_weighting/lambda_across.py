"""The Lambda-step of several processes: each measures all of it, one does, or all share it.

A Lambda-step is half a percent of a run, so that by default every process takes all of it: on equal
machines the same batch, theta and kernels give the same bits, and nothing need be sent. Machines
that differ round otherwise; then the chief measures and the others take what it found. To `split`
it is for what takes long, a subnetwork with an iterative method.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms import UDA, FixMatch, PseudoLabel
from ssl_weighting.influence import influence, lam_gradient
from ssl_weighting.inverse_hessian import Curvature
from ssl_weighting.lambda_step import LambdaStep, Measured
from ssl_weighting.structs import sum_by_id
from ssl_weighting.theta.devices import Devices

COMPARED_EVERY = 50  # Lambda-steps, the first after a start among them
METHODS = ("exact", "identity", "conjugate_gradient", "neumann")  # they ask for products of H alone


class Each(LambdaStep):
    """Every process measures the whole batch, and now and then they compare what they found."""

    def __init__(self, *args, devices: Devices, **options):
        super().__init__(*args, **options)
        self.devices, self.taken = devices, 0

    def measure(self, labeled, unlabeled, validation, step: int) -> Measured:
        """Return what `LambdaStep.measure` returns.

        Raises:
            ValueError: as there, or a process found something else than the chief.
        """
        measured = super().measure(labeled, unlabeled, validation, step)
        if self.taken % COMPARED_EVERY == 0:
            found = measured.ids.numpy().tobytes() + measured.lam_gradient.numpy().tobytes()
            digest = np.frombuffer(hashlib.sha256(found).digest(), np.uint8)
            differs = (self.devices.gathered(digest) != digest).any(axis=1)
            if differs.any():
                raise ValueError(
                    "`lambda_workers` must be chief, or split, where workers round otherwise. "
                    f"Received: each, and at step {step} other influences on worker "
                    f"{int(differs.argmax())} than on worker {self.devices.worker}, to the bit. "
                    "Lambda is untouched. Go on with --lambda_workers=chief"
                )
        self.taken += 1
        return measured


class Chief(LambdaStep):
    """The chief measures, and the others take what it found, to the bit."""

    def __init__(self, *args, devices: Devices, **options):
        super().__init__(*args, **options)
        self.devices = devices

    def measure(self, labeled, unlabeled, validation, step: int) -> Measured:
        """Return what `LambdaStep.measure` returns of the chief.

        The reports of the others say only whether it is finite, and whether it is skipped.
        """
        if not self.devices.is_chief:
            return self._received()
        measured = super().measure(labeled, unlabeled, validation, step)
        arrays = [measured.ids.numpy(), measured.lam_gradient.numpy()]
        arrays.append(measured.val_direction.numpy())
        report = measured.report
        sizes = [len(arrays[0]), len(arrays[2]), arrays[2].itemsize]
        header = [*sizes, report["finite"], report["skipped"]]
        self.devices.from_chief([np.array(header, np.int64)])
        self.devices.from_chief(arrays)
        return measured

    def _received(self):
        header = self.devices.from_chief([np.zeros(5, np.int64)])[0]
        count, size, bytes_each, finite, skipped = header.tolist()
        shapes = (count, np.int64), (count, np.float32), (size, f"f{bytes_each}")
        ids, gradient, direction = self.devices.from_chief([np.zeros(*shape) for shape in shapes])
        report = {"finite": bool(finite), "skipped": bool(skipped), "solve": ""}
        return Measured(*map(tf.constant, (ids, gradient)), report, tf.constant(direction))


class _Scored(NamedTuple):
    """What `lam_gradient` reads of loss rows."""

    coefficient: tf.Tensor
    mask: tf.Tensor
    ids: tf.Tensor
    share: tf.Tensor


class Split(LambdaStep):
    """Every device makes the rows of its part of D', U' and V'; H and its solution are shared.

    H and grad L_S(V') are means over the parts, all of one size, so that products of H cost a mean
    over the devices each. Every device solves the same system and scores its own rows. Equal to the
    whole but for rounding.

    Args:
        args, options: as of `LambdaStep`, with "moving" statistics and a method in `METHODS`.
        devices: at least two, of one process or several.

    Raises:
        ValueError: settings or an algorithm that tie the examples of a batch together, or a method
            that needs more than products of H.
    """

    def __init__(self, *args, devices: Devices, **options):
        super().__init__(*args, **options)
        _check_split(self.settings, self.algorithm)
        self.devices, self.whole = devices, self.parameters
        self.parameters = _Mean(self.whole, devices)

    def _measure_fn(self, labeled, unlabeled, validation, step, history):
        del history  # of a method that is refused
        prepared, scored, finite = self.devices.on_all(self._rows, labeled, unlabeled, step)
        scored = _Scored(*map(self.devices.joined, scored))
        s, count = self.settings, tf.size(unlabeled.ids) // self.devices.count
        found = influence(self.parameters, prepared, validation, s.inverse_hessian, s.solve)
        ids, gradient = sum_by_id(*lam_gradient(scored, found.scores, count, s.infl_mask_grad))
        return self.told(found, ids, gradient, [self.devices.joined(finite)], prepared)

    def _rows(self, labeled, unlabeled, step):
        """Return the rows of this device's part, prepared; what else their scores need; a check."""
        labeled, unlabeled = _my_part(labeled, "labeled"), _my_part(unlabeled, "unlabeled")
        rows, inputs = self.rows(self.whole.forward, labeled, unlabeled, step)
        coefficients = self.coefficients(rows, step)
        prepared = self.whole.prepare(rows, inputs, coefficients)
        values = rows.loss, rows.logits, rows.confidence, coefficients
        bad = tf.add_n([tf.reduce_sum(tf.cast(v, tf.float64) * 0.0) for v in values])
        return prepared, _Scored(rows.coefficient, rows.mask, rows.ids, rows.share), bad[None]


class _Mean:
    """Parameters whose gradient and curvature are means over the parts of devices."""

    def __init__(self, whole, devices):
        self.whole, self.devices = whole, devices

    def __getattr__(self, name):
        return getattr(self.whole, name)  # what no rows are needed for

    def validation_gradient(self, validation):
        def of_part(validation):
            return self.whole.validation_gradient(_my_part(validation, "validation"))

        return tuple(map(self.devices.mean, self.devices.on_all(of_part, validation)))

    def curvature(self, rows, unroll=None):
        del unroll

        def mean_of(name):
            def of_part(rows, *x):
                return getattr(self.whole.curvature(rows), name)(*x)

            return lambda *x: self.devices.mean(self.devices.on_all(of_part, rows, *x))

        both = {name: mean_of(name) for name in ("product", "dense")}
        return Curvature(self.whole.size, self.whole.ridge(), **both)

    def dot_products(self, rows, vector):
        return self.devices.joined(self.devices.on_all(self.whole.dot_products, rows, vector))


def _my_part(batch, name):
    """Return this device's part of a batch, all of them of one size."""
    context = tf.distribute.get_replica_context()
    count, place = (
        context.num_replicas_in_sync,
        tf.get_static_value(context.replica_id_in_sync_group),
    )
    size = tf.nest.flatten(batch)[0].shape[0]
    if size is None or size % count:
        raise ValueError(
            f"`lambda_workers`=split needs a {name} batch of the Lambda-step that divides evenly "
            f"among {count} devices. Received: {size} examples. Change --labeled_batch, "
            "--lambda_batch or --val_batch, or use another --lambda_workers"
        )
    return tf.nest.map_structure(lambda x: tf.split(x, count)[int(place)], batch)


def _check_split(settings, algorithm):
    method, statistics = settings.inverse_hessian, settings.infl_bn
    apart = isinstance(algorithm, FixMatch | PseudoLabel | UDA)
    tied = (
        getattr(algorithm, "broadcast_mask", False) or getattr(algorithm, "tsa", "none") != "none"
    )
    if method not in METHODS or statistics != "moving" or not apart or tied:
        raise ValueError(
            f"`lambda_workers`=split needs a method among {', '.join(METHODS)}, infl_bn=moving and "
            "fixmatch, uda without tsa or pseudo_label without the released mask, in which no "
            f"example depends on another. Received: {method}, infl_bn={statistics}, "
            f"{type(algorithm).__name__}"
        )


STEPS = {"each": Each, "chief": Chief, "split": Split}


def lambda_step_across(devices: Devices, lambda_workers: str, *args, **options) -> LambdaStep:
    """Return the Lambda-step of a run on `devices`.

    Args:
        devices: of the run.
        lambda_workers: "each", "chief" or "split" of `STEPS`; "auto": each where all processes run
            on machines of one kind, as far as `devices` knows, else chief. Without several
            processes it is not read.
        args, options: of `LambdaStep`.

    Raises:
        ValueError: an unknown name; see `Split`.
    """
    if lambda_workers not in ("auto", *STEPS):
        known = ", ".join(("auto", *STEPS))
        raise ValueError(f"`lambda_workers` must be one of {known}. Received: {lambda_workers!r}")
    if devices.workers == 1:
        return LambdaStep(*args, **options)
    usual = "each" if devices.alike else "chief"
    kind = STEPS[usual if lambda_workers == "auto" else lambda_workers]
    return kind(*args, devices=devices, **options)
