"""Running a different op on every image of a batch, at the cost of one op an image.

The batch is split by kernel and stitched together again, so that each kernel sees only its own
images and most images none; every kernel on every image costs 5 to 12 times as much CPU. The sizes
of the sub-batches depend on the draws, which is why callers cannot be compiled by XLA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

Kernel = Callable[[Any], tf.Tensor]


class Group(NamedTuple):
    """What a kernel did beside its main result, for the callers that ask."""

    places: tf.Tensor  # [n] int32: which rows of the batch
    extra: tf.Tensor  # [n, ...]


def run_in_groups(
    kernels: Sequence[Kernel], number: tf.Tensor, rows: NamedTuple
) -> tuple[tf.Tensor, list[Group]]:
    """Call kernels[number[n]] on row n of `rows`.

    Args:
        kernels: functions from rows [n, ...] to a tensor [n, ...] of one kind for all, or to a pair
            of it and of an extra result.
        number: [N] int32, the kernel of each row.
        rows: named tuple of tensors [N, ...]; None stays None.

    Returns:
        The kernels' results in the order of the rows, [N, ...], and the extra ones.
    """
    parts = tf.dynamic_partition(tf.range(tf.size(number)), number, len(kernels))
    done, groups = [], []
    for kernel, part in zip(kernels, parts, strict=True):
        mine = (None if field is None else tf.gather(field, part) for field in rows)
        result = kernel(type(rows)(*mine))
        if isinstance(result, tuple):
            result, extra = result
            groups.append(Group(part, extra))
        done.append(result)
    shape = [number.shape[0], *done[0].shape[1:]]
    return tf.ensure_shape(tf.dynamic_stitch(parts, done), shape), groups
