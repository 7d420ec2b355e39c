"""Shaban et al.: differentiate the last K theta-steps as they were taken (Table A1).

With the gradient of each of the last K steps shifted by a small constant e, the parameters move by
about -X e, and X tends to H^-1 as K grows. X^T v is one reverse pass through the steps, in which
momentum and everything else that the optimizer keeps take part.
"""

from __future__ import annotations

import tensorflow as tf

from ssl_weighting.inverse_hessian.curvature import Curvature, SolveOptions, Unroll
from ssl_weighting.inverse_hessian.solution import (
    DIVERGED,
    TRUNCATED,
    Solution,
    relative_residual,
    solution,
    system,
)

# How far the repeated steps may end from the true ones, relative to the way they went.
REPLAY_TOLERANCE = 0.05


def unrolled(curvature: Curvature, vector: tf.Tensor, options: SolveOptions) -> Solution:
    """Return -d (theta_K . v) / d shift, [p], for `curvature.unroll`.

    K is the number of steps in `unroll`, and the damping is that of the true steps: none; `options`
    enter the reported residual alone. Memory: K states, one step's graph. DIVERGED where the
    repeated steps do not end where the true ones did.
    """
    unroll = curvature.unroll
    history, end = _forward(unroll, vector)
    x = -_backward(unroll, history, end, vector)
    status = tf.where(_same_end(unroll, end), TRUNCATED, DIVERGED)
    residual = relative_residual(system(curvature, options, vector.dtype), x, vector)
    return solution(x, vector, options, status, residual=residual, iterations=unroll.count)


def _apart(function):
    """Keep a function out of the loop's own graph.

    There TensorFlow 2.21 sums gradients in temporary variables that the loop's last test makes once
    more and nobody removes, so that the second call of such a graph fails.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def _forward(unroll: Unroll, vector):
    """Take the steps; return the K states before each as TensorArrays, and the last state."""
    state = unroll.start()
    flat = [tf.convert_to_tensor(t) for t in tf.nest.flatten(state)]
    arrays = [
        tf.TensorArray(t.dtype, unroll.count, element_shape=t.shape, clear_after_read=False)
        for t in flat
    ]

    @_apart
    def taken(k, tensors):
        after = unroll.step(k, tf.nest.pack_sequence_as(state, tensors), tf.zeros_like(vector))
        return tf.nest.flatten(after)

    def step(k, tensors, arrays):
        arrays = [a.write(k, t) for a, t in zip(arrays, tensors, strict=True)]
        return k + 1, taken(k, tensors), arrays

    _, end, arrays = tf.while_loop(
        lambda k, *_: k < unroll.count, step, (tf.constant(0), flat, arrays)
    )
    return arrays, tf.nest.pack_sequence_as(state, end)


def _backward(unroll: Unroll, arrays, end, vector):
    """Carry v back through the steps; return the sum of what reaches each step's shift."""
    flat = tf.nest.flatten(end)
    real = [k for k, t in enumerate(flat) if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch([flat[k] for k in real])
        reached = tf.reduce_sum(unroll.params(end) * vector)
    adjoint = tape.gradient(reached, [flat[k] for k in real], unconnected_gradients="zero")

    @_apart
    def carried(k, tensors, adjoint):
        watched, shift = [tensors[i] for i in real], tf.zeros_like(vector)
        with tf.GradientTape() as tape:
            tape.watch([watched, shift])
            after = tf.nest.flatten(unroll.step(k, tf.nest.pack_sequence_as(end, tensors), shift))
            after = [after[i] for i in real]
        return tape.gradient(
            after, [*watched, shift], output_gradients=adjoint, unconnected_gradients="zero"
        )

    def step(k, adjoint, total):
        *adjoint, more = carried(k, [a.read(k) for a in arrays], adjoint)
        return k - 1, adjoint, total + more

    start = (tf.constant(unroll.count - 1), adjoint, tf.zeros_like(vector))
    return tf.while_loop(lambda k, *_: k >= 0, step, start)[2]


def _same_end(unroll: Unroll, end):
    if unroll.reached is None:
        return tf.constant(True)
    true, repeated = unroll.reached(), unroll.params(end)
    way = tf.norm(true - unroll.params(unroll.start()))
    return tf.norm(repeated - true) <= REPLAY_TOLERANCE * way
