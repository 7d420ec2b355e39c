"""Several devices of one machine: each takes its slice of every forward and backward pass.

As upstream's towers do, each device normalises its own slice of the interleaved batch, and the
outputs are put together again before anything else looks at them. Algorithm, objective and Lambda
therefore see the whole batch on every device, whatever their number; only the network is divided.
What is written once (Lambda's scores, the average of theta) is written by the first device.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream.fixmatch_interleave import interleave_order


class Devices:
    """The devices of a run; one of them, or none named, means no strategy at all.

    Args:
        names: as `tf.distribute.MirroredStrategy` takes them ("GPU:0", "CPU:1").
    """

    def __init__(self, names: Sequence[str] = ()):
        self.strategy = _strategy(tuple(names)) if len(names) > 1 else None

    @property
    def count(self) -> int:
        """How many they are."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def scope(self):
        """Return the context in which variables must be made that every device has a copy of."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def run(self, function: Callable, *args):
        """Return what the first device gets from `function(*args)`, which all of them call."""
        if not self.strategy:
            return function(*args)
        out = self.strategy.run(function, args)
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], out
        )


def check_devices(devices: Devices, jit: bool, inverse_hessian: str) -> None:
    """Refuse what several devices cannot do.

    Raises:
        ValueError: XLA, or the method that repeats theta-steps, on more than one device.
    """
    if devices.count > 1 and (jit or inverse_hessian == "unrolled"):
        raise ValueError(
            "Several devices need `jit` to be off, since they meet inside the theta-step, "
            "and another `inverse_hessian` than unrolled, which repeats steps on one device. "
            f"Received: {devices.count} devices, jit={jit}, "
            f"inverse_hessian={inverse_hessian!r}"
        )


def divided(forward: Callable, batch: int) -> Callable:
    """Return `forward` with its examples divided among the devices that call it together.

    The examples are interleaved (groups of `batch`, as upstream), cut into one contiguous slice a
    device, and the outputs are gathered in the original order on every device. Called from one
    device alone it is `forward`.

    Args:
        forward: see `structs.Forward`; outputs are a dict of [N, ...].
        batch: B, the labeled batch.
    """

    def of_slices(inputs, **switches):
        context = tf.distribute.get_replica_context()
        count = context.num_replicas_in_sync if context else 1
        if count == 1:
            return forward(inputs, **switches)
        order = _order(inputs.shape[0], batch, count)
        outputs = forward(_my_slice(inputs, order), **switches)
        return {name: _gathered(value, order) for name, value in outputs.items()}

    return of_slices


def is_first() -> bool:
    """Return whether this is the device that writes what is written once."""
    return _place(tf.distribute.get_replica_context()) == 0


def loss_per_device(loss: tf.Tensor) -> tf.Tensor:
    """Return this device's share of a loss that all of them computed: gradients are summed."""
    count = _count()
    return loss if count == 1 else loss / count


def fail_together(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Return gradients that are not finite on any device if they are not finite on one.

    A loss scale must fall on all of them or on none.
    """
    if _count() == 1:
        return gradients
    trouble = tf.add_n([tf.reduce_sum(g * 0.0) for g in gradients])
    trouble = tf.distribute.get_replica_context().all_reduce("SUM", trouble)
    return [g + trouble for g in gradients]


def average(variables: list) -> None:
    """Put the mean over the devices into each floating-point variable: BatchNorm's statistics.

    DEVIATION: upstream's towers move the shared statistics one after the other, so that g of them
    move them g times a step; here they move once, towards the mean over the slices.
    """
    if _count() == 1:
        return
    moved = [v for v in variables if tf.as_dtype(v.dtype).is_floating]
    context = tf.distribute.get_replica_context()
    if moved:
        means = context.all_reduce("MEAN", [tf.convert_to_tensor(v.value) for v in moved])
        for variable, mean in zip(moved, means, strict=True):
            variable.assign(mean)


# Two strategies of one process would take each other's messages for their own.
_strategy = functools.cache(lambda names: tf.distribute.MirroredStrategy(list(names)))


def _count():
    return tf.distribute.get_replica_context().num_replicas_in_sync


def _place(context):
    return int(tf.get_static_value(context.replica_id_in_sync_group))


def _order(size, batch, count):
    if not size or size % count:
        raise ValueError(
            f"A forward pass must divide evenly among {count} devices. Received: {size} examples. "
            "Use a --labeled_batch that is a multiple of --devices"
        )
    return interleave_order(size, size // batch if size % batch == 0 else 1)


# Every device computes the whole loss and differentiates its slice alone. What reaches a slice is
# therefore counted `count` times and the mean over the devices is the gradient, also of what is not
# divided, as weight decay.


def _my_slice(inputs, order):
    context = tf.distribute.get_replica_context()
    count, place = context.num_replicas_in_sync, _place(context)

    @tf.custom_gradient
    def take(inputs):
        def gradient(upstream):
            whole = context.all_gather(upstream, axis=0)
            return tf.gather(whole, np.argsort(order)) / tf.cast(count, upstream.dtype)

        return tf.split(tf.gather(inputs, order), count)[place], gradient

    return take(inputs)


def _gathered(part, order):
    context = tf.distribute.get_replica_context()
    count, place = context.num_replicas_in_sync, _place(context)

    @tf.custom_gradient
    def gather(part):
        whole = tf.ensure_shape(context.all_gather(part, axis=0), [len(order), *part.shape[1:]])

        def gradient(upstream):
            return tf.split(tf.gather(upstream, order), count)[place] * count

        return tf.gather(whole, np.argsort(order)), gradient

    return gather(part)
