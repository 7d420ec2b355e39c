"""What a model must be that `fit` trains with weights, checked on real inputs before training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ssl_weighting.checks import check_labeled
from ssl_weighting.data.examples import Examples
from ssl_weighting.models.network import named_outputs
from ssl_weighting.structs import LabeledBatch

_SUMS_TO_ONE = 1e-2  # half precision


def refuse_several_devices() -> None:
    """Refuse a `tf.distribute` strategy of several replicas, whose scope this is.

    Raises:
        ValueError: it is one.
    """
    count = tf.distribute.get_strategy().num_replicas_in_sync
    if count > 1:
        raise ValueError(
            "`fit` with weights must run on one device. Received: a tf.distribute strategy of "
            f"{count} replicas, each of which would see a part of the batch as the whole of it. "
            "`BilevelTrainer` with `theta.devices.Devices` divides theta-steps"
        )


def check_model(model, some: Examples, validation: Examples) -> int:
    """Return C, the number of the model's classes.

    Args:
        model: Keras model; it is called, and by that built. some: of V; validation: V.

    Raises:
        ValueError: it does not return logits [n, C] in float32, has losses of its own, or labels
            are outside 0..C-1.
    """
    outputs = named_outputs(model(some.inputs, training=False))
    logits = outputs.get("logits")
    if not tf.is_tensor(logits) or logits.shape.rank != 2 or logits.shape[1] < 2:
        found = {name: tuple(getattr(value, "shape", ())) for name, value in outputs.items()}
        raise ValueError(
            '`model` must return logits [n, C] of at least two classes, or a dict with "logits". '
            f"Received: {found}. Two classes take two logits, by Dense(2)"
        )
    if logits.dtype != tf.float32:
        raise ValueError(
            f"`model` must return its logits in float32. Received: {logits.dtype.name}. Give its "
            'last layer dtype="float32", also where the others compute in half precision'
        )
    z = logits.numpy().astype(np.float64)
    if (z >= 0).all() and (abs(z.sum(axis=1) - 1) < _SUMS_TO_ONE).all():
        raise ValueError(
            "`model` must return logits. Received: probabilities, which sum to 1. Take the softmax "
            "off its end (its last layer is Dense(C) without activation)"
        )
    if model.losses:
        raise ValueError(
            "`model` must have no losses of its own: neither the algorithm's objective nor Eq. 6 "
            f"has them. Received: {len(model.losses)}, by a regularizer or `add_loss`. Leave them "
            "out; weight_decay=c adds c times half the squared kernels to the objective"
        )
    if not model.trainable_variables:
        raise ValueError("`model` must have trainable variables. Received: none")
    check_labeled(LabeledBatch(validation.inputs, validation.labels), "validation", logits.shape[1])
    return logits.shape[1]
