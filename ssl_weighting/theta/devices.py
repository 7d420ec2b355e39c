"""Several devices, of one process or many: each takes its slice of every pass through the network.

As upstream's towers do, each device normalises its own slice of the interleaved batch, and the
outputs are put together again before anything else looks at them. Algorithm, objective and Lambda
therefore see the whole batch on every device, whatever their number; only the network is divided.
What is kept once a process (Lambda's scores, the average of theta) is kept by its first device: of
several processes each has all of it, equal to the bit.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream.fixmatch_interleave import interleave_order

_SLICE = 2**24  # bytes that processes exchange at a time


class Devices:
    """The devices of a run; one of them, or none named, means no strategy at all.

    Args:
        names: as `tf.distribute.MirroredStrategy` takes them ("GPU:0", "CPU:1").
        strategy: of several processes, from `workers.join`, in the place of names.

    Attributes:
        worker: number of this process; workers: how many there are.
        alike: whether all processes run on machines of one kind, which round alike; whoever finds
            out that they do not says so here.
    """

    alike = True

    def __init__(
        self, names: Sequence[str] = (), *, strategy: tf.distribute.Strategy | None = None
    ):
        self.strategy = strategy or (_strategy(tuple(names)) if len(names) > 1 else None)
        self.worker, self.workers = _place_among_workers(self.strategy)
        bits = [tf.TensorSpec([None], tf.int64)]
        self._sum = tf.function(self._sum_fn, input_signature=bits, autograph=False)

    @property
    def count(self) -> int:
        """How many they are, of all processes."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    @property
    def local(self) -> int:
        """How many of them are this process': of each the same number."""
        return self.count // self.workers

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that evaluates, saves and writes."""
        return self.worker == 0

    def scope(self):
        """Return the context in which variables must be made that every device has a copy of."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def run(self, function: Callable, *args):
        """Return what the first device here gets from `function(*args)`, which all of them call."""
        if not self.strategy:
            return function(*args)
        out = self.strategy.run(function, args)
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], out
        )

    def on_all(self, function: Callable, *args):
        """Return what every device gets from `function(*args)`, for `mean`, `joined` or `on_all`.

        Args:
            function: called on each device; args: the same for all, or from an earlier `on_all`.
        """
        return self.strategy.run(function, args)

    def mean(self, each) -> tf.Tensor:
        """Return the mean over devices of what `on_all` returned of each."""
        return self.strategy.reduce("MEAN", each, axis=None)

    def joined(self, each) -> tf.Tensor:
        """Return what `on_all` returned of each device, [n, ...], one behind the other."""
        return self.strategy.gather(each, axis=0)

    def gathered(self, x: np.ndarray) -> np.ndarray:
        """Return every process' `x`, [workers, ...], to the bit; all of them must call it.

        Args:
            x: of one shape and dtype in all processes.
        """
        x = np.asarray(x)
        if self.workers == 1:
            return x[None]
        every = np.zeros([self.workers, *x.shape], x.dtype)
        every[self.worker] = x
        return self._summed(every)

    def from_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the chief's arrays, to the bit; all processes must call it.

        Args:
            arrays: of one number, shapes and dtypes in all processes; of the others only these
                are looked at.
        """
        if self.workers == 1:
            return list(arrays)
        mine = arrays if self.is_chief else [np.zeros_like(x) for x in arrays]
        return [self._summed(np.asarray(x)) for x in mine]

    def barrier(self) -> None:
        """Return once every process has called it."""
        self.gathered(np.zeros([], np.int64))

    def _summed(self, x):
        """Return the sum of `x` over processes, of whose bytes all but one's are 0, slice by slice.

        The bytes are added as integers: -0 and NaN arrive as they are.
        """
        content = np.ascontiguousarray(x).tobytes()
        parts = [content[at : at + _SLICE] for at in range(0, len(content), _SLICE)]
        padded = (np.frombuffer(part + bytes(-len(part) % 8), np.int64) for part in parts)
        whole = b"".join(self._sum(tf.constant(bits)).numpy().tobytes() for bits in padded)
        return np.frombuffer(bytearray(whole[: len(content)]), x.dtype).reshape(x.shape)

    def _sum_fn(self, bits):
        def on_each(bits):
            mine = bits if is_first() else tf.zeros_like(bits)
            context = tf.distribute.get_replica_context()
            return context.all_reduce("SUM", tf.identity(mine))

        return self.run(on_each, bits)


def check_devices(devices: Devices, jit: bool, inverse_hessian: str) -> None:
    """Refuse what several devices cannot do.

    XLA compiles for one device. Asked all the same, TensorFlow 2.21 says of two devices of one
    process "Trying to access resource .. located in device CPU:1 from device CPU:0", and of two
    processes "No registered 'CollectiveGatherV2' OpKernel for XLA_CPU_JIT devices".

    Raises:
        ValueError: XLA, or the method that repeats theta-steps, on more than one device.
    """
    if devices.count > 1 and (jit or inverse_hessian == "unrolled"):
        raise ValueError(
            "Several devices need `jit` to be off, since they meet inside the theta-step, where "
            "XLA has no way from one to another, "
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
        order = row_order(inputs.shape[0], batch, count)
        outputs = forward(_my_slice(inputs, order), **switches)
        return {name: _gathered(value, order) for name, value in outputs.items()}

    return of_slices


def row_order(size: int, batch: int, count: int) -> np.ndarray:
    """Return the order in which the rows of a pass are dealt out, [size] int: a slice a device.

    Args:
        size: rows of the pass; batch: B; count: of devices.

    Raises:
        ValueError: no even division.
    """
    if not size or size % count:
        raise ValueError(
            f"A forward pass must divide evenly among {count} devices. Received: {size} examples. "
            "Use a --labeled_batch that is a multiple of their number"
        )
    return interleave_order(size, size // batch if size % batch == 0 else 1)


def is_first() -> bool:
    """Return whether this is the device of its process that keeps what is kept once."""
    context = tf.distribute.get_replica_context()
    workers = _place_among_workers(context.strategy)[1]
    return _place(context) % (context.num_replicas_in_sync // workers) == 0


def loss_per_device(loss: tf.Tensor) -> tf.Tensor:
    """Return this device's share of a loss that all of them computed: gradients are summed."""
    count = _count()
    return loss if count == 1 else loss / count


# Of several processes a collective wants to know where its input lies, which in the body of a loop
# nothing knows of what comes straight out of a variable or an argument: `tf.identity` is placed.


def fail_together(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Return gradients that are not finite on any device if they are not finite on one.

    A loss scale must fall on all of them or on none.
    """
    if _count() == 1:
        return gradients
    trouble = tf.add_n([tf.reduce_sum(g * 0.0) for g in gradients])
    trouble = tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(trouble))
    return [g + trouble for g in gradients]


def clipped_together(gradients: list[tf.Tensor | None], optimizer) -> list[tf.Tensor | None]:
    """Return this device's share of the gradients as `optimizer` clips those of all devices.

    Keras clips before it sums over devices: each would clip its own share by itself. Here the sum
    is clipped, and divided by the number of devices, whose sum the optimizer takes again: it is
    within the bounds by then. Without bounds the gradients are returned as they are.

    DEVIATION: for a number of devices that is no power of two that division rounds.
    """
    if _count() == 1:
        return gradients
    value, norm, together = optimizer.clipvalue, optimizer.clipnorm, optimizer.global_clipnorm
    if not (value or norm or together):
        return gradients
    known = [g for g in gradients if g is not None]
    known = tf.distribute.get_replica_context().all_reduce("SUM", [tf.identity(g) for g in known])
    if together:
        known, _ = tf.clip_by_global_norm(known, together)
    elif norm:
        known = [tf.clip_by_norm(g, norm) for g in known]
    elif value:
        known = [tf.clip_by_value(g, -value, value) for g in known]
    shares = iter([g / _count() for g in known])
    return [None if g is None else next(shares) for g in gradients]


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
        means = context.all_reduce("MEAN", [tf.identity(v.value) for v in moved])
        for variable, mean in zip(moved, means, strict=True):
            variable.assign(mean)


# Two strategies of one process would take each other's messages for their own.
_strategy = functools.cache(lambda names: tf.distribute.MirroredStrategy(list(names)))


def _count():
    return tf.distribute.get_replica_context().num_replicas_in_sync


def _place_among_workers(strategy):
    """Return the number of this process and how many there are."""
    resolver = strategy.cluster_resolver if strategy else None
    return (resolver.task_id, resolver.cluster_spec().num_tasks("worker")) if resolver else (0, 1)


def _place(context):
    return int(tf.get_static_value(context.replica_id_in_sync_group))


# Every device computes the whole loss and differentiates its slice alone. What reaches a slice is
# therefore counted `count` times and the mean over the devices is the gradient, also of what is not
# divided, as weight decay.


def _my_slice(inputs, order):
    context = tf.distribute.get_replica_context()
    count, place = context.num_replicas_in_sync, _place(context)
    if not inputs.dtype.is_floating:  # tokens, in which nothing has a derivative
        return tf.split(tf.gather(inputs, order), count)[place]

    @tf.custom_gradient
    def take(inputs):
        def gradient(upstream):
            whole = context.all_gather(tf.identity(upstream), axis=0)
            return tf.gather(whole, np.argsort(order)) / tf.cast(count, upstream.dtype)

        return tf.split(tf.gather(inputs, order), count)[place], gradient

    return take(inputs)


def _gathered(part, order):
    context = tf.distribute.get_replica_context()
    count, place = context.num_replicas_in_sync, _place(context)

    @tf.custom_gradient
    def gather(part):
        whole = context.all_gather(tf.identity(part), axis=0)
        whole = tf.ensure_shape(whole, [len(order), *part.shape[1:]])

        def gradient(upstream):
            return tf.split(tf.gather(upstream, order), count)[place] * count

        return tf.gather(whole, np.argsort(order)), gradient

    return gather(part)
